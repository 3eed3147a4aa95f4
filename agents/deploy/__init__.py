"""The agent in the deploy image: runs alone on a dedicated machine, out of its memory, and does what the controller's desk says.

The standard library only, and nothing of ``orchestrator``. It listens on nothing, and talks to the one controller whose
certificate it was given.
"""
