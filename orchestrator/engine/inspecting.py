"""The deploy image's look into each machine that was enrolled: nobody waits for it, and a restarted controller goes on with it.

What is under way stands in the machine's deployment, whose job is named after the machine: there is no other note of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.machines import MachineState, Standing
from orchestrator.ports.bmc import Bmc, MachinePower
from orchestrator.ports.clock import Clock
from orchestrator.ports.deployment import Deployment, Deployments, Task
from orchestrator.ports.machine_pool import MachinePool
from orchestrator.steps.machine_bench import BMC_SECONDS, SILENT, boot_image, take_away

_log = logging.getLogger(__name__)
INSPECT = "inspect"
# Servers test their memory before they boot, some for a quarter of an hour.
PATIENCE = timedelta(minutes=30)
AGAIN = timedelta(hours=1)
_DONE, _FAILED = "done", "failed"


def job_of(machine: str) -> str:
    """Whose deployment it is; no job has this id."""
    return f"enrol-{machine}"


class Inspecting:
    """``once`` may be called at any time and repeated; each call brings every machine one step further."""

    def __init__(self, pool: MachinePool, bmc: Callable[[str], Bmc], deployments: Deployments, clock: Clock) -> None:
        self._pool = pool
        self._bmc = bmc
        self._deployments = deployments
        self._clock = clock
        self._failed: dict[str, datetime] = {}

    def once(self) -> None:
        """Begin with each machine that waits for it, and end with each that has been looked into."""
        for standing in self._pool.machines():
            record = standing.record
            if record.state == MachineState.DECLARED and record.enrolled and record.inspection is None:
                self._carefully(standing)

    def _carefully(self, standing: Standing) -> None:
        name = standing.machine.name
        failed = self._failed.get(name)
        if failed is not None and self._clock.now() - failed < AGAIN:
            return
        try:
            self._further(standing)
        except OrchestratorError as exc:
            if not exc.details.get("busy"):  # its BMC bears one call at a time
                self._give_up(name, exc.message)

    def _further(self, standing: Standing) -> None:
        name, job = standing.machine.name, job_of(standing.machine.name)
        found = self._deployments.deployment(name, job_id=job)
        if found is None:
            if self._bmc(name).facts(deadline=BMC_SECONDS).power == MachinePower.ON:
                return  # whatever runs there is not ours to cut off: an operator switches it off
            _log.info("machine %s boots the deploy image, to be looked into", name)
            boot_image(standing, self._bmc(name), self._deployments, job_id=job, left=lambda: BMC_SECONDS)
            self._deployments.give(name, Task(key=INSPECT, kind="inspect", arguments={}), job_id=job)
            return
        if not found.tasks:  # whoever began it was killed in between
            self._deployments.give(name, Task(key=INSPECT, kind="inspect", arguments={}), job_id=job)
            return
        task = next(iter(found.tasks))
        if task.state == _DONE:
            self._pool.inspected(name, task.result, job_id=job)
            self._end(name)
        elif task.state == _FAILED or self._is_late(found):
            why = found.refused or task.says or f"the deploy image did not come within {PATIENCE}"
            self._give_up(name, why)

    def _is_late(self, found: Deployment) -> bool:
        """Whoever comes with a token that the image has claimed already is sent away, and the image goes on; where that was the
        machine itself, started over, nothing is heard of the image any more."""
        now = self._clock.now()
        silent = found.claimed_at is None or now - (found.heard_at or found.claimed_at) > SILENT
        return (bool(found.refused) and silent) or now - found.opened_at > PATIENCE

    def _give_up(self, name: str, why: str) -> None:
        """It is tried again after a while: cables are plugged in meanwhile."""
        _log.warning("machine %s was not looked into: %s; tried again in %s", name, why, AGAIN)
        self._failed[name] = self._clock.now()
        try:
            if self._deployments.deployment(name, job_id=job_of(name)) is not None:
                self._end(name)
        except OrchestratorError as exc:
            _log.warning("the deploy image is not taken away from machine %s: %s", name, exc.message)

    def _end(self, name: str) -> None:
        take_away(name, self._bmc(name), self._deployments, job_id=job_of(name), left=lambda: BMC_SECONDS)
