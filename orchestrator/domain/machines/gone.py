"""Disks that are not in a machine any more by an operator's word: nothing asks for them, and a certificate says so. Pure.

They stand in what is kept of the machine's inspection, beside the disks that were found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from orchestrator.domain.errors import NotFound, Refused, WrongState
from orchestrator.domain.machines.states import MachineRecord, MachineState

_KEY = "gone"
RULE = "which machine it is has to be proven"
# In these it bears a service's data, and is erased by a job that asks for its disks.
_BEARING = frozenset({MachineState.ALLOCATED, MachineState.CLEANING, MachineState.BROKEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class GoneDisk:
    """``at``: ISO 8601, UTC."""

    serial: str
    by: str
    at: str
    why: str

    @property
    def sentence(self) -> str:
        return f"drive {self.serial}, declared gone by {self.by} at {self.at}: {self.why}"


def gone_disks(inspection: Mapping[str, Any] | None) -> tuple[GoneDisk, ...]:
    """The first first."""
    return tuple(GoneDisk(**each) for each in (inspection or {}).get(_KEY, ()))


def without_disk(record: MachineRecord, serial: str, *, by: str, why: str, now: datetime) -> dict[str, Any]:
    """What is known of the machine's inside, once the disk is gone; said again it stays as it was said first.

    Raises WrongState where the machine bears nobody's data, NotFound where no such disk is known of it, Refused where nothing
    would be left by which it is told from another.
    """
    known = dict(record.inspection or {})
    if record.state not in _BEARING or not record.service_id:
        hint = "where its disks were changed it is enrolled anew: orchestrator machine maintenance on"
        raise WrongState(f"machine {record.name} is {record.state}, and bears nobody's data", hint=hint)
    if any(each.serial == serial for each in gone_disks(known)):
        return known
    left = [disk for disk in known.get("disks", ()) if disk.get("serial") != serial]
    if len(left) == len(known.get("disks", ())):
        there = ", ".join(str(disk.get("serial")) for disk in left) or "none"
        raise NotFound(f"no disk {serial} is known of machine {record.name}", hint=f"those that are: {there}")
    if not record.uuid and not any(disk.get("serial") for disk in left):
        raise Refused(f"without disk {serial} nothing would show that it is machine {record.name}", rule=RULE)
    disk = GoneDisk(serial=serial, by=by, at=now.isoformat(timespec="seconds"), why=why)
    return {**known, "disks": left, _KEY: [*known.get(_KEY, ()), asdict(disk)]}
