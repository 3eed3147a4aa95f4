"""A machine as it is declared, its record, and the moves from one state to another.

Pure. Two rules hold whatever is asked for: nothing comes to ``available`` but a declared machine by its enrolment, one that is
being cleaned by the proof that all its drives were erased, or one that was so before its test; and whose data a machine bears is
forgotten by that proof alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from orchestrator.domain.errors import Refused, WrongState

RULE_ERASED = "no machine is free before its drives are proven erased"
RULE_INSPECTED = "no machine is free before it was inspected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine as declared in configs/machines.yaml. ``bmc``: the URL of its BMC, '' of a simulated one; ``bmc_system``: its
    path there, '' = the only one that it has.

    ``disks``: their serial numbers, the first takes the system; none = what its inspection finds. ``macs`` in lower case.
    ``deploy_…``: how the deploy image comes into the network: by ``deploy_mac`` ('' = the first of ``macs``), with
    ``deploy_address`` and its prefix length ('' = what DHCP gives).
    """

    name: str
    zone: str
    machine_class: str
    driver: str = "redfish"  # or "fake", the simulated machine that ships with the product
    bmc: str = ""
    bmc_user: str = ""
    bmc_secret_file: Path | None = None
    bmc_system: str = ""
    macs: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()
    deploy_address: str = ""
    deploy_gateway: str = ""
    deploy_mac: str = ""
    maintenance: bool = False

    @property
    def boots_by(self) -> str:
        """The MAC by which the deploy image comes into the network; '' = whichever it finds a link on."""
        return self.deploy_mac or next(iter(self.macs), "")


class MachineState(StrEnum):
    """``DECLARED``: not enrolled, or to be enrolled anew because somebody had his hands in it."""

    DECLARED = "declared"
    AVAILABLE = "available"
    ALLOCATED = "allocated"
    TESTING = "testing"
    CLEANING = "cleaning"
    BROKEN = "broken"
    MAINTENANCE = "maintenance"


S = MachineState
# What each move means, for people; a move that is not here is none.
TRANSITIONS: dict[tuple[MachineState, MachineState], str] = {
    (S.DECLARED, S.AVAILABLE): "it was enrolled: what it has was read, and is what was declared",
    (S.DECLARED, S.MAINTENANCE): "an operator took it out",
    (S.DECLARED, S.BROKEN): "an operator called it broken",
    (S.AVAILABLE, S.ALLOCATED): "a service was placed on it",
    (S.AVAILABLE, S.MAINTENANCE): "an operator took it out",
    (S.AVAILABLE, S.BROKEN): "it, or an operator, failed it",
    (S.AVAILABLE, S.TESTING): "an operator has it tested",
    (S.TESTING, S.AVAILABLE): "it passed, or its test never began",
    (S.TESTING, S.BROKEN): "it failed its test, or an operator said so",
    (S.ALLOCATED, S.CLEANING): "its service has ended, or never came to be",
    (S.ALLOCATED, S.BROKEN): "it failed the job of its service",
    (S.CLEANING, S.AVAILABLE): "all its drives are proven erased",
    (S.CLEANING, S.BROKEN): "a drive of it cannot be erased",
    (S.BROKEN, S.CLEANING): "erasing is tried again",
    (S.BROKEN, S.MAINTENANCE): "an operator took it out, to mend it",
    (S.MAINTENANCE, S.DECLARED): "an operator put it back: it has to be enrolled anew",
    (S.MAINTENANCE, S.BROKEN): "an operator called it broken",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRecord:
    """What is known of a machine. ``service_id``: whose data it bears, or is to bear; '' only where it bears nobody's.
    ``job_id``: the job that moved it last, '' = none did.

    ``certificate_sha256``: of its BMC's certificate, pinned at enrolment. ``uuid``: of the machine, as its BMC told it then.
    ``inspection``: what the deploy image found in it, as JSON; None = it was never inspected. ``told``: what its BMC last told,
    as JSON; ``up``: whether it answered when it was asked last, ``problem`` why not, ``seen_at`` when it last did.
    """

    name: str
    state: MachineState = MachineState.DECLARED
    reason: str = ""
    service_id: str = ""
    job_id: str = ""
    certificate_sha256: str = ""
    uuid: str = ""
    inspection: Mapping[str, Any] | None = None
    enrolled_at: datetime | None = None
    changed_at: datetime | None = None
    up: bool = False
    seen_at: datetime | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def enrolled(self) -> bool:
        """Its BMC's certificate is pinned, so that it can be asked."""
        return self.enrolled_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A declared machine with its record."""

    machine: Machine
    record: MachineRecord


def moved(
    record: MachineRecord,
    to: MachineState,
    *,
    reason: str,
    now: datetime,
    job_id: str = "",
    service_id: str = "",
    proof: str = "",
) -> MachineRecord:
    """The record in its new state. ``service_id``: of the service that is placed on it; ``proof``: names what proves the erasure.

    Raises WrongState where the table has no such move, Refused where a rule is against it.
    """
    if (record.state, to) not in TRANSITIONS:
        ways = ", ".join(sorted(new.value for old, new in TRANSITIONS if old == record.state))
        raise WrongState(
            f"machine {record.name} is {record.state} and cannot become {to}",
            hint=f"from there it can become {ways}",
            state=record.state.value,
        )
    if to == MachineState.ALLOCATED:
        if not service_id:
            raise Refused(f"machine {record.name} is allocated to a service, and none was named", rule=RULE_ERASED)
        return _as(record, to, reason=reason, now=now, job_id=job_id, service_id=service_id)
    kept = record.service_id
    if record.state == MachineState.CLEANING and to == MachineState.AVAILABLE:
        if not proof.strip():
            raise Refused(f"machine {record.name} is not free: nothing proves that it was erased", rule=RULE_ERASED)
        kept = ""
    if kept and to not in _BEARING:
        raise Refused(
            f"machine {record.name} cannot become {to}: it bears the data of service {kept}, not proven erased",
            hint="its drives are erased first, by the job that ends the service",
            rule=RULE_ERASED,
        )
    if to == MachineState.AVAILABLE and record.inspection is None:
        raise Refused(f"machine {record.name} is not free: the deploy image has not looked into it yet", rule=RULE_INSPECTED)
    after = _as(record, to, reason=reason, now=now, job_id=job_id, service_id=kept)
    return replace(after, enrolled_at=None, inspection=None) if to == MachineState.DECLARED else after


# In these it may bear somebody's data.
_BEARING = frozenset({MachineState.ALLOCATED, MachineState.CLEANING, MachineState.BROKEN})


def _as(record: MachineRecord, to: MachineState, *, reason: str, now: datetime, job_id: str, service_id: str) -> MachineRecord:
    return replace(record, state=to, reason=reason, job_id=job_id, service_id=service_id, changed_at=now)
