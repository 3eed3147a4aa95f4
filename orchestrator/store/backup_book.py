"""The book of backups in the store (port BackupBook): rows, and the keys that the master key wraps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from orchestrator.domain.backups.copies import KnownCopy, copies_of_keys, no_copies
from orchestrator.domain.backups.escrow import EscrowEntry
from orchestrator.domain.backups.restoring import BACKUP
from orchestrator.domain.backups.targets import Target, Way, on_itself
from orchestrator.domain.backups.words import ENDED, Backup, Generation, GenerationState
from orchestrator.domain.errors import ConfigError, NotFound, PermanentDriverError, Refused, WrongState
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.plans import Node
from orchestrator.ports.backup_book import Traces
from orchestrator.ports.clock import Clock
from orchestrator.ports.repositories import RepositoryAccess
from orchestrator.ports.secrets import Secrets
from orchestrator.store import audit, backups, services
from orchestrator.store import jobs as job_store
from orchestrator.store.database import Connection, Database

KEY_BYTES = 32
EXPORTED = "backup keys exported"
"""What the audit calls an export of all keys."""


def key_context(service_id: str, number: int) -> str:
    """What the key of a repository is wrapped for: it opens as that of no other."""
    return f"orchestrator/backup-repository/1:{service_id}.{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What is declared: the targets by name, the nodes by name. ``secret``: the text of a file that nobody else may read;
    ``trusted``: of one that nobody else may write. Both raise ConfigError."""

    targets: Mapping[str, Target]
    nodes: Mapping[str, Node]
    secret: Callable[[Path], str]
    trusted: Callable[[Path], str]

    def target(self, name: str) -> Target:
        """Raises ConfigError where it is not declared any more."""
        found = self.targets.get(name)
        if found is None:
            raise ConfigError(
                f"there is no target for backups '{name}'",
                hint="a target that repositories lie on stays declared in orchestrator.yaml until they are gone",
            )
        return found

    def for_node(self, name: str) -> Target:
        """Where copies of the node's services go. Raises Refused."""
        node = self.nodes.get(name)
        if node is None or not node.backups:
            raise Refused(f"node {name} has no target for backups", hint="name one with 'backups' in nodes.yaml", node=name)
        target = self.target(node.backups)
        why = on_itself(target.way.location, on_node=target.on_node, node=node.name, address=node.address)
        if why and not node.backups_on_own_node:
            raise Refused(
                f"backups of node {name} must not lie on {target.name}: {why}",
                hint="name another target, or 'backups_on_own_node: true' in nodes.yaml",
                node=name,
            )
        return target

    def locations(self, generation: Generation) -> tuple[str, ...]:
        """Where its repository lies, or lay, by each way that is known; none where its target is not declared any more."""
        target = self.targets.get(generation.target)
        ways = () if target is None else (target.way, *(() if target.keeper is None else (target.keeper,)))
        return tuple(way.to(generation.service_id, generation.number) for way in ways)

    def access(self, way: Way, location: str, password: str) -> RepositoryAccess:
        """Raises ConfigError where a file of its secrets cannot be used."""
        return RepositoryAccess(
            location=location,
            password=password,
            user=way.user,
            secret="" if way.secret_file is None else self.secret(way.secret_file).strip("\r\n"),
            ssh_key="" if way.ssh_key_file is None else self.secret(way.ssh_key_file),
            ssh_known_hosts="" if way.ssh_known_hosts_file is None else self.trusted(way.ssh_known_hosts_file),
        )


def rewrap_all(db: Database, secrets: Secrets, alone: Secrets) -> int:
    """Wrap every key anew, in one transaction, and see that each opens with the new master key ``alone``. How many."""
    with db.write() as conn:
        known = backups.wrapped_keys(conn)
        for each in known:
            context = key_context(each.service_id, each.number)
            key = secrets.unwrap(each.wrapped_key, context=context)
            fresh = secrets.wrap(key, context=context)
            if alone.unwrap(fresh, context=context) != key:
                raise PermanentDriverError(f"the key of {each.service_id}.{each.number} was not wrapped anew as it is")
            backups.rewrap(conn, each.service_id, each.number, fresh)
    return len(known)


class StoreBackupBook:
    """``random``: so many random bytes. ``of_state``: the copies of the controller's own state that may hold a wrapped key of
    since that time."""

    def __init__(
        self,
        db: Database,
        *,
        secrets: Secrets,
        places: Places,
        clock: Clock,
        random: Callable[[int], bytes],
        of_state: Callable[[datetime], tuple[KnownCopy, ...]] = no_copies,
    ) -> None:
        self._db = db
        self._secrets = secrets
        self._places = places
        self._clock = clock
        self._random = random
        self._of_state = of_state

    def generations(self, service_id: str) -> tuple[Generation, ...]:
        """See the port."""
        with self._db.read() as conn:
            return backups.generations(conn, service_id)

    def begin(self, service_id: str, *, node: str) -> Generation:
        """See the port."""
        target = self._places.for_node(node)
        with self._db.write() as conn:
            if services.get(conn, service_id) is None:
                raise NotFound(f"there is no service {service_id}")
            return self._begin(conn, service_id, target)

    def _begin(self, conn: Connection, service_id: str, target: Target) -> Generation:
        number = max((each.number for each in backups.generations(conn, service_id)), default=0) + 1
        key = self._random(KEY_BYTES).hex()
        generation = Generation(
            service_id=service_id,
            number=number,
            target=target.name,
            wrapped_key=self._secrets.wrap(key.encode(), context=key_context(service_id, number)),
            made_at=self._clock.now(),
        )
        backups.begin_generation(conn, generation)
        return generation

    def access(self, generation: Generation, *, keeper: bool = False) -> RepositoryAccess:
        """See the port. What is written of the generation is read anew: a key that was wrapped anew, or destroyed, meanwhile."""
        with self._db.read() as conn:
            known = backups.generation(conn, generation.service_id, generation.number)
        if not known.stands or not known.wrapped_key:
            raise WrongState(f"the key of generation {known.number} of the backups of {known.service_id} was destroyed")
        target = self._places.target(known.target)
        way = target.keeper if keeper and target.keeper is not None else target.way
        key = self._secrets.unwrap(known.wrapped_key, context=key_context(known.service_id, known.number))
        return self._places.access(way, way.to(known.service_id, known.number), key.decode())

    def backups(self, service_id: str) -> tuple[Backup, ...]:
        """See the port."""
        with self._db.read() as conn:
            return backups.of_service(conn, service_id)

    def wanted(self, service_id: str) -> frozenset[str]:
        """See the port."""
        with self._db.read() as conn:
            return _wanted(conn, service_id)

    def write(self, backup: Backup) -> None:
        """See the port."""
        with self._db.write() as conn:
            backups.put(conn, backup)

    def mark_forgotten(
        self, service_id: str, number: int, snapshot_ids: Collection[str], *, ends: bool = False
    ) -> tuple[str, ...]:
        """See the port."""
        with self._marking(service_id, number) as conn:
            if not ends:  # a restore may have been accepted since it was decided what goes
                wanted = _wanted(conn, service_id)
                spared = {each.snapshot_id for each in backups.of_service(conn, service_id) if each.id in wanted}
                snapshot_ids = [each for each in snapshot_ids if each not in spared]
            return backups.mark_forgotten(conn, service_id, number, snapshot_ids, now=self._clock.now())

    def mark_pruned(self, service_id: str, number: int) -> None:
        """See the port."""
        with self._marking(service_id, number) as conn:
            backups.mark_pruned(conn, service_id, number, now=self._clock.now())

    def mark(self, service_id: str, number: int, state: GenerationState, *, why: str) -> None:
        """See the port."""
        with self._db.write() as conn:
            if state == GenerationState.DAMAGED:
                backups.mark_damaged(conn, service_id, number, why=why, now=self._clock.now())
            elif state == GenerationState.DOOMED:
                backups.mark_doomed(conn, service_id, number, why=why)
            elif state in ENDED:
                backups.mark_destroyed(conn, service_id, number, why=why, now=self._clock.now(), state=state)
            else:
                raise ValueError(f"a generation is not made by marking it {state}")

    def traces(self, service_id: str) -> Traces:
        """See the port."""
        with self._db.read() as conn:
            known = backups.generations(conn, service_id)
            since = min((each.made_at for each in known), default=None)
            exports = () if since is None else audit.times_of(conn, EXPORTED, since=since)
        locations = {location for each in known for location in self._places.locations(each)}
        copies = (*copies_of_keys(exports), *(() if since is None else self._of_state(since)))
        return Traces(locations=tuple(sorted(locations)), copies=copies)

    def escrow(self) -> tuple[EscrowEntry, ...]:
        """Every repository whose key is kept, with its key."""
        with self._db.read() as conn:
            return tuple(self._entry(generation) for generation in backups.wrapped_keys(conn))

    def _entry(self, known: Generation) -> EscrowEntry:
        target = self._places.targets.get(known.target)
        return EscrowEntry(
            service_id=known.service_id,
            number=known.number,
            target=known.target,
            location="" if target is None else target.way.to(known.service_id, known.number),
            state=known.state.value,
            key=self._secrets.unwrap(known.wrapped_key, context=key_context(known.service_id, known.number)).decode(),
        )

    @contextmanager
    def _marking(self, service_id: str, number: int) -> Iterator[Connection]:
        """Raises NotFound where there is no such generation."""
        with self._db.write() as conn:
            backups.generation(conn, service_id, number)
            yield conn


def _wanted(conn: Connection, service_id: str) -> frozenset[str]:
    """The backups that jobs which are not over are to restore from."""
    reading = (IntentKind.RESTORE, IntentKind.DRILL, IntentKind.RECOVER)
    jobs = job_store.unfinished(conn, service_id)
    return frozenset(str(job.arguments.get(BACKUP, "")) for job in jobs if job.intent in reading)
