"""What is known of the repositories, backups and restores of a service. Times are aware, UTC; sizes are bytes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class GenerationState(StrEnum):
    """``DAMAGED``: what it holds cannot be relied on any more; nothing is added, and nothing taken away until a newer one
    stands. ``DOOMED``: it is being destroyed; what is not there of it any more went by our own hand. ``DESTROYED``: gone, and its
    key with it. ``GIVEN_UP``: nobody saw it gone, for it was not there or a person gave it up; its key is destroyed, so that what
    may be left of it opens to nobody."""

    MADE = "made"
    DAMAGED = "damaged"
    DOOMED = "doomed"
    DESTROYED = "destroyed"
    GIVEN_UP = "given-up"


# Those without a key.
ENDED = frozenset({GenerationState.DESTROYED, GenerationState.GIVEN_UP})


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One repository of a service in time, numbered from 1, with a key of its own that is kept ``wrapped_key`` by the master key.

    ``target``: the name of where it lies. ``why``: what the damage was, or by whose word it was destroyed.
    ``destroyed_at``: when its key was, and with it the rest.
    """

    service_id: str
    number: int
    target: str
    wrapped_key: bytes
    made_at: datetime
    state: GenerationState = GenerationState.MADE
    why: str = ""
    damaged_at: datetime | None = None
    destroyed_at: datetime | None = None

    @property
    def stands(self) -> bool:
        return self.state not in ENDED


class BackupState(StrEnum):
    """``BEGUN``: nobody knows yet whether it left a snapshot. ``MADE``: a whole snapshot, as the run said. ``VERIFIED``: it was
    read and compared. ``PARTIAL``: something was left out, or nobody saw how its run ended. ``FAILED``: it left no snapshot, or
    one that is not what it should be. ``REFUSED``: it was not begun or not ended, its source being over its cap. ``FORGOTTEN``:
    what it made is gone, or is to go. ``SKIPPED``: there was nothing to do, for the source is as it was when the last one was
    made."""

    BEGUN = "begun"
    MADE = "made"
    VERIFIED = "verified"
    PARTIAL = "partial"
    FAILED = "failed"
    REFUSED = "refused"
    FORGOTTEN = "forgotten"
    SKIPPED = "skipped"

    @property
    def whole(self) -> bool:
        """What may come to be restored from: the others never count."""
        return self in (BackupState.MADE, BackupState.VERIFIED)

    @property
    def forgotten(self) -> BackupState:
        """What it is once its snapshot is to go. Of an attempt that came to nothing it stays told what it came to: such are
        counted, and a count of failures that fell with the next good backup would be none."""
        return self if self in CAME_TO_NOTHING else BackupState.FORGOTTEN


CAME_TO_NOTHING = frozenset({BackupState.PARTIAL, BackupState.FAILED, BackupState.REFUSED, BackupState.SKIPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a source holds. An inode is a file, a directory or a link, and counts once however many names it has; of a guest only
    the allocated bytes are measured. ``largest``: its largest directories with their bytes and inodes, the largest first."""

    size_bytes: int
    inodes: int = 0
    largest: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The ``number``-th of ``of`` parts of a repository's packs (restic's ``--read-data-subset=number/of``)."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of <= MOST_SHARES:
            raise ValueError(f"a share is one of at most {MOST_SHARES}, counted from 1")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


# restic parts packs by the first byte of their ids, and takes no more parts than that.
MOST_SHARES = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One attempt at a backup. ``slot``: that of the schedule for which it was made; None: it was asked for. ``job_id``: '' where
    its job was taken back afterwards: a backup it is, but not what that job has kept.

    ``number``: its place in the order in which the service's were begun, given when it is first written down (0: it was not).
    By it, and by no clock, one is newer than another: clocks are set back.

    ``snapshot_id`` '' where it left none, or nobody knows of one. ``inodes`` and ``size_bytes``: of the source; ``read_bytes``
    and ``stored_bytes``: what the run read of it, and what that added to the repository. ``consistency``: how much of one moment
    the copy is ("frozen", "crash", "stopped", "files"). ``share``: what was read of the repository when it was verified.
    ``problem``: why it is not whole, or not what it should be; ``left_out``: the first of the files that could not be read.
    ``forgotten_at``: when its snapshot was marked to go; ``pruned_at``: when the room of what was forgotten was given back.
    ``mark``: of a disk that nobody used, by which it is known that it was not written to since.
    """

    id: str
    service_id: str
    job_id: str
    generation: int
    begun_at: datetime
    slot: datetime | None = None
    state: BackupState = BackupState.BEGUN
    snapshot_id: str = ""
    made_at: datetime | None = None
    verified_at: datetime | None = None
    forgotten_at: datetime | None = None
    pruned_at: datetime | None = None
    size_bytes: int = 0
    inodes: int = 0
    read_bytes: int = 0
    stored_bytes: int = 0
    consistency: str = ""
    share: Share | None = None
    problem: str = ""
    left_out: tuple[str, ...] = ()
    mark: str = ""
    number: int = 0

    @property
    def order(self) -> tuple[int, datetime, datetime, str]:
        """What sorts the backups of one service, the oldest first."""
        return (self.number, self.made_at or self.begun_at, self.begun_at, self.id)


class RestoreState(StrEnum):
    """``GIVEN_BACK``: it failed, and does not count against the month any more."""

    COUNTED = "counted"
    GIVEN_BACK = "given-back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """One restore that was asked for. ``id``: the request's own; asked again under it, it is the same. It counts in the calendar
    month of ``counted_at``. ``size_bytes``: of the snapshot. ``charge_id`` '' where it was included."""

    id: str
    service_id: str
    snapshot_id: str
    size_bytes: int
    asked_by: str
    counted_at: datetime
    state: RestoreState = RestoreState.COUNTED
    job_id: str = ""
    charge_id: str = ""
    given_back_at: datetime | None = None
    why: str = ""
    done_at: datetime | None = None
