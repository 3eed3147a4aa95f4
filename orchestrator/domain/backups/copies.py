"""Every other copy that is known of a service's data, or of the keys that opened it, when its own are destroyed. Pure.

They are told with their expiry in its certificates. A copy of a key alone opens nothing once the repository is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.domain.backups.state import HeldCopy

ARCHIVE = "archive"
KEYS = "exported-keys"
STATE = "controller-state"
ONLY_KEYS = "They hold keys, and no data: keys of what was destroyed open nothing that is there any more."


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCopy:
    """``kind``: archive (of the data), exported-keys, controller-state (which holds wrapped keys). ``kept_at``: when it was made,
    the newest of several. ``until``: when it goes by itself; None = nobody said. ``says``: what a customer should know of it."""

    kind: str
    id: str
    kept_at: datetime
    until: datetime | None = None
    reached_from: str = ""
    bytes: int = 0
    says: str = ""


def copies_of_keys(exports: Sequence[datetime]) -> tuple[KnownCopy, ...]:
    """Of the exports of all keys since the service had one: one row for all of them, as nobody knows where such files are now."""
    if not exports:
        return ()
    times = "once" if len(exports) == 1 else f"{len(exports)} times"
    says = f"All keys were exported {times} since the first backup, into files whose whereabouts are not known here. {ONLY_KEYS}"
    return (KnownCopy(kind=KEYS, id="exported-keys", kept_at=max(exports), says=says),)


def copies_of_state(held: Sequence[HeldCopy], since: datetime) -> tuple[KnownCopy, ...]:
    """Those of the controller's own state that were taken ``since`` then, and may hold what the service's keys were."""
    says = f"A copy of the controller's own state: it holds the records of the service as they were then. {ONLY_KEYS}"
    return tuple(
        KnownCopy(
            kind=STATE, id=each.id, kept_at=each.taken_at, until=each.expires_at, reached_from=f"target {each.target}", says=says
        )
        for each in held
        if each.taken_at >= since
    )


def no_copies(_since: datetime) -> tuple[KnownCopy, ...]:
    """Where no copies of the controller's own state are made."""
    return ()
