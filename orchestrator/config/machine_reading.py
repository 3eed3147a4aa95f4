"""machines.yaml to machines: what is sound of it, and what is wrong with it. A missing file declares none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.config.checks import Entry
from orchestrator.config.directory import absent
from orchestrator.config.machine_files import MachineEntry, MachinesFile
from orchestrator.config.problems import Problem
from orchestrator.config.validate import salvage, validate
from orchestrator.config.yaml_reader import Unreadable, read_file
from orchestrator.domain.machines import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinesRead:
    """``entries``: what could be read of each, also of a file with faults. ``whole``: every entry is among them."""

    machines: tuple[Machine, ...] = ()
    entries: tuple[Entry[MachineEntry], ...] = ()
    problems: tuple[Problem, ...] = ()
    whole: bool = True


def read_machines(path: Path, *, absolute: Callable[[str], Path]) -> MachinesRead:
    """``absolute``: a path that the file names, counted from the configuration's directory."""
    if absent(path):
        return MachinesRead()
    try:
        document = read_file(path)
    except Unreadable as unreadable:
        return MachinesRead(problems=tuple(unreadable.problems), whole=False)
    found, problems = validate(MachinesFile, document)
    listed = document.data.get("machines") if isinstance(document.data, dict) else None
    values = listed if isinstance(listed, list) else []
    entries = []
    for position, value in enumerate(values):
        read = salvage(MachineEntry, value, {"name": f"unread-{position}", "zone": "unread", "class": "unread"})
        if read is not None:
            entries.append(Entry(document, ("machines", position), *read))
    return MachinesRead(
        machines=() if found is None else tuple(_machine(entry, absolute) for entry in found.machines),
        entries=tuple(entries),
        problems=tuple(problems),
        whole=len(entries) == len(values) and all(entry.sure("class", "zone") for entry in entries),
    )


def _machine(entry: MachineEntry, absolute: Callable[[str], Path]) -> Machine:
    return Machine(
        name=entry.name,
        zone=entry.zone,
        machine_class=entry.class_,
        driver=entry.driver,
        bmc=entry.bmc,
        bmc_user=entry.bmc_user,
        bmc_secret_file=None if entry.bmc_secret_file is None else absolute(entry.bmc_secret_file),
        bmc_system=entry.bmc_system,
        macs=tuple(entry.macs),
        disks=tuple(entry.disks),
        deploy_address="" if entry.deploy_address is None else str(entry.deploy_address),
        deploy_gateway="" if entry.deploy_gateway is None else str(entry.deploy_gateway),
        deploy_mac=entry.deploy_mac,
        maintenance=entry.maintenance,
    )
