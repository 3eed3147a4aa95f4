"""The whole configuration as the rest of the program sees it: frozen, checked, in domain types and base units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from orchestrator.config.holidays import Holiday
from orchestrator.domain.backups.offer import ALL_DAY, DRILLS, KEEP_RESTORED, Hours
from orchestrator.domain.backups.state import StateBackups
from orchestrator.domain.backups.targets import Target
from orchestrator.domain.brakes import BrakeLimits
from orchestrator.domain.machines import Machine
from orchestrator.domain.plans import AddressRange, Node, Plan, Template
from orchestrator.domain.policies import Policy

SQLITE_FILE = "orchestrator.sqlite"  # in the state directory, where no database_url is given


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingSource:
    """A billing system we hear and answer. All secrets are files that hold one secret each (``whsec_…``), newest first.

    ``notify_url`` '' = it is told nothing; ``notify_secret_file`` None exactly then.
    """

    source: str
    secret_files: tuple[Path, ...]
    notify_url: str = ""
    notify_secret_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSettings:
    """``upload`` and ``download`` in bytes a second, 0 = no limit. ``keep_restored``: how long a replaced disk is kept. ``state``
    None = no copies are made of the controller itself. ``drills``: so many restore drills a week on each node.
    """

    targets: Mapping[str, Target] = field(default_factory=dict)
    hours: Hours = ALL_DAY
    upload: int = 0
    download: int = 0
    niceness: int = 10
    io_priority: int = 7
    keep_restored: timedelta = KEEP_RESTORED
    state: StateBackups | None = None
    drills: int = DRILLS


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploySettings:
    """Where the deploy image is answered. ``url``: the same place as machines and their BMCs reach it, https. ``image``: the ISO;
    ``images``: the directory of the raw images that are written to machines."""

    listen: str
    url: str
    image: Path
    images: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """Of the API on TCP."""

    certificate_file: Path
    key_file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """Requests in a minute, and at once; 0 = no limit."""

    token_requests_per_minute: int = 1200
    address_requests_per_minute: int = 2400


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """``idle``: after so long without a key a console is closed. ``at_once``: so many on one controller; 0 = none."""

    idle: timedelta = timedelta(minutes=15)
    at_once: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceSettings:
    """``notice``: so long before, at the least, customers hear of a planned restart. ``takes``: so long before the end of a
    window none is begun any more."""

    notice: timedelta = timedelta(hours=24)
    takes: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """orchestrator.yaml. Paths are absolute (relative ones are taken from the configuration's directory).

    ``database_url`` is never empty here, and holds no password: left out, it is SQLite in ``state_dir/orchestrator.sqlite``.
    ``database_password_file``: of PostgreSQL's user, None = it needs none, or libpq finds it by itself. ``listen`` is
    ``host:port`` or '' (unix socket only). ``timezone`` is an IANA name: the provider's, in which days
    are counted and people read times; all else is UTC. ``country``: whose public holidays are no business days, '' = nobody's.
    """

    provider: str
    timezone: str
    country: str
    state_dir: Path
    database_url: str
    database_password_file: Path | None
    socket: Path
    listen: str
    billing: tuple[BillingSource, ...]
    webhook_tolerance: timedelta
    body_limit_bytes: int
    keep_events: timedelta
    confirm_wait: timedelta
    give_up_after: timedelta
    keep_messages: timedelta
    brakes: BrakeLimits
    address_cool_down: timedelta
    job_threads: int
    keep_engine_rows: timedelta
    wait_for_nodes: timedelta
    backups: BackupSettings = field(default_factory=BackupSettings)
    deploy: DeploySettings | None = None
    tls: TlsSettings | None = None
    limits: RequestLimits = field(default_factory=RequestLimits)
    consoles: ConsoleSettings = field(default_factory=ConsoleSettings)
    maintenance: MaintenanceSettings = field(default_factory=MaintenanceSettings)

    @property
    def told(self) -> BillingSource | None:
        """The billing system that is told of results and notices: the first that named where. None = nobody is."""
        return next((billing for billing in self.billing if billing.notify_url), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A place whose nodes share their networks. ``country``: where it stands (ISO 3166-1), '' = not said."""

    name: str
    description: str = ""
    country: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything under ``directory``, every name in it known and every reference between files resolved.

    ``policies`` has the one that each plan names.
    """

    directory: Path
    settings: Settings
    zones: tuple[Zone, ...]
    nodes: tuple[Node, ...]
    ranges: tuple[AddressRange, ...]
    templates: dict[str, Template]
    plans: dict[str, Plan]
    policies: dict[str, Policy]
    holidays: tuple[Holiday, ...] = ()
    machines: tuple[Machine, ...] = ()
