"""Prometheus metrics: counters that this process keeps, and gauges that are read from the store at every scrape.

Every metric is described in docs/metrics.md. Per-service series live in a registry of their own (``/metrics/services``), so
that a fleet of ten thousand services does not weigh on the scrape that alerts are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator.observe.machines import machine_gauges
from orchestrator.observe.snapshot import BackupGauges, NodeGauges, ServiceGauges, Snapshot, UsageGauges

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Steps last from a database write to the boot of a guest under emulation and the overwriting of a disk.
DELIVERY_OUTCOMES = ("taken", "refused", "no-answer")
STEP_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)


class Metrics:
    """The registry of one controller. ``snapshot`` is called at each scrape and may raise: then the scrape fails, loudly."""

    def __init__(self, *, snapshot: Callable[[], Snapshot], services: Callable[[], Iterable[ServiceGauges]]) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._per_service = CollectorRegistry(auto_describe=False)
        counted = CollectorRegistry(auto_describe=False)
        self._webhooks = Counter(
            "orchestrator_webhooks",
            "Webhooks answered, by billing system and outcome.",
            ("source", "outcome"),
            registry=counted,
        )
        self._steps = Histogram(
            "orchestrator_step_duration_seconds",
            "How long one run of a step took, by step and outcome.",
            ("step", "outcome"),
            buckets=STEP_BUCKETS,
            registry=counted,
        )
        self._deliveries = Counter(
            "orchestrator_deliveries", "Attempts to tell billing, by outcome.", ("outcome",), registry=counted
        )
        for outcome in DELIVERY_OUTCOMES:
            self._deliveries.labels(outcome)  # shown as 0 before the first: an alert needs something to grow from
        self.registry.register(_CountedCollector(counted))
        self.registry.register(_StateCollector(snapshot))
        self._per_service.register(_ServiceCollector(services))

    def webhook(self, *, source: str, outcome: str) -> None:
        """Count one answer. ``source`` must be a configured name or ``unknown``: it becomes a label."""
        self._webhooks.labels(source, outcome).inc()

    def step(self, step: str, outcome: str, seconds: float) -> None:
        """Observe one attempt of a step; the engine's ``on_step``."""
        self._steps.labels(step, outcome).observe(seconds)

    def delivery(self, outcome: str) -> None:
        """Count one post to billing; the engine's ``on_delivery``."""
        self._deliveries.labels(outcome).inc()

    def render(self) -> bytes:
        """The exposition of everything but single services."""
        return generate_latest(self.registry)

    def render_services(self) -> bytes:
        return generate_latest(self._per_service)


class _CountedCollector(Collector):
    """What the process counts, without the ``_created`` series that the library puts beside each."""

    def __init__(self, inner: CollectorRegistry) -> None:
        self._inner = inner

    def collect(self) -> Iterator[Metric]:
        for family in self._inner.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


class _StateCollector(Collector):
    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        now = self._snapshot()
        yield from _job_gauges(now)
        yield from _service_gauges(now)
        yield from _node_gauges(now.nodes)
        yield from _drift_gauges(now)
        yield from machine_gauges(now.machine_counts, now.machines, now.machines_kept_off)
        yield from _range_gauges(now)
        yield from _charge_gauges(now)
        yield from _backup_gauges(now)


class _ServiceCollector(Collector):
    def __init__(self, services: Callable[[], Iterable[ServiceGauges]]) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "orchestrator_service_info", "1 for each service, with where it is.", labels=("service", "plan", "state", "node")
        )
        holds = GaugeMetricFamily("orchestrator_service_hold", "1 for each hold of a service.", labels=("service", "reason"))
        paid = GaugeMetricFamily(
            "orchestrator_service_paid_until_timestamp_seconds", "Until when a service is paid, Unix time.", labels=("service",)
        )
        left_out = GaugeMetricFamily(
            "orchestrator_service_backup_left_out",
            "1 for each service of which no backup is made though its policy has a schedule, and why.",
            labels=("service", "reason"),
        )
        one = [
            GaugeMetricFamily(f"orchestrator_service_{name}", help_text, labels=("service",))
            for name, help_text, _ in _OF_SERVICE
        ]
        for service in self._services():
            info.add_metric((service.id, service.plan, service.state, service.node), 1)
            for reason in service.holds:
                holds.add_metric((service.id, reason), 1)
            if service.paid_until is not None:
                paid.add_metric((service.id,), service.paid_until)
            if service.left_out:
                left_out.add_metric((service.id, service.left_out), 1)
            for family, (_, _, read) in zip(one, _OF_SERVICE, strict=True):
                value = read(service)
                if value is not None:
                    family.add_metric((service.id,), value)
        yield from (info, holds, paid, left_out, *one)


def _of_backup(read: Callable[[BackupGauges], float]) -> Callable[[ServiceGauges], float | None]:
    return lambda service: None if service.backup is None else read(service.backup)


def _of_usage(read: Callable[[UsageGauges], float]) -> Callable[[ServiceGauges], float | None]:
    return lambda service: None if service.usage is None else read(service.usage)


_OF_SERVICE: tuple[tuple[str, str, Callable[[ServiceGauges], float | None]], ...] = (
    (
        "backup_verified_timestamp_seconds",
        "When a service's last verified backup was made, Unix time; no series before the first.",
        _of_backup(lambda backup: backup.made_at),
    ),
    (
        "backup_checked_timestamp_seconds",
        "When that backup was verified, Unix time.",
        _of_backup(lambda backup: backup.verified_at),
    ),
    ("backup_duration_seconds", "From its beginning until it was verified.", _of_backup(lambda backup: backup.seconds)),
    ("backup_bytes", "Size of what a service's last verified backup holds.", _of_backup(lambda backup: backup.size_bytes)),
    (
        "backup_inodes",
        "Files and such that it holds; of a disk its pieces.",
        _of_backup(lambda backup: backup.inodes),
    ),
    ("backup_read_bytes", "What was read of the source for it.", _of_backup(lambda backup: backup.read_bytes)),
    ("backup_stored_bytes", "What it added to its repository.", _of_backup(lambda backup: backup.stored_bytes)),
    (
        "backup_missed_slots",
        "Slots of a service's schedule that are over and had no backup; no series where there is no schedule.",
        lambda service: service.backups_missed,
    ),
    (
        "restores_left",
        "Restores that are still included in this month; no series where the policy counts none.",
        lambda service: service.restores_left,
    ),
    ("usage_bytes", "Files of a hosting account, as last read.", _of_usage(lambda u: u.bytes)),
    ("usage_inodes", "Files, directories and links of a hosting account, as last read.", _of_usage(lambda u: u.inodes)),
    ("usage_database_bytes", "Databases of a hosting account, as last read.", _of_usage(lambda u: u.database_bytes)),
    ("usage_traffic_bytes", "Traffic of a guest or a hosting account in this calendar month.", lambda s: s.traffic_bytes),
    ("usage_cpu_seconds", "Processor time of a hosting account since it was first read.", _of_usage(lambda u: u.cpu_seconds)),
)


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"orchestrator_{name}", help_text, value=value)


def _job_gauges(now: Snapshot) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("orchestrator_jobs", "Jobs kept in the store, by playbook and state.", labels=("playbook", "state"))
    for row in now.jobs:
        jobs.add_metric((row.playbook, row.state), row.count)
    yield jobs
    yield _gauge("queue_jobs", "Jobs that wait for their turn.", now.queue_depth)
    yield _gauge(
        "queue_oldest_age_seconds", "Age of the job that has waited longest, 0 where none waits.", now.queue_oldest_seconds
    )
    away = GaugeMetricFamily("orchestrator_away_jobs", "Jobs that wait for what they cannot reach.", labels=("away",))
    longest = GaugeMetricFamily(
        "orchestrator_away_oldest_age_seconds", "Since when the first of them waits for it.", labels=("away",)
    )
    for waits in now.away:
        away.add_metric((waits.away,), waits.count)
        longest.add_metric((waits.away,), waits.oldest_seconds)
    yield from (away, longest)
    yield _gauge("approval_jobs", "Jobs that wait for an operator's approval.", now.waiting_approval)
    yield _gauge("outbox_messages", "Messages that wait for billing to take them.", now.outbox_depth)
    yield _gauge(
        "outbox_oldest_age_seconds", "Age of the oldest message that waits, 0 where none does.", now.outbox_oldest_seconds
    )
    yield _gauge("outbox_dead_messages", "Messages that billing did not take, and that are posted no more.", now.outbox_dead)
    yield _gauge("dead_letters", "Events that cannot be processed until somebody mends their cause.", now.dead_letters)
    late = GaugeMetricFamily(
        "orchestrator_deadlines_late",
        "Deadlines whose time has come, that nothing is in the way of, and that were not seen to.",
        labels=("action",),
    )
    for deadlines in now.late:
        late.add_metric((deadlines.action,), deadlines.count)
    yield late
    yield _gauge("terminations_wait", "1 while no deadline terminates anything, for whatever reason.", int(now.terminations_wait))
    reasons = GaugeMetricFamily(
        "orchestrator_terminations_wait_reason", "1 while no deadline terminates anything for this reason.", labels=("reason",)
    )
    for wait in now.wait_reasons:
        reasons.add_metric((wait.reason,), int(wait.stands))
    yield reasons
    yield _gauge("looks_differing", "Services that the last comparison found to be looked at too late.", now.looks_differing)
    compared = GaugeMetricFamily(
        "orchestrator_looks_compared_timestamp_seconds",
        "When the looks were last compared with what the records say, Unix time; no series before the first time.",
    )
    if now.looks_compared_at is not None:
        compared.add_metric((), now.looks_compared_at)
    yield compared
    yield _gauge("controllers", "Controllers that work on the database.", now.controllers)
    yield _gauge("controllers_lost", "Controllers that were lost within the last hour.", now.controllers_lost)
    yield _gauge("undeclared_services", "Services on nodes or machines that are not declared.", now.undeclared_services)
    yield _gauge("frozen", "1 while orchestrator freeze is in force.", int(now.frozen))


def _service_gauges(now: Snapshot) -> Iterator[Metric]:
    services = GaugeMetricFamily("orchestrator_services", "Services, by plan and state.", labels=("plan", "state"))
    for row in now.services:
        services.add_metric((row.plan, row.state), row.count)
    holds = GaugeMetricFamily("orchestrator_holds", "Holds that stand against services.", labels=("reason", "effect"))
    for hold in now.holds:
        holds.add_metric((hold.reason, hold.effect), hold.count)
    erasures = GaugeMetricFamily(
        "orchestrator_erasure_due",
        "Archived services whose data is to be erased within 24 hours at the latest, or was to be.",
        labels=("when",),
    )
    for due in now.erasures:
        erasures.add_metric((due.when,), due.count)
    yield from (services, holds, erasures)


_NODE_GAUGES: tuple[tuple[str, str, Callable[[NodeGauges], float | None]], ...] = (
    ("node_up", "1 where the node answered when it was last asked.", lambda n: int(n.up)),
    ("node_enrolled", "1 where the node was enrolled.", lambda n: int(n.enrolled)),
    ("node_drained", "1 where an operator drained the node: nothing new is placed on it.", lambda n: int(n.drained)),
    ("node_maintenance_announced", "1 where maintenance of the node is announced or under way.", lambda n: int(n.announced)),
    ("node_lost", "1 where an operator stated that the node never comes back: nothing is sent to it.", lambda n: int(n.lost)),
    ("node_pool_data_ratio", "Share of the node's pool that is full, 0 to 1.", lambda n: n.pool_data_ratio),
    ("node_pool_metadata_ratio", "The same of its inodes or thin pool's metadata.", lambda n: n.pool_metadata_ratio),
    (
        "node_over_watermark",
        "1 where the pool is over a watermark: nothing new is placed there.",
        lambda n: int(n.over_watermark),
    ),
    ("node_guests", "Guests that services have on the node.", lambda n: n.guests),
    ("node_capacity_cpus", "Logical CPUs of the node.", lambda n: n.cpus),
    ("node_capacity_memory_bytes", "Memory of the node.", lambda n: n.memory_bytes),
    ("node_capacity_disk_bytes", "Size of the node's storage pool.", lambda n: n.disk_bytes),
    ("node_promised_cpus", "vCPUs promised to services on the node.", lambda n: n.promised_vcpus),
    ("node_promised_memory_bytes", "Memory promised to services on the node.", lambda n: n.promised_memory_bytes),
    ("node_promised_disk_bytes", "Disk promised to services on the node.", lambda n: n.promised_disk_bytes),
)


def _node_gauges(nodes: tuple[NodeGauges, ...]) -> Iterator[Metric]:
    for name, help_text, read in _NODE_GAUGES:
        family = GaugeMetricFamily(f"orchestrator_{name}", help_text, labels=("node", "zone"))
        for node in nodes:
            value = read(node)
            if value is not None:
                family.add_metric((node.name, node.zone), value)
        yield family


def _drift_gauges(now: Snapshot) -> Iterator[Metric]:
    drift = GaugeMetricFamily("orchestrator_drift", "What differs between records and nodes, by kind.", labels=("kind",))
    for row in now.drift:
        drift.add_metric((row.kind,), row.count)
    yield drift
    yield _gauge("drift_unseen_nodes", "Nodes that did not answer when drift was last measured.", now.drift_unseen)
    measured = GaugeMetricFamily(
        "orchestrator_drift_measured_timestamp_seconds",
        "When drift was last measured, Unix time; no series before the first time.",
    )
    if now.drift_measured_at is not None:
        measured.add_metric((), now.drift_measured_at)
    yield measured


def _range_gauges(now: Snapshot) -> Iterator[Metric]:
    labels = ("range", "zone", "family")
    size = GaugeMetricFamily("orchestrator_addresses", "Addresses that a range can give out.", labels=labels)
    used = GaugeMetricFamily("orchestrator_addresses_used", "Addresses that services hold.", labels=labels)
    cooling = GaugeMetricFamily("orchestrator_addresses_cooling", "Addresses given back and not yet free.", labels=labels)
    for row in now.ranges:
        key = (row.name, row.zone, f"ipv{row.family}")
        size.add_metric(key, row.size)
        used.add_metric(key, row.used)
        cooling.add_metric(key, row.cooling)
    yield from (size, used, cooling)


def _charge_gauges(now: Snapshot) -> Iterator[Metric]:
    labels = ("kind", "plan")
    number = GaugeMetricFamily("orchestrator_charges", "Charges that were made and not taken back.", labels=labels)
    amount = GaugeMetricFamily("orchestrator_charges_rupiah", "What those charges are together, whole rupiah.", labels=labels)
    for row in now.charges:
        number.add_metric((row.kind, row.plan), row.count)
        amount.add_metric((row.kind, row.plan), row.amount)
    yield from (number, amount)


def _backup_gauges(now: Snapshot) -> Iterator[Metric]:
    backups = GaugeMetricFamily("orchestrator_backups", "Backups that were begun, by what became of them.", labels=("state",))
    for row in now.backups:
        backups.add_metric((row.state,), row.count)
    yield backups
    restores = GaugeMetricFamily("orchestrator_restores", "Restores that were asked for, by how they count.", labels=("state",))
    drills = GaugeMetricFamily("orchestrator_drills", "Restore drills, by how they ended.", labels=("state",))
    for family, rows in ((restores, now.restores), (drills, now.drills)):
        for row in rows:
            family.add_metric((row.state,), row.count)
    passed = GaugeMetricFamily("orchestrator_drill_passed_timestamp_seconds", "When a restore drill last passed, Unix time.")
    if now.drill_passed_at is not None:
        passed.add_metric((), now.drill_passed_at)
    yield from (restores, drills, passed)
    yield _gauge("drills_failing", "Drills that failed in the last 24 hours, and did not pass when retried.", now.drills_failing)
    yield _gauge("backups_behind_services", "Services that have missed two slots of their backups or more.", now.backups_behind)
    yield _gauge("repositories_damaged", "Repositories in which damage was found and that still stand.", now.repositories_damaged)
    wanted = GaugeMetricFamily(
        "orchestrator_state_backup_interval_seconds",
        "How often the controller's own state is to be backed up; no series where it is not.",
    )
    made = GaugeMetricFamily(
        "orchestrator_state_backup_verified_timestamp_seconds",
        "When the last verified backup of the controller's own state was made, Unix time; no series before the first.",
    )
    for family, value in ((wanted, now.state_copy_seconds), (made, now.state_copied_at)):
        if value is not None:
            family.add_metric((), value)
        yield family
