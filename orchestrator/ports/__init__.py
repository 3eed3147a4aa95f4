"""What the software needs from outside, as small protocols. Drivers implement them; steps and the engine use them.

Every method blocks up to its ``deadline`` (seconds from the call), may be repeated, and raises only errors of
``orchestrator.domain.errors``: ``TransientDriverError`` where trying again may help, ``PermanentDriverError`` where not,
``NotFound`` and the like where the thing asked for is not as assumed.
"""
