"""How what is declared of a machine, what its BMC tells, and what the deploy image found in it differ.

Pure. Whoever differs gravely is another machine than the one that is meant, or one on which nothing could be done safely: it does
not become available.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.domain.machines.states import Machine, Standing
from orchestrator.domain.sizes import compared

# The firmware keeps some of the memory for itself: what a system finds may be so much less than what is built in.
_MEMORY_KEPT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A sentence; ``grave``: with it the machine does not become available."""

    says: str
    grave: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a BMC told of its machine; what it cannot tell is empty or 0. ``processors``: sockets with some, cores with others."""

    uuid: str
    macs: tuple[str, ...] = ()
    memory_bytes: int = 0
    processors: int = 0

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Told:
        """Out of the JSON of ``ports.bmc.BmcFacts``."""
        return cls(
            uuid=str(facts.get("uuid", "")),
            macs=tuple(facts.get("macs", ())),
            memory_bytes=int(facts.get("memory_bytes", 0)),
            processors=int(facts.get("processors", 0)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFound:
    """A disk that the deploy image found. ``serial`` '' = it tells none."""

    name: str
    serial: str
    bytes: int
    rotational: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the deploy image found in a machine, as far as it can differ. ``linked``: the MAC of its first card that had a link,
    '' = none had."""

    uuid: str
    memory_bytes: int
    cpus: int
    disks: tuple[DiskFound, ...]
    macs: tuple[str, ...]
    linked: str = ""

    @classmethod
    def of(cls, inspection: Mapping[str, Any]) -> Found:
        """Out of a record's ``inspection``: the JSON of ``ports.deployment.Inspection``."""
        disks = inspection.get("disks", ())
        return cls(
            uuid=str(inspection.get("uuid", "")).lower(),
            memory_bytes=int(inspection.get("memory_bytes", 0)),
            cpus=int(inspection.get("cpus", 0)),
            disks=tuple(
                DiskFound(
                    name=str(disk["name"]),
                    serial=str(disk["serial"]),
                    bytes=int(disk["bytes"]),
                    rotational=bool(disk.get("rotational", False)),
                )
                for disk in disks
            ),
            macs=tuple(sorted(str(nic["mac"]).lower() for nic in inspection.get("nics", ()))),
            linked=next((str(nic["mac"]).lower() for nic in inspection.get("nics", ()) if nic.get("link")), ""),
        )


def differences(
    machine: Machine, *, told: Told | None = None, found: Found | None = None, uuid: str = ""
) -> tuple[Difference, ...]:
    """All of them, the grave ones first. ``uuid``: what was pinned at its enrolment; '' = not enrolled yet."""
    seen = (*_of_bmc(machine, told, uuid), *_of_inspection(machine, told, found))
    return tuple(sorted(seen, key=lambda each: not each.grave))


def differing(standing: Standing) -> tuple[Difference, ...]:
    """How what is declared of a machine, what its BMC told last, and what the deploy image found in it differ."""
    record = standing.record
    return differences(
        standing.machine,
        told=Told.of(record.told) if record.told else None,
        found=None if record.inspection is None else Found.of(record.inspection),
        uuid=record.uuid,
    )


def system_disk(machine: Machine, found: Found) -> DiskFound | None:
    """The disk that takes the system: the first that is declared, where it is there. Where none is declared: the smallest that
    does not turn, of those alike the first by serial; one that turns only where there is no other. None = there is none."""
    if machine.disks:
        return next((disk for disk in found.disks if disk.serial == machine.disks[0]), None)
    known = [disk for disk in found.disks if disk.serial]
    return min(known, key=lambda disk: (disk.rotational, disk.bytes, disk.serial), default=None)


def system_mac(machine: Machine, found: Found | None) -> str:
    """The card that the installed system has its addresses on: the one that is declared, else the one that the deploy image came
    by. '' = neither is known."""
    return machine.boots_by or ("" if found is None else found.linked)


def _of_bmc(machine: Machine, told: Told | None, uuid: str) -> Iterator[Difference]:
    if told is None:
        return
    if not told.uuid:
        yield _grave("its BMC does not tell the machine's UUID, so that nothing shows which machine it is")
    if uuid and told.uuid and told.uuid != uuid:
        yield _grave(f"its BMC tells of machine {told.uuid}, and {uuid} was enrolled: board or cable was changed")
    if told.macs:
        yield from _macs(machine, told.macs, "its BMC tells", grave=False)


def _of_inspection(machine: Machine, told: Told | None, found: Found | None) -> Iterator[Difference]:
    if found is None:
        return
    if told is not None and told.uuid and found.uuid != told.uuid:
        yield _grave(f"the deploy image was up on machine {found.uuid or 'without a UUID'}, its BMC tells of {told.uuid}")
    yield from _disks(machine, found)
    yield from _macs(machine, found.macs, "the deploy image found", grave=True)
    if told is not None:
        yield from _amounts(told, found)


def _disks(machine: Machine, found: Found) -> Iterator[Difference]:
    if not found.disks:
        yield _grave("the deploy image found no disk in it")
    for disk in found.disks:
        if not disk.serial:
            yield _grave(f"its disk {disk.name} tells no serial number: nothing could prove that it is the one meant")
    counted = Counter(disk.serial for disk in found.disks if disk.serial)
    for serial in sorted(serial for serial, count in counted.items() if count > 1):
        yield _grave(f"{counted[serial]} of its disks tell the serial number {serial}")
    for serial in machine.disks:
        if serial not in counted:
            yield _grave(f"disk {serial} is declared, and the deploy image did not find it")
    for serial in sorted(set(counted) - set(machine.disks)) if machine.disks else ():
        yield Difference(says=f"disk {serial} is in it, and is not declared: it is erased with the others", grave=False)


def _macs(machine: Machine, seen: tuple[str, ...], who: str, *, grave: bool) -> Iterator[Difference]:
    """The one that the deploy image comes by has to be there; the others only differ."""
    for mac in machine.macs:
        if mac not in seen:
            yield Difference(says=f"MAC {mac} is declared, and {who} none such", grave=grave and mac == machine.boots_by)
    if machine.macs:
        for mac in sorted(set(seen) - set(machine.macs)):
            yield Difference(says=f"{who} the MAC {mac}, which is not declared", grave=False)


def _amounts(told: Told, found: Found) -> Iterator[Difference]:
    least = told.memory_bytes * (1 - _MEMORY_KEPT)
    if told.memory_bytes and not least <= found.memory_bytes <= told.memory_bytes * (1 + _MEMORY_KEPT):
        found_words, told_words = compared(found.memory_bytes, told.memory_bytes)
        says = f"the deploy image found {found_words} of memory, its BMC tells of {told_words}"
        yield Difference(says=says, grave=False)
    if found.cpus < told.processors:
        says = f"the deploy image found {found.cpus} processors, its BMC tells of {told.processors}"
        yield Difference(says=says, grave=False)


def _grave(says: str) -> Difference:
    return Difference(says=says, grave=True)
