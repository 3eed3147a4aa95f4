"""Asks every enrolled machine's BMC again and again, so that placement and metrics know which answer and how they are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.machines import Machine
from orchestrator.engine.machine_guard import MachineGuard
from orchestrator.ports.bmc import Bmc, BmcFacts, MachinePower, Sensor
from orchestrator.ports.clock import Clock
from orchestrator.store import absences, jobs, services
from orchestrator.store import machines as machine_store
from orchestrator.store.database import Connection, Database

_log = logging.getLogger(__name__)
_LOOKS = 8  # at a time
DEADLINE_SECONDS = 45.0


class MachineWatch:
    """``bmc`` opens that of an enrolled machine. Those of suspended services are kept off by the way."""

    def __init__(self, db: Database, machines: Sequence[Machine], bmc: Callable[[str], Bmc], clock: Clock) -> None:
        self._db = db
        self._machines = tuple(machines)
        self._bmc = bmc
        self._clock = clock
        self._guard = MachineGuard(db, bmc, clock)

    def once(self) -> None:
        """Ask every enrolled one. A BMC that does not answer is noted; the others are asked all the same."""
        with self._db.read() as conn:
            enrolled = {record.name for record in machine_store.list_all(conn) if record.enrolled}
        names = [machine.name for machine in self._machines if machine.name in enrolled]
        if not names:
            return
        with ThreadPoolExecutor(max_workers=min(_LOOKS, len(names)), thread_name_prefix="machine-watch") as pool:
            list(pool.map(self.look, names))

    def look(self, name: str) -> None:
        """Ask one now and write down what it told."""
        try:
            told = ask(self._bmc(name), deadline=DEADLINE_SECONDS)
        except OrchestratorError as exc:
            if exc.details.get("busy"):  # a job has it do something, and it bears one call at a time
                return
            _log.warning("the BMC of %s does not answer: %s", name, exc.message)
            with self._db.write() as conn:
                machine_store.set_unreachable(conn, name, exc.message)
            return
        with self._db.write() as conn:
            was_up, now = machine_store.get(conn, name).up, self._clock.now()
            machine_store.set_seen(conn, name, told, own=_as_its_customer_has_it(conn, name), now=now)
            if not was_up:
                absences.is_back(conn, name, now=now)
        if told["power"] == MachinePower.ON:
            self._keep_off(name)

    def _keep_off(self, name: str) -> None:
        try:
            self._guard.keep_off(name)
        except OrchestratorError as exc:
            _log.warning("whether machine %s has to be switched off is not settled: %s", name, exc.message)


def _as_its_customer_has_it(conn: Connection, name: str) -> bool:
    """Whether no hold stops the machine's service, and no job is at it."""
    service_id = machine_store.get(conn, name).service_id
    service = services.get(conn, service_id) if service_id else None
    return service is not None and not service.stopped and not jobs.unfinished(conn, service_id)


def ask(bmc: Bmc, *, deadline: float) -> dict[str, Any]:
    """What it tells, as a record keeps it. A BMC without sensors that can be read is none that does not answer."""
    facts = bmc.facts(deadline=deadline)
    try:
        sensors = bmc.sensors(deadline=deadline)
    except OrchestratorError as exc:
        _log.info("the sensors are not read: %s", exc.message)
        sensors = ()
    return as_told(facts, sensors)


def as_told(facts: BmcFacts, sensors: Sequence[Sensor]) -> dict[str, Any]:
    """Plain JSON. The URL of what is in the drive is left out: whoever knows it may be let in by it."""
    plain: Mapping[str, Any] = asdict(facts)
    return {
        **{key: value for key, value in plain.items() if key != "media"},
        "power": facts.power.value,
        "boot_once": None if facts.boot_once is None else facts.boot_once.value,
        "macs": list(facts.macs),
        "media_inserted": bool(facts.media),
        "sensors": [asdict(sensor) for sensor in sensors],
    }
