"""Dedicated machines as enrolled, seen and used (port MachinePool); what is declared of them is in the configuration.

Which controller gets a machine is decided by one UPDATE that names the state it has to be in, not by what was read before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.errors import NoCapacity, NotFound, Refused, WrongState
from orchestrator.domain.machines import (
    Machine,
    MachineRecord,
    MachineState,
    MachineWanted,
    Standing,
    choose,
    differing,
    moved,
    without_disk,
)
from orchestrator.domain.placement import Placement, Verdict
from orchestrator.ports.clock import Clock
from orchestrator.store import audit
from orchestrator.store.database import Connection, Database
from orchestrator.store.machine_tables import machines

# How often a machine that somebody else took between choosing and taking is chosen again.
RACES = 20
CONTROLLER = "orchestrator"
_OWN_POWER = "own_power"
ENROLLED = "it was enrolled, and is as it was declared"


def get(conn: Connection, name: str) -> MachineRecord:
    """The record; of one that was never enrolled a new one."""
    row = conn.execute(sa.select(machines).where(machines.c.name == name)).one_or_none()
    return MachineRecord(name=name) if row is None else _record(row)


def list_all(conn: Connection) -> tuple[MachineRecord, ...]:
    """Every record, by name; also of machines that are not declared any more. There are few."""
    return tuple(_record(row) for row in conn.execute(sa.select(machines).order_by(machines.c.name)))


def standings(conn: Connection, declared: Sequence[Machine]) -> tuple[Standing, ...]:
    """The declared machines with their records, by name."""
    known = {record.name: record for record in list_all(conn)}
    ordered = sorted(declared, key=lambda machine: machine.name)
    return tuple(Standing(machine=each, record=known.get(each.name, MachineRecord(name=each.name))) for each in ordered)


def move(
    conn: Connection,
    record: MachineRecord,
    to: MachineState,
    *,
    reason: str,
    who: str,
    now: datetime,
    service_id: str = "",
    job_id: str = "",
    proof: str = "",
) -> MachineRecord:
    """Bring it from what ``record`` says to another state, with its line in the audit.

    Raises WrongState where it is not as the record says any more, besides what ``domain.machines.moved`` raises.
    """
    after = moved(record, to, reason=reason, now=now, job_id=job_id, service_id=service_id, proof=proof)
    if not _put(conn, record, after):
        raise WrongState(f"machine {record.name} was moved by somebody else just now", hint="look at it again")
    facts = {"machine": record.name, "from": record.state.value, "to": to.value, "reason": reason}
    audit.append(
        conn,
        at=now,
        who=who,
        what=f"machine {to}",
        service_id=after.service_id or record.service_id,
        job_id=job_id,
        facts={**facts, "proof": proof} if proof else facts,
    )
    return after


def set_enrolled(
    conn: Connection, name: str, *, certificate_sha256: str, told: Mapping[str, Any], now: datetime, who: str
) -> MachineRecord:
    """Its BMC's certificate is pinned, and which machine that tells of. Its state stays what it is: see ``settle``."""
    before = get(conn, name)
    after = enrolled(before, certificate_sha256=certificate_sha256, told=told, now=now)
    _put(conn, before, after)
    facts = {"machine": name, "certificate_sha256": certificate_sha256, "uuid": after.uuid}
    audit.append(conn, at=now, who=who, what="machine enrolled", facts=facts)
    return after


def enrolled(before: MachineRecord, *, certificate_sha256: str, told: Mapping[str, Any], now: datetime) -> MachineRecord:
    """The record of a machine that is enrolled. Of one that is declared only, or that is another than before, what was found in
    it once says nothing: it is to be inspected anew."""
    uuid = str(told.get("uuid", ""))
    anew = before.state == MachineState.DECLARED or before.uuid not in ("", uuid)
    return replace(
        before,
        certificate_sha256=certificate_sha256,
        uuid=uuid,
        inspection=None if anew else before.inspection,
        told=told,
        enrolled_at=now,
        up=True,
        seen_at=now,
        problem="",
        changed_at=before.changed_at or now,
    )


def set_seen(conn: Connection, name: str, told: Mapping[str, Any], *, own: bool, now: datetime) -> None:
    """Its BMC answered. ``own``: its power is as whoever has it wants it."""
    before = get(conn, name)
    power = {"service": before.service_id, "power": told["power"]} if own else before.told.get(_OWN_POWER)
    told = {**told, _OWN_POWER: power}
    conn.execute(sa.update(machines).where(machines.c.name == name).values(up=True, seen_at=now, told=told, problem=""))


def set_unreachable(conn: Connection, name: str, problem: str) -> None:
    """Its BMC did not answer; what was known of the machine stays."""
    conn.execute(sa.update(machines).where(machines.c.name == name).values(up=False, problem=problem))


def own_power(conn: Connection, name: str) -> str:
    """What its BMC told last of its power while neither a hold nor a job had a hand in it: as whoever has it now wants it.

    '' where that is not known, and of what is no machine."""
    return own_power_of(get(conn, name)) if name else ""


def own_power_of(record: MachineRecord) -> str:
    """The same of a record."""
    own = record.told.get(_OWN_POWER) or {}
    return str(own["power"]) if own.get("service") == record.service_id else ""


def as_told(record: MachineRecord) -> dict[str, Any]:
    """What its BMC told last, without what was noted beside it."""
    return {key: value for key, value in record.told.items() if key != _OWN_POWER}


def disk_gone(conn: Connection, name: str, serial: str, *, who: str, why: str, now: datetime) -> MachineRecord:
    """An operator's word that the disk is not in the machine any more. Raises as ``domain.machines.without_disk``."""
    record = get(conn, name)
    after = replace(record, inspection=without_disk(record, serial, by=who, why=why, now=now))
    if after != record:
        _put(conn, record, after)
        facts = {"machine": name, "serial": serial, "why": why}
        audit.append(conn, at=now, who=who, what="machine disk gone", service_id=record.service_id, facts=facts)
    return after


def settle(conn: Connection, standing: Standing, *, now: datetime, who: str, job_id: str = "") -> MachineRecord:
    """A declared machine that is enrolled, was inspected and does not differ gravely is available from now on; of any other the
    record is returned as it is."""
    record = standing.record
    waits = not record.enrolled or record.inspection is None or any(each.grave for each in differing(standing))
    if record.state != MachineState.DECLARED or waits:
        return record
    return move(conn, record, MachineState.AVAILABLE, reason=ENROLLED, who=who, now=now, job_id=job_id)


class StoreMachinePool:
    """See the port. ``declared``: every machine of machines.yaml."""

    def __init__(self, db: Database, declared: Sequence[Machine], clock: Clock) -> None:
        self._db = db
        self._declared = {machine.name: machine for machine in declared}
        self._clock = clock

    def machines(self) -> tuple[Standing, ...]:
        """See the port."""
        with self._db.read() as conn:
            return standings(conn, tuple(self._declared.values()))

    def machine(self, name: str) -> Standing:
        """See the port."""
        with self._db.read() as conn:
            return self._standing(conn, name)

    def of_service(self, service_id: str) -> tuple[Standing, ...]:
        """See the port."""
        found = [each for each in self.machines() if service_id and each.record.service_id == service_id]
        return tuple(sorted(found, key=lambda each: each.record.state != MachineState.ALLOCATED))

    def allocate(self, *, service_id: str, job_id: str, wanted: MachineWanted) -> Placement:
        """See the port."""
        for _ in range(RACES):
            seen = self.machines()
            standing = next((each for each in seen if _has(each.record, service_id)), None)
            if standing is not None:
                name = standing.machine.name
                return Placement(node=name, verdicts=(Verdict(node=name, fits=True, reasons=("it has the service already",)),))
            placement = choose(wanted, seen)
            chosen = next(each.record for each in seen if each.machine.name == placement.node)
            if self._take(chosen, service_id=service_id, job_id=job_id):
                return placement
        raise NoCapacity(f"each machine that was free was taken meanwhile, {RACES} times", hint="retry the job")

    def _take(self, chosen: MachineRecord, *, service_id: str, job_id: str) -> bool:
        reason = f"service {service_id} was placed on it"
        with self._db.write() as conn:
            known = [record for record in list_all(conn) if _has(record, service_id)]
            if known:  # another controller placed the same service meanwhile
                return False
            try:
                move(
                    conn,
                    chosen,
                    MachineState.ALLOCATED,
                    reason=reason,
                    who=CONTROLLER,
                    now=self._clock.now(),
                    service_id=service_id,
                    job_id=job_id,
                )
            except WrongState:
                return False
        return True

    def move(self, name: str, to: MachineState, *, reason: str, service_id: str, job_id: str, proof: str = "") -> MachineRecord:
        """See the port."""
        if to == MachineState.ALLOCATED:
            raise Refused("a machine is allocated by placing a service", rule="placement")
        with self._db.write() as conn:
            record = self._standing(conn, name).record
            if record.service_id not in ("", service_id):
                raise WrongState(f"machine {name} has service {record.service_id}, not {service_id}", service=record.service_id)
            if record.state == to:
                return record
            now = self._clock.now()
            return move(conn, record, to, reason=reason, who=CONTROLLER, now=now, job_id=job_id, proof=proof)

    def inspected(self, name: str, inspection: Mapping[str, Any], *, job_id: str = "") -> MachineRecord:
        """See the port."""
        now = self._clock.now()
        with self._db.write() as conn:
            standing = self._standing(conn, name)
            after = replace(standing.record, inspection=inspection)
            _put(conn, standing.record, after)
            audit.append(
                conn,
                at=now,
                who=CONTROLLER,
                what="machine inspected",
                job_id=job_id,
                facts={"machine": name, "found": inspection},
            )
            return settle(conn, replace(standing, record=after), now=now, who=CONTROLLER, job_id=job_id)

    def _standing(self, conn: Connection, name: str) -> Standing:
        machine = self._declared.get(name)
        if machine is None:
            raise NotFound(
                f"there is no machine {name} in machines.yaml",
                hint="a machine that had a service must stay declared",
                machine=name,
            )
        return Standing(machine=machine, record=get(conn, name))


def _has(record: MachineRecord, service_id: str) -> bool:
    return record.state == MachineState.ALLOCATED and record.service_id == service_id


def _record(row: sa.Row[Any]) -> MachineRecord:
    return MachineRecord(**{**row._mapping, "state": MachineState(row.state)})


def _put(conn: Connection, before: MachineRecord, after: MachineRecord) -> bool:
    """Write it where it still is in the state of ``before`` and has its service; whether it was."""
    values = {field.name: getattr(after, field.name) for field in fields(after)} | {"state": after.state.value}
    as_before = (
        machines.c.name == before.name,
        machines.c.state == before.state.value,
        machines.c.service_id == before.service_id,
    )
    if conn.execute(sa.update(machines).where(*as_before).values(values)).rowcount == 1:
        return True
    there = conn.execute(sa.select(machines.c.name).where(machines.c.name == before.name)).one_or_none()
    if there is not None or before.state != MachineState.DECLARED:
        return False
    conn.execute(sa.insert(machines).values(values))
    return True
