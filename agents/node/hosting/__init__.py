"""The accounts of a shared-hosting node: made, limited, suspended, probed and wiped on a plain Debian server.

What shall be is rendered and planned by pure functions (``web``, ``units``, ``sql``); what acts is thin. Facts are read from
the system each time, never from a file of ours: the mark of an account only tells whose it is.
"""
