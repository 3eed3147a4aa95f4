"""Tests of machines that nobody has: the deploy image tries memory and disks, and one that fails is broken from then on.

What is under way stands in the machine's state and its deployment, whose job is named after the machine: there is no other note.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from orchestrator.domain.errors import OrchestratorError, WrongState
from orchestrator.domain.machines import Found, MachineRecord, MachineState, Standing, moved
from orchestrator.domain.machines.testing import HardwareTest
from orchestrator.ports.bmc import Bmc
from orchestrator.ports.clock import Clock
from orchestrator.ports.deployment import Deployment, Deployments, Task
from orchestrator.ports.machine_pool import MachinePool
from orchestrator.steps.machine_bench import BMC_SECONDS, boot_image, take_away
from orchestrator.store import audit
from orchestrator.store import machines as store
from orchestrator.store.database import Database

_log = logging.getLogger(__name__)
TEST = "test"
TESTED = "machine tested"
# Servers test their memory before they boot.
PATIENCE = timedelta(minutes=30)
# To begin one takes a few calls to its BMC, of BMC_SECONDS each at most: only after that has whoever began it been cut off.
BEGINS = timedelta(seconds=8 * BMC_SECONDS)
# The image tells every few seconds how far it is.
SILENT = timedelta(minutes=10)
CONTROLLER = "orchestrator"
_DONE, _FAILED = "done", "failed"


def job_of(machine: str) -> str:
    """Whose deployment it is; no job has this id."""
    return f"test-{machine}"


class HardwareTests:
    """``begin`` starts one; ``once`` may be called at any time and repeated, and ends those that are over."""

    def __init__(
        self, db: Database, pool: MachinePool, bmc: Callable[[str], Bmc], deployments: Deployments, clock: Clock
    ) -> None:
        self._db, self._pool, self._bmc, self._deployments, self._clock = db, pool, bmc, deployments, clock

    def begin(self, name: str, wanted: HardwareTest, *, who: str, why: str, dry: bool = False) -> MachineRecord:
        """Take an available machine out, and have the image test it. Raises NotFound, WrongState where it is not available, and
        what the BMC raises: then it is available again."""
        standing = self._pool.machine(name)
        reason = f"it is tested ({wanted.words}): {why}"
        if dry:
            return moved(standing.record, MachineState.TESTING, reason=reason, now=self._clock.now())
        record = self._move(standing.record, MachineState.TESTING, reason=reason, who=who)
        try:
            self._boot(standing, wanted)
        except OrchestratorError as exc:
            self._end(name)
            self._move(record, MachineState.AVAILABLE, reason=f"its test did not begin: {exc.message}", who=CONTROLLER)
            raise
        return record

    def once(self) -> None:
        """End each test that is over."""
        for standing in self._pool.machines():
            if standing.record.state != MachineState.TESTING:
                continue
            try:
                self._further(standing)
            except OrchestratorError as exc:
                if not exc.details.get("busy"):  # its BMC bears one call at a time
                    _log.warning("the test of machine %s is not ended yet: %s", standing.machine.name, exc.message)

    def _boot(self, standing: Standing, wanted: HardwareTest) -> None:
        name, found = standing.machine.name, Found.of(standing.record.inspection or {})
        job, serials = job_of(name), tuple(disk.serial for disk in found.disks)
        boot_image(standing, self._bmc(name), self._deployments, job_id=job, left=lambda: BMC_SECONDS)
        self._deployments.give(name, Task(key=TEST, kind=TEST, arguments=wanted.task(serials)), job_id=job)

    def _further(self, standing: Standing) -> None:
        name = standing.machine.name
        found = self._deployments.deployment(name, job_id=job_of(name))
        task = next(iter(found.tasks), None) if found is not None else None
        if found is None or task is None:
            since = standing.record.changed_at
            if since is not None and self._clock.now() - since < BEGINS:
                return  # another thread, or another controller, is about to give it
            self._end(name)
            self._move(standing.record, MachineState.AVAILABLE, reason="its test never began: begin it again", who=CONTROLLER)
            return
        if task.state == _DONE:
            self._note(name, "passed", task.result)
            self._end(name)
            self._move(standing.record, MachineState.AVAILABLE, reason="it passed its test", who=CONTROLLER)
            return
        why = task.says if task.state == _FAILED else found.refused or self._gone(found)
        if why:
            self._note(name, f"failed: {why}", task.result)
            self._end(name)
            self._move(standing.record, MachineState.BROKEN, reason=f"it failed its test: {why}"[:200], who=CONTROLLER)

    def _gone(self, found: Deployment) -> str:
        """Why nothing is to be heard of the image any more; '' = it is at work. Bad memory shows like that, too."""
        now = self._clock.now()
        if found.claimed_at is None:
            return "" if now - found.opened_at < PATIENCE else f"the deploy image did not come within {PATIENCE}"
        last = found.heard_at or found.claimed_at
        return "" if now - last < SILENT else "the deploy image went silent in the middle of it"

    def _note(self, name: str, how: str, result: Mapping[str, Any]) -> None:
        with self._db.write() as conn:
            facts = {"machine": name, "result": how, "found": dict(result)}
            audit.append(conn, at=self._clock.now(), who=CONTROLLER, what=TESTED, facts=facts)

    def _end(self, name: str) -> None:
        take_away(name, self._bmc(name), self._deployments, job_id=job_of(name), left=lambda: BMC_SECONDS)

    def _move(self, record: MachineRecord, to: MachineState, *, reason: str, who: str) -> MachineRecord:
        with self._db.write() as conn:
            if record.state != MachineState.AVAILABLE and to == MachineState.TESTING:
                raise WrongState(f"machine {record.name} is {record.state}: only an available one is tested")
            return store.move(conn, record, to, reason=reason, who=who, now=self._clock.now())
