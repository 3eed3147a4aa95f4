"""The state that the metrics show, as one value read from the store when somebody scrapes. Bytes, seconds, counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsCount:
    playbook: str
    state: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicesCount:
    plan: str
    state: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldsCount:
    reason: str
    effect: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargesCount:
    """Charges that stand, and the rupiah that they are together."""

    kind: str
    plan: str
    count: int
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupsCount:
    """Attempts at backups, or restores, or drills, that are in one state."""

    state: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitCount:
    """Whether terminations wait for one reason."""

    reason: str
    stands: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LateCount:
    """Deadlines of one action whose time has come, that nothing is in the way of, and that were not seen to."""

    action: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftCount:
    """Things of one kind that differed between the records and the nodes."""

    kind: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasuresCount:
    """Services whose latest promised moment of erasure is near (``soon``) or behind (``passed``), and that are not erased."""

    when: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeGauges:
    """``cpus``, ``memory_bytes`` and ``disk_bytes`` are None until the node was seen; ``…_ratio``: how much of its
    pool is full, 0 to 1."""

    name: str
    zone: str
    enrolled: bool
    up: bool
    guests: int
    cpus: int | None
    memory_bytes: int | None
    disk_bytes: int | None
    promised_vcpus: int
    promised_memory_bytes: int
    promised_disk_bytes: int
    drained: bool = False
    announced: bool = False
    lost: bool = False
    pool_data_ratio: float | None = None
    pool_metadata_ratio: float | None = None
    over_watermark: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinesCount:
    """Dedicated machines of one class in one zone that are in one state."""

    machine_class: str
    zone: str
    state: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineGauges:
    """An enrolled machine. ``on``, ``health`` (0 ok, 1 warning, 2 critical) and ``hottest_celsius`` are None where its BMC tells
    none."""

    name: str
    zone: str
    up: bool
    on: bool | None
    health: int | None
    hottest_celsius: float | None
    unwell_sensors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeGauges:
    name: str
    zone: str
    family: int
    size: int
    used: int
    cooling: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupGauges:
    """A service's last verified backup. Unix times; ``seconds``: from its beginning until it was verified.

    ``size_bytes`` and ``inodes`` of its source, of which ``read_bytes`` were read, and that added ``stored_bytes``.
    """

    made_at: float
    verified_at: float
    seconds: float
    size_bytes: int
    inodes: int
    read_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageGauges:
    """The last reading of a hosting account. ``cpu_seconds`` since the first."""

    bytes: int
    inodes: int
    database_bytes: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceGauges:
    """One service, for /metrics/services. ``paid_until`` is a Unix time, None = never paid.

    ``backup``: None where there is none. ``backups_missed``: slots of its schedule that are over and were not seen to, None where
    it has no schedule; ``left_out``: why none is made, though it has one. ``restores_left``: in this month, None = not counted.
    ``usage``: None where it is no account, or none was read yet. ``traffic_bytes``: of a guest or an account, in this calendar
    month; None where none was read yet.
    """

    id: str
    plan: str
    state: str
    node: str
    holds: tuple[str, ...]
    paid_until: float | None
    backup: BackupGauges | None = None
    backups_missed: int | None = None
    left_out: str = ""
    restores_left: int | None = None
    usage: UsageGauges | None = None
    traffic_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AwayCount:
    """Jobs that wait for a node, a machine or the backup target to be reached again; ``oldest_seconds``: the longest so far."""

    away: str
    count: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything at one moment. The oldest ages are seconds, 0 where nothing waits.

    ``looks_…``: what the last comparison of the looks with the records found, and when it was, Unix time; None = not yet.
    ``state_copy_seconds``: how often the controller's own state is to be copied, None = never; ``state_copied_at``: Unix time of
    the last verified copy. ``drift`` as it was last measured, ``drift_measured_at``, Unix time, None = not yet; ``drift_unseen``:
    nodes that did not answer then. ``drills_failing``: that failed within the last day, and did not pass since; ``drills`` by
    how they ended, whenever that was. ``backups_behind``: services that have missed two slots of their backups or more.
    ``undeclared_services``: on nodes and machines that are not declared.
    """

    jobs: tuple[JobsCount, ...] = ()
    queue_depth: int = 0
    queue_oldest_seconds: float = 0.0
    waiting_approval: int = 0
    away: tuple[AwayCount, ...] = ()
    nodes: tuple[NodeGauges, ...] = ()
    services: tuple[ServicesCount, ...] = ()
    holds: tuple[HoldsCount, ...] = ()
    ranges: tuple[RangeGauges, ...] = ()
    outbox_depth: int = 0
    outbox_oldest_seconds: float = 0.0
    outbox_dead: int = 0
    dead_letters: int = 0
    frozen: bool = False
    terminations_wait: bool = False
    wait_reasons: tuple[WaitCount, ...] = ()
    looks_differing: int = 0
    looks_compared_at: float | None = None
    late: tuple[LateCount, ...] = ()
    drift: tuple[DriftCount, ...] = ()
    drift_unseen: int = 0
    drift_measured_at: float | None = None
    charges: tuple[ChargesCount, ...] = ()
    backups: tuple[BackupsCount, ...] = ()
    backups_behind: int = 0
    restores: tuple[BackupsCount, ...] = ()
    drills: tuple[BackupsCount, ...] = ()
    drills_failing: int = 0
    drill_passed_at: float | None = None
    repositories_damaged: int = 0
    state_copy_seconds: float | None = None
    state_copied_at: float | None = None
    erasures: tuple[ErasuresCount, ...] = ()
    machine_counts: tuple[MachinesCount, ...] = ()
    machines: tuple[MachineGauges, ...] = ()
    machines_kept_off: int = 0
    controllers: int = 0
    controllers_lost: int = 0
    undeclared_services: int = 0
