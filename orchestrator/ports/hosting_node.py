"""Accounts on one hosting node.

Every act is repeatable and returns what really is, read from the system. One on an account that is not the service's raises
WrongState and touches nothing. Deadlines are seconds; a lost answer is TransientDriverError, and the act may have taken effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from orchestrator.domain.accounts import AccountFacts, AccountSpec
from orchestrator.domain.adopting import Adoption, Stranger
from orchestrator.domain.moving_in import Tarball


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Something that a hosting node must have. ``hint``: what to do where it has not."""

    name: str
    ok: bool
    says: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostingReport:
    """What the node has: bytes, inodes and whole CPUs; the disk is the file system of the accounts. ``php``: its versions."""

    needs: tuple[Need, ...]
    hostname: str
    cpus: int
    memory_bytes: int
    disk_bytes: int
    disk_free_bytes: int
    accounts: int
    php: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WayIn:
    """One way into an account, tried for real. ``says``: what was answered."""

    way: str
    open: bool
    says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """``changed``: words for what had to be done; empty = it was so already."""

    facts: AccountFacts
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """An account that is back. ``difference``: what is not as it was before it was suspended, a sentence each."""

    facts: AccountFacts
    difference: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountUsage:
    """What an account uses now. ``database_bytes`` None: MariaDB could not be asked. ``traffic``: bytes by calendar month
    ("2026-11"), as its logs have them; ``cpu_seconds`` since its processes were first counted."""

    user: str
    bytes: int
    inodes: int
    database_bytes: int | None
    traffic: dict[str, int] = field(default_factory=dict)
    cpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountWipe:
    """What a wipe did, as the node keeps it. ``limits``: sentences on what it cannot reach. Times as the node wrote them."""

    user: str
    files: int
    bytes: int
    databases: tuple[str, ...]
    method: str
    limits: tuple[str, ...]
    started_at: str
    finished_at: str
    medium: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Residue:
    """What is left of an account. ``kept``: the node's own reports of its wipe, which go with cleaning; ``removed`` by this call;
    ``unknown``: stores that could not be looked into."""

    found: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseDump:
    """The dump of one database, by its name inside the account."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """An account that can be backed up: ``directory`` holds all of it, its ``home/`` and, in ``backup/``, the dumps and its
    settings. ``bytes``: of the dumps."""

    directory: str
    databases: tuple[DatabaseDump, ...] = ()
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOut:
    """What of an import went again: so many names, and databases that are empty as they were. ``left``: the first of those names
    that are not as they were unpacked, of ``left_count``."""

    removed: int = 0
    left: tuple[str, ...] = ()
    left_count: int = 0
    emptied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """What there is on a node of an account that is none there: without the controller's mark, or without its user."""

    user: str
    marked: bool
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """Something of a user that is gone and never was an account. ``kind``: pool, vhost, crontab, linger or files."""

    kind: str
    what: str
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeResidue:
    """What others left on a node. ``unknown``: stores that could not be looked into."""

    accounts: tuple[Stray, ...] = ()
    orphans: tuple[Orphan, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """What served a stranger: ``files`` that are out of force, and where they are ``kept``; ``certificates``: the sites that have
    theirs now."""

    files: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    kept: str = ""


class HostingNode(Protocol):
    def doctor(self, *, deadline: float, quick: bool = False) -> HostingReport:
        """What the node has and what it lacks. ``quick``: without what grows with its accounts, for who asks all the time."""
        ...

    def apply(self, spec: AccountSpec, *, job_id: str, deadline: float) -> Applied:
        """Make the account, or bring it to the spec. One that is suspended stays so, whatever else is changed.

        WrongState: the node has no such PHP version, or serves a domain for another account.
        """
        ...

    def accounts(self, users: Sequence[str], *, deadline: float) -> tuple[AccountFacts, ...]:
        """What is there of the accounts; of all that there are where none is named. One that is absent has ``exists`` false."""
        ...

    def suspend(self, user: str, *, service_id: str, job_id: str, deadline: float) -> AccountFacts:
        """Close every way in, having written down how it was. Suspended already: only what was opened since is closed again."""
        ...

    def probe(self, user: str, *, service_id: str, deadline: float) -> tuple[WayIn, ...]:
        """Try each way in for real. What that needs (a key, a password, a login) is gone when this returns."""
        ...

    def unsuspend(self, user: str, *, service_id: str, job_id: str, deadline: float) -> Brought:
        """Bring back exactly what was before it was suspended. Not suspended = success."""
        ...

    def usage(self, users: Sequence[str], *, deadline: float) -> tuple[AccountUsage, ...]:
        """What the accounts use; all where none is named. One that is absent is left out."""
        ...

    def wipe(self, user: str, *, service_id: str, job_id: str, deadline: float) -> AccountWipe:
        """Destroy the account with all its data. Gone already: the report that is kept of it, NotFound where there is none."""
        ...

    def residue(self, user: str, *, service_id: str, uid: int, clean: bool, deadline: float) -> Residue:
        """What is left of the account, in every store. ``clean``: it is removed, which WrongState refuses while there is an
        account; what is ``found`` is then what stayed all the same."""
        ...

    def pack(self, user: str, *, service_id: str, job_id: str, deadline: float) -> Packed:
        """Lay all that is not in the account's files beside them: its databases, each as it was at one moment, and its settings
        as they are. What was packed before goes first, so that no old dump looks new. A suspended account is packed, too.

        PermanentDriverError: a database cannot be dumped; then nothing is left. NoCapacity: the node's disk has no room for it.
        """
        ...

    def load(
        self, user: str, *, service_id: str, job_id: str, databases: Sequence[str], deadline: float
    ) -> tuple[DatabaseDump, ...]:
        """Make the databases what was packed: those that are named and nothing else, or all of them, and with them the lines of
        the crontab, certificates, and logins by password that the account does not have.

        A dump gets the rights of its account and no others. WrongState: the account is not suspended. NotFound: nothing of that
        name was packed.
        """
        ...

    def unpack(self, user: str, *, service_id: str, deadline: float) -> None:
        """Take away what ``pack`` laid there, also the half of it. Absent = success."""
        ...

    def show_restored(self, user: str, *, service_id: str, keep: Sequence[str], deadline: float) -> tuple[str, ...]:
        """Let the account's user read what was restored aside in ``restored/<id>/``, of these ids; all others are removed.

        Those that are there afterwards. What was packed as its settings holds secrets, and is shown to nobody.
        """
        ...

    def node_residue(self, *, deadline: float) -> NodeResidue:
        """What is on the node of no account that is there. Nothing of it is touched."""
        ...

    def look_into(self, file: str, *, most_bytes: int, most_inodes: int, deadline: float) -> Tarball:
        """What is in a tarball that lies on the node in its directory for those, looked through to its end.

        Refused: something in it is not taken, named. NoCapacity: it holds more than that. NotFound: it is not there.
        """
        ...

    def bring_in(self, user: str, tarball: Tarball, *, service_id: str, job_id: str, deadline: float) -> tuple[DatabaseDump, ...]:
        """Unpack it into the account's home and load its dumps, with the rights and limits of the account and no others.

        Nothing is written before all of it was looked through again and seen to fit. WrongState: it is another than ``tarball``,
        or one of the databases holds something that this job did not load.
        """
        ...

    def take_out(self, user: str, *, service_id: str, job_id: str, deadline: float) -> TakenOut:
        """Take out again what ``bring_in`` of this job has put there: names that were not there before, where they are as it has
        left them, and what is in the databases that it began to load. Nothing else is touched. Repeatable."""
        ...

    def look_at(self, user: str, adoption: Adoption, *, service_id: str, deadline: float) -> Stranger:
        """What is there of a user of the node that somebody made by hand, and how it would be in the account. Changes nothing.

        NotFound: there is no such user, or no such database. Refused: he is a system's, or an account's, or his home is none that
        may be taken in.
        """
        ...

    def set_aside(self, user: str, adoption: Adoption, *, service_id: str, job_id: str, deadline: float) -> SetAside:
        """Put what serves him out of force, his vhosts and his crontab, having written down all of it; his certificates become
        those of the account's sites, where they are good for them. He, his files and databases stay as they are.

        WrongState: the account is open. PermanentDriverError: nginx refuses what would be left; then all is as it was.
        """
        ...

    def put_back(self, user: str, stranger: str, *, service_id: str, job_id: str, deadline: float) -> tuple[str, ...]:
        """What this job set aside is in its place again: the files. Nothing = success.

        InDoubt: something else stands in the place of one.
        """
        ...

    def gather(self, user: str, adoption: Adoption, *, service_id: str, job_id: str, deadline: float) -> Tarball:
        """Make a tarball on the node of his files and of dumps of his databases, such as ``bring_in`` takes.

        WrongState: the account is open. Refused: something in his home is not taken, named. NoCapacity: no room for it.
        """
        ...

    def drop_gathered(self, user: str, *, service_id: str, job_id: str, deadline: float) -> None:
        """Take that tarball away; what was loaded out of it ``take_out`` takes out. Absent = success."""
        ...

    def close(self) -> None: ...
