"""The configuration's directory to a ``Config``, or every problem of every file at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from orchestrator.config import backup_checks, machine_checks
from orchestrator.config.backups import backup_settings
from orchestrator.config.checks import Entries, Entry, Names, check
from orchestrator.config.directory import absent, from_sample, require_configuration, yaml_files
from orchestrator.config.files import (
    BackupsSection,
    BillingEntry,
    DeploySection,
    NodeEntry,
    NodesFile,
    OrchestratorFile,
    RangeEntry,
    TargetEntry,
    TemplateEntry,
    TemplatesFile,
    TlsSection,
    ZoneEntry,
)
from orchestrator.config.holidays import read_holidays
from orchestrator.config.machine_reading import read_machines
from orchestrator.config.model import (
    SQLITE_FILE,
    BillingSource,
    Config,
    ConsoleSettings,
    DeploySettings,
    MaintenanceSettings,
    RequestLimits,
    Settings,
    TlsSettings,
    Zone,
)
from orchestrator.config.plan_files import PlanFile
from orchestrator.config.plan_reading import AnyPlanFile, plan_model, plan_of
from orchestrator.config.policy_reading import read_policy
from orchestrator.config.problems import Problem, config_error
from orchestrator.config.validate import salvage, validate
from orchestrator.config.yaml_reader import Document, Unreadable, read_file
from orchestrator.domain.brakes import BrakeLimits
from orchestrator.domain.plans import AddressRange, Node, NodeKind, Template
from orchestrator.domain.policies import SILENT, Policy

M = TypeVar("M", bound=BaseModel)

MAX_PLANS = 1000
MAX_POLICIES = 200
# What stands in for values that could not be read: the ones about which no other value can be wrong.
_LEAST_DISK = "1 MiB"
_NO_POLICY = replace(SILENT, name=PlanFile.model_fields["policy"].default, provider="any provider")
_SUN_PATH = 107  # bytes of a unix socket's path, unix(7)


def load(directory: Path) -> Config:
    """Read orchestrator.yaml, nodes.yaml, machines.yaml, templates.yaml, plans/, policies/ and holidays.yaml under ``directory``.

    Without policies/ nothing is promised: plans have the policy 'default', by which nothing is done automatically.

    Raises ConfigError; its ``details["problems"]`` lists all problems as mappings of ``file``, ``line`` (from 1; 0 = the whole
    file), ``path`` and ``sentence``. Files that hold secrets are named, not opened.
    """
    directory = Path(os.path.abspath(directory))  # noqa: PTH100 -- without following links: the operator's own words
    require_configuration(directory)
    reading = _Reading()
    settings = _settings(reading, directory / "orchestrator.yaml")
    nodes = _nodes(reading, directory / "nodes.yaml")
    templates = _templates(reading, directory / "templates.yaml")
    plans = _plans(reading, directory / "plans")
    policies = _policies(reading, directory / "policies")
    holidays, problems = read_holidays(directory / "holidays.yaml")
    reading.problems.extend(problems)
    machines = read_machines(directory / "machines.yaml", absolute=lambda name: _path(directory, name))
    reading.problems.extend(machines.problems)
    names = Names(
        zones=reading.zone_names, templates=reading.template_names, policies=reading.policy_names, locations=_locations(policies)
    )
    across = (
        *check(reading.entries, names, ranges_whole=reading.ranges_whole),
        *machine_checks.check(machines.entries, reading.entries, names, whole=machines.whole, ranges_whole=reading.ranges_whole),
        *reading.of_backups(),
    )
    reading.problems.extend([problem for problem in across if not reading.told(problem)])
    if reading.problems or settings is None or nodes is None or templates is None:
        raise config_error(f"the configuration in {directory} cannot be used", reading.problems)
    return Config(
        directory=directory.absolute(),
        settings=settings,
        zones=tuple(Zone(name=zone.name, description=zone.description, country=zone.country) for zone in nodes.zones),
        nodes=tuple(_node(node) for node in nodes.nodes),
        ranges=tuple(_range(span) for span in nodes.address_ranges),
        templates={template.name: _template(template) for template in templates.templates},
        plans={plan.name: plan_of(plan) for plan in plans},
        policies=policies,
        holidays=holidays,
        machines=machines.machines,
    )


@dataclass(slots=True)
class _Reading:
    """What was found so far."""

    problems: list[Problem] = field(default_factory=list)
    entries: Entries = field(default_factory=Entries)
    zone_names: frozenset[str] | None = None
    template_names: frozenset[str] | None = None
    policy_names: frozenset[str] | None = None
    target_names: frozenset[str] | None = None
    node_names: frozenset[str] | None = None
    targets: list[Entry[TargetEntry]] = field(default_factory=list)
    backups: Entry[BackupsSection] | None = None
    ranges_whole: bool = False

    def document(self, path: Path) -> Document | None:
        """The file's document where it could be read."""
        if absent(path):
            self.problems.append(Problem(str(path), 0, "", f"the file is missing{from_sample(path)}"))
            return None
        try:
            return read_file(path)
        except Unreadable as unreadable:
            self.problems.extend(unreadable.problems)
            return None

    def file(self, model: type[M], path: Path) -> tuple[M | None, Document | None]:
        """The file's model where it is sound, and its document where it could be read at all."""
        document = self.document(path)
        if document is None:
            return None, None
        found, problems = validate(model, document)
        self.problems.extend(problems)
        return found, document

    def of_backups(self) -> Iterator[Problem]:
        """What is wrong across the values of backups."""
        return backup_checks.check(
            self.targets,
            self.entries.nodes,
            self.backups,
            target_names=self.target_names,
            node_names=self.node_names,
        )

    def told(self, problem: Problem) -> bool:
        """Whether that value, or a part of it, is known to be faulty by itself."""
        return any(
            known.file == problem.file and (_under(problem.path, known.path) or _under(known.path, problem.path))
            for known in self.problems
            if known.path
        )


def _under(path: str, above: str) -> bool:
    return path == above or path.startswith((f"{above}.", f"{above}["))


def _value(document: Document, path: Sequence[str]) -> object:
    value: object = document.data
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _list(document: Document, *path: str) -> list[object]:
    values = _value(document, path)
    return values if isinstance(values, list) else []


def _names(document: Document, *path: str) -> frozenset[str]:
    named = (value.get("name") for value in _list(document, *path) if isinstance(value, dict))
    return frozenset(name for name in named if isinstance(name, str))


def _entries(model: type[M], document: Document, *path: str, **stand_ins: object) -> list[Entry[M]]:
    """The entries of a list that could be read. A ``*`` in what stands in becomes the entry's position: names are unlike."""
    found: list[Entry[M]] = []
    for position, value in enumerate(_list(document, *path)):
        instead = {k: v.replace("*", str(position)) if isinstance(v, str) else v for k, v in stand_ins.items()}
        read = salvage(model, value, instead)
        if read is not None:
            found.append(Entry(document, (*path, position), read[0], read[1]))
    return found


def _section(model: type[M], document: Document, *path: str, **stand_ins: object) -> Entry[M] | None:
    """One mapping, as far as it could be read."""
    read = salvage(model, _value(document, path), stand_ins)
    return None if read is None else Entry(document, path, *read)


def _settings(reading: _Reading, path: Path) -> Settings | None:
    found, document = reading.file(OrchestratorFile, path)
    if document is not None:
        reading.entries.billing = _entries(BillingEntry, document, "billing", source="unread-*", secret_files=["unread"])
        reading.target_names = _names(document, "backups", "targets")
        reading.targets = _entries(TargetEntry, document, "backups", "targets", name="unread-*", location="/unread-*")
        reading.backups = _section(BackupsSection, document, "backups")
    if found is None or document is None:
        return None
    directory = path.parent.absolute()
    state_dir = _path(directory, found.state_dir)
    socket = _path(directory, found.socket)
    if len(str(socket).encode()) > _SUN_PATH:
        reading.problems.append(
            document.problem(("socket",), f"'{socket}' is longer than the {_SUN_PATH} bytes of a socket's path")
        )
    if found.database_password_file is not None and not found.database_url.startswith("postgresql"):
        sentence = "only PostgreSQL has a password: name one in database_url, or leave this out"
        reading.problems.append(document.problem(("database_password_file",), sentence))
    return Settings(
        provider=found.provider,
        timezone=found.timezone,
        country=found.country,
        state_dir=state_dir,
        database_url=found.database_url or f"sqlite:///{state_dir / SQLITE_FILE}",
        database_password_file=(
            _path(directory, found.database_password_file) if found.database_password_file is not None else None
        ),
        socket=socket,
        listen=found.listen,
        billing=tuple(_billing(entry, directory) for entry in found.billing),
        webhook_tolerance=found.webhooks.tolerance,
        body_limit_bytes=found.webhooks.body_limit,
        keep_events=found.webhooks.keep,
        confirm_wait=found.webhooks.confirm_wait,
        give_up_after=found.messages.give_up_after,
        keep_messages=found.messages.keep,
        brakes=BrakeLimits(
            suspensions_per_hour=found.brakes.suspensions_per_hour, terminations_per_hour=found.brakes.terminations_per_hour
        ),
        address_cool_down=found.address_cool_down,
        job_threads=found.jobs.threads,
        keep_engine_rows=found.jobs.keep,
        wait_for_nodes=found.jobs.wait_for_nodes,
        backups=backup_settings(found.backups, lambda name: _path(directory, name)),
        deploy=None if found.deploy is None else _deploy(found.deploy, directory),
        tls=None if found.tls is None else _tls(found.tls, directory),
        limits=RequestLimits(**found.limits.model_dump()),
        consoles=ConsoleSettings(**found.consoles.model_dump()),
        maintenance=MaintenanceSettings(**found.maintenance.model_dump()),
    )


def _tls(section: TlsSection, directory: Path) -> TlsSettings:
    return TlsSettings(certificate_file=_path(directory, section.certificate_file), key_file=_path(directory, section.key_file))


def _deploy(section: DeploySection, directory: Path) -> DeploySettings:
    image, images = _path(directory, section.image), _path(directory, section.images)
    return DeploySettings(listen=section.listen, url=section.url.rstrip("/"), image=image, images=images)


def _billing(entry: BillingEntry, directory: Path) -> BillingSource:
    return BillingSource(
        source=entry.source,
        secret_files=tuple(_path(directory, name) for name in entry.secret_files),
        notify_url=entry.notify_url,
        notify_secret_file=_path(directory, entry.notify_secret_file) if entry.notify_secret_file else None,
    )


def _path(directory: Path, name: str) -> Path:
    """Without '..', so that it reads as what it is; links are followed for that, as the system would."""
    path = directory / name
    return path.resolve() if ".." in path.parts else path


def _nodes(reading: _Reading, path: Path) -> NodesFile | None:
    found, document = reading.file(NodesFile, path)
    if document is not None:
        reading.zone_names = _names(document, "zones")
        reading.node_names = _names(document, "nodes")
        reading.entries.zones = _entries(ZoneEntry, document, "zones", name="unread-*")
        reading.entries.nodes = _entries(NodeEntry, document, "nodes", name="unread-*", zone="unread", address="unread-*.invalid")
        # Where a range's addresses are in doubt, nothing can be said about what others share with it.
        ranges: list[Entry[RangeEntry]] = _entries(RangeEntry, document, "address_ranges", name="unread-*", zone="unread")
        reading.entries.ranges = [span for span in ranges if span.sure("reserved")]
        sound = [span for span in reading.entries.ranges if span.sure("zone")]
        reading.ranges_whole = len(sound) == len(_list(document, "address_ranges"))
    return found


def _templates(reading: _Reading, path: Path) -> TemplatesFile | None:
    found, document = reading.file(TemplatesFile, path)
    if document is not None:
        reading.template_names = _names(document, "templates")
        reading.entries.templates = _entries(
            TemplateEntry, document, "templates", name="unread-*", volume="unread-*", sha256="0" * 64, size=_LEAST_DISK
        )
    return found


def _plans(reading: _Reading, directory: Path) -> list[AnyPlanFile]:
    plans: list[AnyPlanFile] = []
    for path in yaml_files(directory, reading.problems, most=MAX_PLANS):
        plan = _plan_file(reading, path)
        if plan is not None:
            plans.append(plan)
    return plans


def _plan_file(reading: _Reading, path: Path) -> AnyPlanFile | None:
    """By the model of its kind; one of an unknown kind by that of guests, which says so."""
    document = reading.document(path)
    if document is None:
        return None
    model, stand_ins = plan_model(document.data)
    found, problems = validate(model, document)
    reading.problems.extend(problems)
    read = salvage(model, document.data, stand_ins | {"name": path.stem})
    if read is not None:
        reading.entries.plans.append(Entry(document, (), *read))
    return found


def _policies(reading: _Reading, directory: Path) -> dict[str, Policy]:
    if absent(directory):
        reading.policy_names = frozenset({_NO_POLICY.name})
        return {_NO_POLICY.name: _NO_POLICY}
    policies: dict[str, Policy] = {}
    paths = yaml_files(directory, reading.problems, most=MAX_POLICIES)
    reading.policy_names = frozenset(path.stem for path in paths)  # also of those that cannot be read
    for path in paths:
        policy, problems = read_policy(path)
        reading.problems.extend(problems)
        if policy is not None:
            policies[policy.name] = policy
    return policies


def _locations(policies: dict[str, Policy]) -> dict[str, tuple[str, str]]:
    """The country that each policy keeps data in, and the clause that says so."""
    kept = {name: policy.location for name, policy in policies.items()}
    return {name: (rule.country, rule.clause) for name, rule in kept.items() if rule is not None}


def _node(entry: NodeEntry) -> Node:
    values = entry.model_dump(exclude={"reserved_memory", "kind", "windows"})
    windows = tuple(entry.windows)
    return Node(**values, kind=NodeKind(entry.kind), reserved_memory_bytes=entry.reserved_memory, windows=windows)


def _range(entry: RangeEntry) -> AddressRange:
    return AddressRange(
        name=entry.name,
        zone=entry.zone,
        network=entry.network,
        gateway=entry.gateway,
        first=entry.first,
        last=entry.last,
        reserved=tuple(entry.reserved),
        dns=tuple(entry.dns),
    )


def _template(entry: TemplateEntry) -> Template:
    values = entry.model_dump(exclude={"size"})
    return Template(**values, size_bytes=entry.size)
