"""The configuration's directory to a ``Config``, or every problem of every file at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from orchestrator.config.checks import Entries, Entry, Names, check
from orchestrator.config.files import (
    BillingEntry,
    NodeEntry,
    NodesFile,
    OrchestratorFile,
    PlanFile,
    RangeEntry,
    TemplateEntry,
    TemplatesFile,
    ZoneEntry,
)
from orchestrator.config.model import BillingSource, Config, Settings, Zone
from orchestrator.config.problems import Problem, config_error
from orchestrator.config.validate import salvage, validate
from orchestrator.config.yaml_reader import Document, Unreadable, read_file
from orchestrator.domain.brakes import BrakeLimits
from orchestrator.domain.plans import AddressRange, Node, Plan, PlanKind, Template

M = TypeVar("M", bound=BaseModel)

MAX_PLANS = 1000
_SUN_PATH = 107  # bytes of a unix socket's path, unix(7)


def load(directory: Path) -> Config:
    """Read orchestrator.yaml, nodes.yaml, templates.yaml and plans/*.yaml under ``directory``.

    Raises ConfigError; its ``details["problems"]`` lists all problems as mappings of ``file``, ``line`` (from 1; 0 = the whole
    file), ``path`` and ``sentence``. Files that hold secrets are named, not opened.
    """
    reading = _Reading()
    settings = _settings(reading, directory / "orchestrator.yaml")
    nodes = _nodes(reading, directory / "nodes.yaml")
    templates = _templates(reading, directory / "templates.yaml")
    plans = _plans(reading, directory / "plans")
    names = Names(zones=reading.zone_names, templates=reading.template_names)
    reading.problems.extend(check(reading.entries, names, ranges_whole=reading.ranges_whole))
    if reading.problems or settings is None or nodes is None or templates is None:
        raise config_error(f"the configuration in {directory} cannot be used", reading.problems)
    return Config(
        directory=directory.absolute(),
        settings=settings,
        zones=tuple(Zone(name=zone.name, description=zone.description) for zone in nodes.zones),
        nodes=tuple(_node(node) for node in nodes.nodes),
        ranges=tuple(_range(span) for span in nodes.address_ranges),
        templates={template.name: _template(template) for template in templates.templates},
        plans={plan.name: _plan(plan) for plan in plans},
    )


@dataclass(slots=True)
class _Reading:
    """What was found so far."""

    problems: list[Problem] = field(default_factory=list)
    entries: Entries = field(default_factory=Entries)
    zone_names: frozenset[str] | None = None
    template_names: frozenset[str] | None = None
    ranges_whole: bool = False

    def file(self, model: type[M], path: Path) -> tuple[M | None, Document | None]:
        """The file's model where it is sound, and its document where it could be read at all."""
        try:
            document = read_file(path)
        except Unreadable as unreadable:
            self.problems.extend(unreadable.problems)
            return None, None
        found, problems = validate(model, document)
        self.problems.extend(problems)
        return found, document


def _list(document: Document, key: str) -> list[object]:
    values = document.data.get(key) if isinstance(document.data, dict) else None
    return values if isinstance(values, list) else []


def _names(document: Document, key: str) -> frozenset[str]:
    named = (value.get("name") for value in _list(document, key) if isinstance(value, dict))
    return frozenset(name for name in named if isinstance(name, str))


def _entries(model: type[M], document: Document, key: str) -> list[Entry[M]]:
    return [Entry(document, (key, position), value) for position, value in salvage(model, _list(document, key))]


def _settings(reading: _Reading, path: Path) -> Settings | None:
    found, document = reading.file(OrchestratorFile, path)
    if document is not None:
        reading.entries.billing = _entries(BillingEntry, document, "billing")
    if found is None or document is None:
        return None
    directory = path.parent.absolute()
    state_dir = directory / found.state_dir
    socket = directory / found.socket
    if len(str(socket).encode()) > _SUN_PATH:
        reading.problems.append(
            document.problem(("socket",), f"'{socket}' is longer than the {_SUN_PATH} bytes of a socket's path")
        )
    return Settings(
        provider=found.provider,
        timezone=found.timezone,
        state_dir=state_dir,
        database_url=found.database_url or f"sqlite:///{state_dir / 'orchestrator.sqlite'}",
        socket=socket,
        listen=found.listen,
        billing=tuple(_billing(entry, directory) for entry in found.billing),
        webhook_tolerance=found.webhooks.tolerance,
        body_limit_bytes=found.webhooks.body_limit,
        keep_events=found.webhooks.keep,
        brakes=BrakeLimits(
            suspensions_per_hour=found.brakes.suspensions_per_hour, terminations_per_hour=found.brakes.terminations_per_hour
        ),
        address_cool_down=found.address_cool_down,
        job_threads=found.jobs.threads,
        keep_engine_rows=found.jobs.keep,
    )


def _billing(entry: BillingEntry, directory: Path) -> BillingSource:
    return BillingSource(
        source=entry.source,
        secret_files=tuple(directory / name for name in entry.secret_files),
        notify_url=entry.notify_url,
        notify_secret_file=directory / entry.notify_secret_file if entry.notify_secret_file else None,
    )


def _nodes(reading: _Reading, path: Path) -> NodesFile | None:
    found, document = reading.file(NodesFile, path)
    if document is not None:
        reading.zone_names = _names(document, "zones")
        reading.entries.zones = _entries(ZoneEntry, document, "zones")
        reading.entries.nodes = _entries(NodeEntry, document, "nodes")
        reading.entries.ranges = _entries(RangeEntry, document, "address_ranges")
        reading.ranges_whole = len(reading.entries.ranges) == len(_list(document, "address_ranges"))
    return found


def _templates(reading: _Reading, path: Path) -> TemplatesFile | None:
    found, document = reading.file(TemplatesFile, path)
    if document is not None:
        reading.template_names = _names(document, "templates")
        reading.entries.templates = _entries(TemplateEntry, document, "templates")
    return found


def _plans(reading: _Reading, directory: Path) -> list[PlanFile]:
    plans: list[PlanFile] = []
    for path in yaml_files(directory, reading.problems, most=MAX_PLANS):
        found, document = reading.file(PlanFile, path)
        if found is not None and document is not None:
            plans.append(found)
            reading.entries.plans.append(Entry(document, (), found))
    return plans


def yaml_files(directory: Path, problems: list[Problem], *, most: int) -> Sequence[Path]:
    """The ``*.yaml`` files of a directory by name. A file that somebody may take for one of them is a problem."""
    try:
        names = sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        problems.append(Problem(str(directory), 0, "", "the directory is missing"))
        return ()
    except OSError as error:
        problems.append(Problem(str(directory), 0, "", f"the directory cannot be read: {error.strerror}"))
        return ()
    problems.extend(
        Problem(str(directory / name), 0, "", "only files that end in '.yaml' are read: rename it")
        for name in names
        if name.endswith((".yml", ".YAML", ".YML", ".json"))
    )
    chosen = [directory / name for name in names if name.endswith(".yaml")]
    if len(chosen) > most:
        problems.append(Problem(str(directory), 0, "", f"more than {most} files"))
    return chosen[:most]


def _node(entry: NodeEntry) -> Node:
    values = entry.model_dump(exclude={"reserved_memory"})
    return Node(**values, reserved_memory_bytes=entry.reserved_memory)


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


def _plan(entry: PlanFile) -> Plan:
    return Plan(
        name=entry.name,
        kind=PlanKind(entry.kind),
        vcpus=entry.vcpus,
        memory_bytes=entry.memory,
        disk_bytes=entry.disk,
        cpu_percent=entry.cpu_percent,
        disk_bytes_per_second=entry.disk_rate,
        disk_iops=entry.disk_iops,
        network_bytes_per_second=entry.network_rate,
        encrypted=entry.encrypted,
        full_copy=entry.full_copy,
        ipv4=entry.ipv4,
        ipv6=entry.ipv6,
        templates=tuple(entry.templates),
        default_template=entry.default_template or entry.templates[0],
        zones=tuple(entry.zones),
        description=entry.description,
    )
