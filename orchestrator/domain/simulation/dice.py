"""Pseudo-random numbers as a value: the same seed gives the same numbers on every machine and every version of Python.

SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). Not for secrets.
"""

from __future__ import annotations

from datetime import timedelta
from hashlib import blake2b

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15


class Dice:
    """One stream of numbers. ``child`` gives another that depends on the name alone, not on what was thrown before."""

    __slots__ = ("_seed", "_state")

    def __init__(self, seed: int) -> None:
        self._seed = self._state = seed & _MASK

    def child(self, name: str) -> Dice:
        digest = blake2b(name.encode(), digest_size=8, key=self._seed.to_bytes(8, "big")).digest()
        return Dice(int.from_bytes(digest, "big"))

    def number(self) -> float:
        """At least 0, below 1."""
        self._state = (self._state + _STEP) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return float((mixed ^ (mixed >> 31)) >> 11) / (1 << 53)

    def happens(self, chance: float) -> bool:
        return self.number() < chance

    def whole(self, low: int, high: int) -> int:
        """From ``low`` to ``high``, both included."""
        return low + int(self.number() * (high - low + 1))

    def between(self, low: timedelta, high: timedelta) -> timedelta:
        """In whole seconds."""
        return timedelta(seconds=int((low + (high - low) * self.number()).total_seconds()))
