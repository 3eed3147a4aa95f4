"""What operators do with machines: enrolling and examining one, taking it out and putting it back, and its power switch.

Each act that changes something is written with its line in the audit, in one transaction; ``dry`` tells what it would do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.domain.errors import NotFound, OrchestratorError, PreconditionError, Refused, WrongState
from orchestrator.domain.machines import (
    Difference,
    Machine,
    MachineRecord,
    MachineState,
    Standing,
    differing,
    moved,
    without_disk,
)
from orchestrator.engine.machine_watch import ask
from orchestrator.engine.settings import Beside, nothing_beside
from orchestrator.ports.bmc import Bmc, LogEntry
from orchestrator.ports.clock import Clock
from orchestrator.ports.machine_access import BmcCertificate, MachineAccess
from orchestrator.store import audit
from orchestrator.store import machines as store
from orchestrator.store.database import Connection, Database

# Seconds.
ASK_DEADLINE = 30.0
LOOK_DEADLINE = 90.0
POWER_DEADLINE = 150.0
RULE_POWER = "the power of a machine that has a service is its service's"
# States in which a machine may turn out to have another board without anybody's data being at stake.
_OPEN = frozenset({MachineState.DECLARED, MachineState.MAINTENANCE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """``waits``: why it is not available yet; '' = it is, or has a service."""

    standing: Standing
    differences: tuple[Difference, ...]
    waits: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at; ``mend`` says what to do where ``ok`` is false."""

    name: str
    ok: bool
    found: str = ""
    mend: str = ""


class Inventory:
    """Raises NotFound for a machine that is not declared. ``bmc`` opens that of an enrolled one."""

    def __init__(
        self,
        db: Database,
        machines: Sequence[Machine],
        *,
        access: MachineAccess,
        bmc: Callable[[str], Bmc],
        look: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._db = db
        self._machines = {machine.name: machine for machine in machines}
        self._access = access
        self._bmc = bmc
        self._look = look
        self._clock = clock

    def certificate(self, name: str) -> BmcCertificate:
        """What its BMC presents now; nothing is trusted by asking."""
        return self._access.certificate(self._declared(name), deadline=ASK_DEADLINE)

    def standing(self, name: str) -> Standing:
        with self._db.read() as conn:
            return Standing(machine=self._declared(name), record=store.get(conn, name))

    # -- enrolment -----------------------------------------------------------------------------------------------------------

    def enrol(self, name: str, sha256: str, *, who: str, dry: bool = False) -> Enrolled:
        """Pin the certificate that was compared, and write down which machine the BMC tells of and how it differs.

        Raises PreconditionError where the BMC presents another certificate, WrongState where it is another machine's.
        """
        machine = self._declared(name)
        presented = self._access.certificate(machine, deadline=ASK_DEADLINE)
        if presented.sha256 != sha256:
            raise PreconditionError(
                f"the BMC of {name} does not present the certificate {fingerprint(sha256)}",
                hint=f"it presents {fingerprint(presented.sha256)}: compare again, `orchestrator machine certificate {name}`",
                presented=presented.sha256,
            )
        told = self._ask(machine, sha256)
        with self._db.read() as conn:
            self._require_own(conn, machine, str(told["uuid"]))
        if dry:
            return self._would(machine, sha256, told)
        now = self._clock.now()
        with self._db.write() as conn:
            self._require_own(conn, machine, str(told["uuid"]))
            before = store.get(conn, name)
            record = store.set_enrolled(conn, name, certificate_sha256=sha256, told=told, now=now, who=who)
            # The deploy image's look into the machine belongs here: ``MachinePool.inspected`` keeps what it found, and makes a
            # declared machine that is as it should be available. Nothing else does.
            record = store.settle(conn, Standing(machine=machine, record=record), now=now, who=who)
        return _enrolled(Standing(machine=machine, record=record), before)

    def _ask(self, machine: Machine, sha256: str) -> dict[str, Any]:
        bmc = self._access.bmc(machine, certificate_sha256=sha256)
        try:
            return ask(bmc, deadline=LOOK_DEADLINE)
        finally:
            bmc.close()

    def _require_own(self, conn: Connection, machine: Machine, uuid: str) -> None:
        """That the BMC tells of the machine that is meant: of none that has another name, and of the same one as before."""
        for other in store.list_all(conn):
            if uuid and other.uuid == uuid and other.name != machine.name:
                raise WrongState(
                    f"the BMC of {machine.name} tells of machine {uuid}, which is enrolled as {other.name}",
                    hint="look at `bmc` and `bmc_system` of both in machines.yaml",
                )
        known = store.get(conn, machine.name)
        if known.uuid not in ("", uuid) and known.state not in _OPEN:
            raise WrongState(
                f"the BMC of {machine.name} tells of machine {uuid or 'without a UUID'}, and {known.uuid} was enrolled",
                hint="where a board was changed: take the machine out first (`orchestrator machine maintenance on`)",
            )

    def _would(self, machine: Machine, sha256: str, told: dict[str, Any]) -> Enrolled:
        with self._db.read() as conn:
            before = store.get(conn, machine.name)
        record = store.enrolled(before, certificate_sha256=sha256, told=told, now=self._clock.now())
        return _enrolled(Standing(machine=machine, record=record), before)

    # -- looking -------------------------------------------------------------------------------------------------------------

    def log(self, name: str) -> tuple[LogEntry, ...]:
        """Its BMC's own log, the oldest first. Raises WrongState where it is not enrolled."""
        self._declared(name)
        return self._bmc(name).log(deadline=LOOK_DEADLINE)

    def doctor(self, name: str) -> tuple[Finding, ...]:
        """Everything that can be told of it from outside, asked now."""
        machine = self._declared(name)
        if not self.standing(name).record.enrolled:
            return (Finding(name="enrolled", ok=False, mend=f"orchestrator machine enrol {name}"),)
        return tuple(self._findings(machine))

    def _findings(self, machine: Machine) -> Iterator[Finding]:
        pinned = self.standing(machine.name).record.certificate_sha256
        try:
            presented = self._access.certificate(machine, deadline=ASK_DEADLINE).sha256
        except OrchestratorError as exc:
            yield Finding(name="BMC", ok=False, found=exc.message, mend="look at its cable, its network and its power")
            return
        mend = "" if presented == pinned else f"if it was renewed: orchestrator machine enrol {machine.name}"
        yield Finding(name="certificate", ok=presented == pinned, found=fingerprint(presented), mend=mend)
        self._look(machine.name)
        standing = self.standing(machine.name)
        record, told = standing.record, standing.record.told
        if not record.up:
            yield Finding(name="BMC", ok=False, found=record.problem, mend="see what it says")
            return
        yield Finding(name="BMC", ok=True, found=" ".join(filter(None, (told.get("manufacturer"), told.get("model")))))
        yield Finding(name="power", ok=True, found=str(told["power"]))
        yield from _of_health(told)
        yield from (
            Finding(name="as declared", ok=not each.grave, found=each.says, mend="mend the machine, or machines.yaml")
            for each in differing(standing)
        )
        yield Finding(
            name="inspected",
            ok=record.inspection is not None,
            found="" if record.inspection is None else "by the deploy image",
            mend="" if record.inspection is not None else NOT_INSPECTED,
        )

    # -- states --------------------------------------------------------------------------------------------------------------

    def maintain(
        self, name: str, *, on: bool, who: str, why: str, dry: bool = False, beside: Beside[MachineRecord] = nothing_beside
    ) -> MachineRecord:
        """Take it out, or put it back: then it has to be enrolled anew. Raises WrongState, Refused."""
        to = MachineState.MAINTENANCE if on else MachineState.DECLARED
        return self._move(name, to, who=who, why=why, dry=dry, beside=beside)

    def fail(
        self, name: str, *, who: str, why: str, dry: bool = False, beside: Beside[MachineRecord] = nothing_beside
    ) -> MachineRecord:
        """Call it broken. Raises WrongState where it has a service, which its job alone can end."""
        return self._move(name, MachineState.BROKEN, who=who, why=why, dry=dry, beside=beside)

    def _move(
        self, name: str, to: MachineState, *, who: str, why: str, dry: bool, beside: Beside[MachineRecord]
    ) -> MachineRecord:
        self._declared(name)
        with self._db.write() as conn:
            record = store.get(conn, name)
            if record.state == MachineState.ALLOCATED:
                raise WrongState(
                    f"machine {name} has service {record.service_id}",
                    hint="end that first, or set a hold of it",
                    service=record.service_id,
                )
            _refuse_tested(record)
            if record.state == to:
                beside(conn, record)
                return record
            now = self._clock.now()
            if dry:
                return moved(record, to, reason=why, now=now)
            after = store.move(conn, record, to, reason=why, who=who, now=now)
            beside(conn, after)
            return after

    def disk_gone(
        self, name: str, serial: str, *, who: str, why: str, dry: bool = False, beside: Beside[MachineRecord] = nothing_beside
    ) -> MachineRecord:
        """Ask for that disk no more: it is not in the machine, by an operator's word. Raises WrongState, NotFound, Refused."""
        self._declared(name)
        now = self._clock.now()
        with self._db.write() as conn:
            if dry:
                record = store.get(conn, name)
                return replace(record, inspection=without_disk(record, serial, by=who, why=why, now=now))
            after = store.disk_gone(conn, name, serial, who=who, why=why, now=now)
            beside(conn, after)
            return after

    # -- power ---------------------------------------------------------------------------------------------------------------

    def power(self, name: str, *, on: bool, graceful: bool, who: str, why: str, dry: bool = False) -> str:
        """Turn it on or off, and read that back: "on" or "off". Raises Refused where it has a service or bears its data."""
        self._declared(name)
        self._require_free(name)
        bmc = self._bmc(name)
        if dry:
            return bmc.facts(deadline=LOOK_DEADLINE).power.value
        word = "on" if on else "off"
        with self._db.write() as conn:
            facts = {"machine": name, "why": why}
            audit.append(conn, at=self._clock.now(), who=who, what=f"machine is turned {word}", facts=facts)
        found = bmc.turn_on(deadline=POWER_DEADLINE) if on else bmc.turn_off(graceful=graceful, deadline=POWER_DEADLINE)
        self._look(name)
        return found.power.value

    def _require_free(self, name: str) -> None:
        record = self.standing(name).record
        _refuse_tested(record)
        if record.service_id:
            raise Refused(
                f"machine {name} has service {record.service_id} ({record.state})",
                hint=f"orchestrator service start|stop|reboot {record.service_id}",
                rule=RULE_POWER,
            )

    def _declared(self, name: str) -> Machine:
        machine = self._machines.get(name)
        if machine is None:
            raise NotFound(
                "there is no machine of that name in machines.yaml", hint="`orchestrator machine list` shows all of them"
            )
        return machine


NOT_INSPECTED = "the deploy image has to look into it: it is not available before"


def _refuse_tested(record: MachineRecord) -> None:
    if record.state == MachineState.TESTING:
        raise WrongState(f"machine {record.name}: {record.reason}", hint="wait for its end: orchestrator machine show")


def fingerprint(sha256: str) -> str:
    """As `openssl x509 -fingerprint -sha256` prints it."""
    return ":".join(sha256[at : at + 2] for at in range(0, len(sha256), 2)).upper()


def waits(standing: Standing) -> str:
    """Why the machine is not available yet; '' = it is, or something else than its enrolment is in the way."""
    record = standing.record
    if record.state != MachineState.DECLARED:
        return ""
    if not record.enrolled:
        return "it is not enrolled"
    grave = [each.says for each in differing(standing) if each.grave]
    if grave:
        return "; ".join(grave)
    if record.inspection is not None:
        return ""
    on = f"; it is on: by the image, or else whatever runs there is not cut off: orchestrator machine power off {record.name}"
    return NOT_INSPECTED + (on if record.told.get("power") == "on" else "")


def _enrolled(standing: Standing, before: MachineRecord) -> Enrolled:
    """What is different from before is told once more, now that it is pinned."""
    found = differing(standing)
    uuid = standing.record.uuid
    if before.uuid not in ("", uuid):
        changed = Difference(
            says=f"it was machine {before.uuid} before, and is {uuid} now: board or cable was changed", grave=False
        )
        found = (*found, changed)
    return Enrolled(standing=standing, differences=found, waits=waits(standing))


def _of_health(told: Any) -> Iterator[Finding]:
    health = told.get("health") or ""
    yield Finding(
        name="health",
        ok=health in ("", "ok"),
        found=health or "its BMC tells none",
        mend="" if health in ("", "ok") else "see its log: orchestrator machine log",
    )
    bad = [
        f"{each['name']} {each['value']:g} {each['unit']}" for each in told.get("sensors", ()) if each["health"] not in ("", "ok")
    ]
    yield Finding(
        name="sensors", ok=not bad, found=", ".join(bad) or f"{len(told.get('sensors', ()))} read", mend="see them" if bad else ""
    )
