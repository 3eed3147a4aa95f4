"""What the API answers of dedicated machines."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from orchestrator.domain.machines import Found, MachineState, Standing, differing, gone_disks, system_disk
from orchestrator.engine.inventory import Enrolled, Finding, fingerprint, waits
from orchestrator.observe.logs import redact
from orchestrator.ports.bmc import LogEntry
from orchestrator.ports.machine_access import BmcCertificate
from orchestrator.store.machines import as_told, own_power_of


class MachineOut(BaseModel):
    """A declared machine. ``service_id``: whose data it bears, or is to bear. ``up``: its BMC answered when it was asked last,
    ``problem`` why not; ``power`` and ``health`` as it told last, "" = it never did. ``waits``: why it is not available yet.
    ``maintenance``: as machines.yaml says it; the state ``maintenance`` is another thing.
    """

    name: str
    zone: str
    machine_class: str
    driver: str
    state: MachineState
    reason: str
    service_id: str
    job_id: str
    maintenance: bool
    enrolled: bool
    up: bool
    seen_at: datetime | None
    problem: str
    power: str
    health: str
    waits: str
    changed_at: datetime | None

    @classmethod
    def of(cls, standing: Standing) -> MachineOut:
        return cls(**_fields(standing))


class DifferenceOut(BaseModel):
    """How what is declared, told and found differ; ``grave``: with it the machine does not become available."""

    says: str
    grave: bool


class MachineDetail(MachineOut):
    """With what is declared of it, its pinned certificate, what its BMC last told, and what the deploy image found in it (null =
    it was never inspected). ``system_disk``: the serial number of the disk that takes the system, "" = not known. ``own_power``:
    on or off, as whoever has the machine had it last, whatever a hold or a job did to it since; "" = not known."""

    bmc: str
    bmc_user: str
    bmc_system: str
    macs: list[str]
    disks: list[str]
    deploy_address: str
    deploy_gateway: str
    deploy_mac: str
    certificate: str
    uuid: str
    enrolled_at: datetime | None
    system_disk: str
    own_power: str
    told: dict[str, Any]
    inspection: dict[str, Any] | None
    differences: list[DifferenceOut]

    @classmethod
    def of(cls, standing: Standing) -> MachineDetail:
        machine, record = standing.machine, standing.record
        # With one gone by an operator's word it is not certain any more.
        known = record.inspection is not None and not gone_disks(record.inspection)
        disk = system_disk(machine, Found.of(record.inspection or {})) if known else None
        return cls(
            **_fields(standing),
            bmc=machine.bmc,
            bmc_user=machine.bmc_user,
            bmc_system=machine.bmc_system,
            macs=list(machine.macs),
            disks=list(machine.disks),
            deploy_address=machine.deploy_address,
            deploy_gateway=machine.deploy_gateway,
            deploy_mac=machine.boots_by,
            certificate=fingerprint(record.certificate_sha256),
            uuid=record.uuid,
            enrolled_at=record.enrolled_at,
            system_disk="" if disk is None else disk.serial,
            own_power=own_power_of(record),
            told=redact(as_told(record)),
            inspection=None if record.inspection is None else redact(dict(record.inspection)),
            differences=[DifferenceOut(says=each.says, grave=each.grave) for each in differing(standing)],
        )


class CertificateOut(BaseModel):
    """``fingerprint`` as `openssl x509 -fingerprint -sha256` prints it. ``subject`` and ``until`` are its own word."""

    fingerprint: str
    subject: str
    until: datetime | None

    @classmethod
    def of(cls, found: BmcCertificate) -> CertificateOut:
        return cls(fingerprint=fingerprint(found.sha256), subject=found.subject, until=found.until)


class MachineEnrolled(BaseModel):
    """``waits``: why the machine is not available yet, "" = it is, or it is not its enrolment that is in the way."""

    machine: MachineDetail
    differences: list[DifferenceOut]
    waits: str
    dry_run: bool

    @classmethod
    def of(cls, found: Enrolled, *, dry_run: bool) -> MachineEnrolled:
        return cls(
            machine=MachineDetail.of(found.standing),
            differences=[DifferenceOut(says=each.says, grave=each.grave) for each in found.differences],
            waits=found.waits,
            dry_run=dry_run,
        )


class FindingOut(BaseModel):
    """One thing that was looked at; ``mend`` says what to do where ``ok`` is false."""

    name: str
    ok: bool
    found: str
    mend: str


class MachineReport(BaseModel):
    ok: bool
    findings: list[FindingOut]

    @classmethod
    def of(cls, found: tuple[Finding, ...]) -> MachineReport:
        rows = [FindingOut(name=each.name, ok=each.ok, found=each.found, mend=each.mend) for each in found]
        return cls(ok=all(row.ok for row in rows), findings=rows)


class LogLine(BaseModel):
    """One entry of the BMC's own log, by the BMC's clock; ``severity``: ok, warning, critical or ""."""

    id: str
    at: datetime | None
    severity: str
    text: str


class MachineLog(BaseModel):
    items: list[LogLine]

    @classmethod
    def of(cls, found: tuple[LogEntry, ...]) -> MachineLog:
        return cls(items=[LogLine(id=each.id, at=each.at, severity=each.severity, text=each.text) for each in found])


class PowerOut(BaseModel):
    """``power``: as it was read back, or, with dry_run, as it is."""

    name: str
    power: str
    dry_run: bool


def _fields(standing: Standing) -> dict[str, Any]:
    machine, record = standing.machine, standing.record
    return {
        "name": machine.name,
        "zone": machine.zone,
        "machine_class": machine.machine_class,
        "driver": machine.driver,
        "state": record.state,
        "reason": record.reason,
        "service_id": record.service_id,
        "job_id": record.job_id,
        "maintenance": machine.maintenance,
        "enrolled": record.enrolled,
        "up": record.up,
        "seen_at": record.seen_at,
        "problem": record.problem,
        "power": str(record.told.get("power", "")),
        "health": str(record.told.get("health", "")),
        "waits": waits(standing),
        "changed_at": record.changed_at,
    }
