"""A fleet's year on a virtual clock: customers who pay or do not, webhooks that get lost, a controller that is sometimes away.

What is decided is decided by the very functions that the controller uses; what is simulated is the world around them. Pure:
chance comes from a ``Dice`` that the caller gives.
"""
