"""Backups and restores as they are decided: what is due and when, what is too large, what may be overwritten, what is counted.

Pure, as all of the domain. ``offer`` is what holds for a service, ``words`` what is known of its repositories, backups and
restores; ``schedule``, ``caps``, ``overwrite`` and ``allowance`` decide, and ``asking`` is what may be asked for.
"""
