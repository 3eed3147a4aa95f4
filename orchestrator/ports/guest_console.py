"""The serial console of guests that run on one hypervisor."""

from __future__ import annotations

from typing import Protocol

from orchestrator.domain.errors import WrongState

HELD = "held"


class GuestConsole(Protocol):
    """One that is open. Used by two threads, one that reads and one that writes; raises our errors."""

    def read(self, *, wait: float) -> bytes | None:
        """What the guest wrote since, b"" where it wrote nothing within ``wait`` seconds.

        None = it is over: the guest went off, somebody else took the console, or its node is lost.
        """
        ...

    def write(self, data: bytes, *, deadline: float) -> None:
        """Type it. Raises TransientDriverError where it is not taken by the deadline, WrongState where the console is over."""
        ...

    def close(self, *, deadline: float) -> None:
        """Let it go, so that it can be opened again. Repeatable; raises nothing."""
        ...


class GuestConsoles(Protocol):
    def open(self, name: str, *, force: bool, deadline: float) -> GuestConsole:
        """Open the guest's first serial console, for one at a time: ``force`` ends whoever has it.

        Raises NotFound, WrongState for a guest that does not run, and ``held`` where somebody has it.
        """
        ...


def held(name: str) -> WrongState:
    """What drivers raise where somebody has the console; ``details[HELD]`` tells it from other states."""
    return WrongState(f"somebody has the console of {name} already", held=True)
