"""Reads from the store what the metrics show. One consistent view per scrape."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from orchestrator.api import outlook
from orchestrator.api.machine_scrape import scraped
from orchestrator.api.tally import Tally
from orchestrator.domain.backups import allowance
from orchestrator.domain.backups.schedule import interval, left_out, missed, next_slot
from orchestrator.domain.backups.words import Backup
from orchestrator.domain.drift import DriftKind
from orchestrator.domain.guards import WaitReason
from orchestrator.domain.placement import over_watermarks
from orchestrator.domain.plans import Node
from orchestrator.domain.traffic import GuestTraffic
from orchestrator.domain.usage import Metered, month_of
from orchestrator.engine.machine_guard import KEPT_OFF
from orchestrator.engine.settings import Catalog
from orchestrator.observe.snapshot import (
    AwayCount,
    BackupGauges,
    BackupsCount,
    ChargesCount,
    DriftCount,
    ErasuresCount,
    HoldsCount,
    JobsCount,
    LateCount,
    NodeGauges,
    RangeGauges,
    ServiceGauges,
    ServicesCount,
    Snapshot,
    UsageGauges,
    WaitCount,
)
from orchestrator.ports.address_pool import AddressPool
from orchestrator.ports.clock import Clock
from orchestrator.store import (
    absences,
    account_usage,
    audit,
    backups,
    charges,
    controllers,
    drills,
    guest_traffic,
    jobs,
    nodes,
    outbox,
    overview,
    services,
    settings,
    state_copies,
)
from orchestrator.store.database import Connection, Database

_PAGE = 500
# How long a controller that was lost shows in the metrics, and a drill that failed.
LOST_SHOWN = timedelta(hours=1)
FAILED_SHOWN = timedelta(days=1)
OVER = "it is over the cap of its backups"
"""A label has no numbers that change at every attempt, and no names of a customer's files."""


class Scrape:
    """The two callables that ``observe.metrics.Metrics`` is made with. ``posts``: messages to billing have somewhere to go.
    ``state_every``: how often the controller's own state is to be copied. ``tally``: what takes a look at each service."""

    def __init__(
        self,
        db: Database,
        *,
        catalog: Catalog,
        addresses: AddressPool,
        clock: Clock,
        posts: bool = True,
        state_every: timedelta | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._tally = tally or Tally(db, catalog, clock)
        self._db = db
        self._catalog = catalog
        self._addresses = addresses
        self._clock = clock
        self._posts = posts
        self._state_every = state_every

    def snapshot(self) -> Snapshot:
        """The state now. Raises StoreUnavailable: a scrape that cannot see says so, and shows no old numbers."""
        now, late, behind = self._clock.now(), self._tally.late(), self._tally.behind()
        with self._db.read() as conn:
            by_state = jobs.counts(conn)
            queue = jobs.queue_depth(conn)
            unposted, oldest = outbox.waiting(conn) if self._posts else (0, None)
            machine_counts, machines = scraped(conn, self._catalog.machines)
            for_people, waits, compared = overview.waiting(conn), settings.waits(conn), settings.compared(conn)
            drifted = settings.drifted(conn)
            return Snapshot(
                jobs=tuple(JobsCount(playbook=p, state=s, count=n) for (p, s), n in sorted(by_state.items())),
                queue_depth=queue.jobs,
                queue_oldest_seconds=_age(queue.oldest, now),
                waiting_approval=for_people.approval,
                away=_away(conn, now),
                nodes=_nodes(conn, self._catalog.nodes, announced=self._catalog.announced.known),
                machine_counts=machine_counts,
                machines=machines,
                controllers=len(controllers.others(conn)),
                controllers_lost=controllers.lost_since(conn, controllers.now(conn) - LOST_SHOWN),
                machines_kept_off=len(audit.times_of(conn, KEPT_OFF, since=now - timedelta(days=1))),
                services=tuple(ServicesCount(plan=p, state=s, count=n) for (p, s), n in sorted(services.count(conn).items())),
                holds=tuple(
                    HoldsCount(reason=r, effect=e, count=n) for (r, e), n in sorted(overview.holds_by_reason(conn).items())
                ),
                ranges=tuple(
                    RangeGauges(name=u.name, zone=u.zone, family=u.family, size=u.size, used=u.leased, cooling=u.cooling)
                    for u in self._addresses.usage()
                ),
                outbox_depth=unposted,
                outbox_oldest_seconds=_age(oldest, now),
                outbox_dead=for_people.dead_messages if self._posts else 0,
                dead_letters=for_people.dead_letters,
                frozen=for_people.freeze is not None,
                terminations_wait=for_people.terminations is not None,
                erasures=tuple(
                    ErasuresCount(when=when, count=n) for when, n in outlook.erasures(conn, self._catalog, now=now).items()
                ),
                wait_reasons=tuple(WaitCount(reason=reason.value, stands=reason in waits) for reason in WaitReason),
                looks_differing=0 if compared is None else compared.differing,
                looks_compared_at=None if compared is None else compared.at.timestamp(),
                drift=_drift(drifted),
                drift_unseen=0 if drifted is None else len(drifted.unseen),
                drift_measured_at=None if drifted is None else drifted.at.timestamp(),
                late=tuple(LateCount(action=a.value, count=n) for a, n in late.items()),
                charges=tuple(
                    ChargesCount(kind=k, plan=p, count=n, amount=a) for (k, p), (n, a) in sorted(charges.totals(conn).items())
                ),
                backups=tuple(BackupsCount(state=state.value, count=n) for state, n in backups.counts(conn).items()),
                backups_behind=behind,
                repositories_damaged=backups.damaged(conn) + state_copies.damaged(conn),
                state_copy_seconds=None if self._state_every is None else self._state_every.total_seconds(),
                state_copied_at=_copied_at(conn),
                restores=tuple(BackupsCount(state=state.value, count=n) for state, n in backups.restore_counts(conn).items()),
                drills=tuple(BackupsCount(state=state.value, count=n) for state, n in drills.counts(conn).items()),
                drills_failing=drills.failed_since(conn, now - FAILED_SHOWN),
                undeclared_services=sum(len(each) for each in overview.undeclared(conn, self._catalog.places).values()),
                drill_passed_at=None if (passed := drills.last_passed(conn)) is None else passed.timestamp(),
            )

    def services(self) -> Iterator[ServiceGauges]:
        """Every service, page by page."""
        after: str | None = None
        with self._db.read() as conn:
            over = backups.refused(conn)
        while True:
            with self._db.read() as conn:
                found, after = services.list_page(conn, limit=_PAGE, after=after)
                where = overview.nodes_of(conn, [service.id for service in found])
                good = backups.last_good(conn, [service.id for service in found])
                used = account_usage.of(conn, [service.id for service in found])
                counted = guest_traffic.of(conn, [service.id for service in found])
                restored = backups.restores_by_service(conn, [service.id for service in found])
            now = self._clock.now()
            month = month_of(now, self._catalog.calendar)
            for service in found:
                terms = self._catalog.terms_of(service)
                scheduled = interval(terms) is not None
                yield ServiceGauges(
                    id=service.id,
                    plan=service.plan,
                    state=service.state.value,
                    node=where.get(service.id, ""),
                    holds=tuple(hold.reason.value for hold in service.holds),
                    paid_until=None if service.paid_until is None else service.paid_until.timestamp(),
                    backup=_backup(good.get(service.id)),
                    backups_missed=None if next_slot(service, terms) is None else len(missed(service, terms, now=now)),
                    left_out=(left_out(service, terms) or (OVER if over.get(service.id) else "")) if scheduled else "",
                    usage=_usage(used.get(service.id)),
                    traffic_bytes=_traffic(used.get(service.id) or counted.get(service.id), month),
                    restores_left=allowance.left(restored.get(service.id, ()), terms, now),
                )
            if after is None:
                return


def _traffic(read: Metered | GuestTraffic | None, month: str) -> int | None:
    return None if read is None else read.traffic.get(month, 0)


def _usage(metered: Metered | None) -> UsageGauges | None:
    if metered is None:
        return None
    return UsageGauges(
        bytes=metered.bytes,
        inodes=metered.inodes,
        database_bytes=metered.database_bytes,
        cpu_seconds=metered.cpu_seconds,
    )


def _backup(last: Backup | None) -> BackupGauges | None:
    if last is None or last.made_at is None or last.verified_at is None:
        return None
    return BackupGauges(
        made_at=last.made_at.timestamp(),
        verified_at=last.verified_at.timestamp(),
        seconds=max(0.0, (last.verified_at - last.begun_at).total_seconds()),
        size_bytes=last.size_bytes,
        inodes=last.inodes,
        read_bytes=last.read_bytes,
        stored_bytes=last.stored_bytes,
    )


def _drift(last: settings.Drifted | None) -> tuple[DriftCount, ...]:
    """Every kind, as soon as it was measured."""
    return () if last is None else tuple(DriftCount(kind=kind.value, count=last.counts.get(kind.value, 0)) for kind in DriftKind)


def _copied_at(conn: Connection) -> float | None:
    """When the last copy of the controller's own state was made that one may rely on."""
    made = [each.made_at for each in state_copies.relied_on(conn) if each.made_at is not None]
    return made[0].timestamp() if made else None


def _away(conn: Connection, now: datetime) -> tuple[AwayCount, ...]:
    since: dict[str, list[datetime]] = {}
    for absence in absences.waiting(conn).values():
        since.setdefault(absence.away, []).append(absence.since)
    return tuple(
        AwayCount(away=name, count=len(times), oldest_seconds=_age(min(times), now)) for name, times in sorted(since.items())
    )


def _nodes(conn: Connection, declared: tuple[Node, ...], *, announced: Collection[str]) -> tuple[NodeGauges, ...]:
    return tuple(
        NodeGauges(
            name=state.node.name,
            zone=state.node.zone,
            enrolled=state.enrolled,
            up=state.up,
            guests=state.guests,
            cpus=state.cpus,
            memory_bytes=state.memory_bytes,
            disk_bytes=state.disk_bytes,
            promised_vcpus=state.promised_vcpus,
            promised_memory_bytes=state.promised_memory_bytes,
            promised_disk_bytes=state.promised_disk_bytes,
            drained=bool(state.drained),
            announced=state.node.name in announced,
            lost=state.lost is not None,
            pool_data_ratio=_ratio(state.filled.data_percent),
            pool_metadata_ratio=_ratio(state.filled.metadata_percent),
            over_watermark=bool(over_watermarks(state)),
        )
        for state in nodes.states(conn, declared)
    )


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
