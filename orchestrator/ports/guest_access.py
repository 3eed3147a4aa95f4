"""Who may log in to guests that run on one hypervisor, through the agent inside of them."""

from __future__ import annotations

from typing import Protocol

from orchestrator.domain.errors import WrongState


class GuestAccess(Protocol):
    """Every method raises NotFound for a guest that is absent, and WrongState (``no_agent``) where no agent answers."""

    def set_password(self, name: str, *, user: str, password_hash: str, deadline: float) -> None:
        """``password_hash``: of crypt(5). A clear password is never handed over."""
        ...

    def keys(self, name: str, *, user: str, deadline: float) -> tuple[str, ...]:
        """The lines of the user's authorized_keys, in any order; () where there is no such file."""
        ...

    def change_keys(self, name: str, *, user: str, add: tuple[str, ...], remove: tuple[str, ...], deadline: float) -> None:
        """Let ``add`` in, then ``remove`` no more: lines as ``keys`` tells them. All other lines stay as they are."""
        ...


def no_agent(name: str) -> WrongState:
    """What drivers raise where no agent answers."""
    return WrongState(
        f"no guest agent answers in {name}: what lets somebody log in cannot be set from outside",
        hint="start the guest and qemu-guest-agent in it, or install it anew with the new keys (service reinstall)",
    )
