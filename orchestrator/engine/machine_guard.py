"""Keeps off the machines of services that are suspended, or whose disks are their archive.

Whoever stands in the rack, or has the BMC's password, can switch one on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from orchestrator.domain.intents import JobState
from orchestrator.domain.machines import MachineState
from orchestrator.domain.services import Lifecycle
from orchestrator.ports.bmc import Bmc
from orchestrator.ports.clock import Clock
from orchestrator.store import audit, jobs, services
from orchestrator.store import machines as machine_store
from orchestrator.store.database import Database

_log = logging.getLogger(__name__)
KEPT_OFF = "machine kept off"
_AT_WORK = (JobState.RUNNING, JobState.UNDOING)
_DEADLINE_SECONDS = 120.0


class MachineGuard:
    """``bmc`` opens that of an enrolled machine. May be called at any time, and repeated."""

    def __init__(self, db: Database, bmc: Callable[[str], Bmc], clock: Clock) -> None:
        self._db = db
        self._bmc = bmc
        self._clock = clock

    def keep_off(self, name: str) -> None:
        """Switch off a machine that was seen on, where its service was proven suspended. Raises what the BMC raises.

        The hold may be lifted at this very moment: then it is switched on again.
        """
        service_id = self._suspended(name)
        if not service_id:
            return
        bmc = self._bmc(name)
        bmc.turn_off(deadline=_DEADLINE_SECONDS)
        if not self._suspended(name):
            bmc.turn_on(deadline=_DEADLINE_SECONDS)
            return
        _log.warning("machine %s of the suspended service %s was on: it is switched off again", name, service_id)
        with self._db.write() as conn:
            now, facts = self._clock.now(), {"machine": name}
            audit.append(conn, at=now, who="orchestrator", what=KEPT_OFF, service_id=service_id, facts=facts)

    def _suspended(self, name: str) -> str:
        """The service that the machine is allocated to, where that is to be off and was seen so; '' otherwise."""
        with self._db.read() as conn:
            record = machine_store.get(conn, name)
            if record.state != MachineState.ALLOCATED:
                return ""
            service = services.get(conn, record.service_id)
            worked_on = any(job.state in _AT_WORK for job in jobs.unfinished(conn, record.service_id))
        if service is None or worked_on:  # a job has its own reasons to switch it on: to erase it, or to bring it back
            return ""
        held = service.stopped and service.suspension_proven_at is not None
        return record.service_id if held or service.state == Lifecycle.ARCHIVED else ""
