"""The disk of a running guest, frozen at one moment, to be read while the guest goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A frozen disk behind an NBD socket of the node.

    ``checkpoint``: the moment it is frozen at, from which on the hypervisor notes what changes. ``bitmap``: what the NBD server
    calls the note of what changed since the checkpoint ``since``; both '' where nothing is known and all has to be read.
    """

    guest: str
    socket: str
    name: str
    checkpoint: str
    since: str = ""
    bitmap: str = ""


class DiskExports(Protocol):
    def prepare(self, guest: str, *, deadline: float) -> None:
        """Make what ``begin`` needs and what takes a while, so that the guest stands still no longer than it must: what is
        overwritten of an encrypted disk while it is exported is kept encrypted, too. Raises what ``begin`` does, and NoCapacity.
        """
        ...

    def begin(self, guest: str, *, checkpoint: str, since: str, deadline: float) -> Export:
        """Freeze the guest's first disk at this moment and export it. One export of ours that is still open is ended first.

        Where the note since ``since`` cannot be had, for whatever reason, the export is without one. WrongState: the guest does
        not run, or somebody else's job works on its disk. NotFound: no such guest.
        """
        ...

    def end(self, guest: str, *, deadline: float) -> None:
        """Close the export and free what it kept; none = success."""
        ...

    def checkpoints(self, guest: str, *, deadline: float) -> tuple[str, ...]:
        """Those that are ours, oldest first; none where there is no such guest."""
        ...

    def drop(self, guest: str, checkpoint: str, *, deadline: float) -> None:
        """Forget the checkpoint; what it noted counts for the one before it. Absent = success.

        Where it cannot be handed on, as of a guest that is off, those before it are forgotten, too: no note tells too little.
        """
        ...

    def close(self) -> None: ...
