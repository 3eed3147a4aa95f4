"""The deploy image on the machine of a service: brought up there, given one task after the other, and taken away again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from itertools import repeat

from orchestrator.domain.errors import PermanentDriverError, Stopped, TransientDriverError, WrongState
from orchestrator.domain.machines import Found, Standing, gone_disks, system_disk
from orchestrator.ports.bmc import Bmc, BmcFacts, BootFrom, MachinePower
from orchestrator.ports.deployment import Deployment, Deployments, Expected, Network, Task, TaskState
from orchestrator.steps.base import StepContext
from orchestrator.steps.common import Timer

BMC_SECONDS = 120.0
"""For one call to a BMC: some take a minute to tell that the power is off."""
BOOT_SECONDS = 900.0
"""From power on until the image has come: servers test their memory first."""
SILENT = timedelta(minutes=3)
"""The image tells every few seconds how far it is; after so long it is taken for gone."""
QUIET = timedelta(seconds=20)
"""After so long the BMC is asked whether the machine is on at all."""
_POLLS = (0.1, 0.2, 0.4, 0.8, 2.0)
"""Seconds between two looks at how far the image is: the first ones come quickly, as much of what it does is short."""
REBOOTS = 3
"""How often in one attempt of a step the image is brought up again where the machine lost its power."""
DONE, FAILED = "done", "failed"
LOOK = "look"


def own_machine(ctx: StepContext, name: str) -> Standing:
    """The machine, where it is the service's. Raises WrongState, NotFound."""
    standing = ctx.ports.machines.machine(name)
    if standing.record.service_id != ctx.service_id:
        whose = f"service {standing.record.service_id}'s" if standing.record.service_id else "nobody's"
        raise WrongState(f"machine {name} is {whose}, not {ctx.service_id}'s: it is left alone", hint="an operator has to look")
    return standing


def same_board(standing: Standing, facts: BmcFacts) -> None:
    """Raises PermanentDriverError where the BMC tells of another machine than the one that was enrolled."""
    uuid = standing.record.uuid
    if uuid and facts.uuid and facts.uuid != uuid:
        raise PermanentDriverError(
            f"the BMC of {standing.machine.name} tells of machine {facts.uuid}, and {uuid} was enrolled: nothing is done to it",
            hint="a board or a cable was changed: enrol the machine anew",
        )


def serials_of(standing: Standing) -> tuple[str, ...]:
    """Of every disk that its inspection found, without those that are gone by an operator's word."""
    if standing.record.inspection is None:
        raise WrongState(f"machine {standing.machine.name} was never inspected", hint="orchestrator machine enrol")
    return tuple(disk.serial for disk in Found.of(standing.record.inspection).disks)


def system_serial(standing: Standing) -> str:
    """Of the disk that takes the system. Raises WrongState where there is none, and where a disk is gone by an operator's word:
    another of the customer's could be taken for it."""
    gone = ", ".join(disk.serial for disk in gone_disks(standing.record.inspection))
    if gone:
        hint = "once the service has ended, and its drives are erased, it is known anew"
        raise WrongState(f"disk {gone} of {standing.machine.name} is gone: which takes the system is not certain", hint=hint)
    found = None if standing.record.inspection is None else system_disk(standing.machine, Found.of(standing.record.inspection))
    if found is None:
        raise WrongState(f"machine {standing.machine.name} has no disk that could take a system", hint="enrol the machine anew")
    return found.serial


def boot_image(standing: Standing, bmc: Bmc, deployments: Deployments, *, job_id: str, left: Callable[[], float]) -> None:
    """Have the machine boot the deploy image, with a token of its own. ``left``: the seconds that the next call may take.

    Raises PermanentDriverError where another machine than the one that was enrolled is behind the BMC.
    """
    name, machine, record = standing.machine.name, standing.machine, standing.record
    same_board(standing, bmc.facts(deadline=left()))
    bmc.turn_off(deadline=left())
    expected = Expected(uuid=record.uuid, serials=() if record.inspection is None else serials_of(standing))
    network = Network(mac=machine.boots_by, address=machine.deploy_address, gateway=machine.deploy_gateway)
    url = deployments.open(name, job_id=job_id, expected=expected, network=network)
    bmc.insert_media(url, deadline=left())
    bmc.boot_once(BootFrom.CD, deadline=left())
    bmc.turn_on(deadline=left())


def take_away(name: str, bmc: Bmc, deployments: Deployments, *, job_id: str, left: Callable[[], float]) -> None:
    """The machine is off, its drive is empty, and the image's token and session are over."""
    switch_off(bmc, left=left)
    deployments.close(name, job_id=job_id)


def switch_off(bmc: Bmc, *, left: Callable[[], float]) -> None:
    """The machine is off, its drive is empty, and its next boot is from its disk."""
    bmc.turn_off(deadline=left())
    bmc.eject_media(deadline=left())
    bmc.boot_once(BootFrom.DISK, deadline=left())


class Bench:
    """The deploy image on one machine, for the job of ``ctx``. Every method may be repeated.

    Raises what the BMC and the store raise; TransientDriverError where the image does not come or goes silent,
    PermanentDriverError where another machine came in its place, or a task failed.
    """

    def __init__(self, ctx: StepContext, machine: str) -> None:
        self._ctx = ctx
        self._standing = own_machine(ctx, machine)
        self._name = machine
        self._timer = Timer(ctx)

    @property
    def standing(self) -> Standing:
        return self._standing

    @property
    def bmc(self) -> Bmc:
        return self._ctx.ports.bmc(self._name)

    def deployment(self) -> Deployment | None:
        return self._ctx.ports.deployments.deployment(self._name, job_id=self._ctx.job_id)

    def is_up(self) -> bool:
        found = self.deployment()
        return found is not None and self._heard(found)

    def up(self) -> Deployment:
        """The machine runs the image, which has shown by UUID and serial numbers that it is where it is meant to be."""
        found = self.deployment()
        if found is not None and self._heard(found):
            return found
        self._boot()
        return self._come()

    def down(self) -> None:
        """The machine is off, its drive is empty, and nothing that was given to the image is good for anything."""
        take_away(self._name, self.bmc, self._ctx.ports.deployments, job_id=self._ctx.job_id, left=self._call)

    def state(self, key: str) -> TaskState | None:
        """Of the task of that key; None where it was not given in what is open."""
        found = self.deployment()
        return next((task for task in found.tasks if task.key == key), None) if found is not None else None

    def look(self) -> Mapping[str, object]:
        """What the image finds in the machine."""
        return self.run(Task(key=LOOK, kind="inspect", arguments={}))

    def drives(self) -> list[str]:
        """The serial numbers of every drive: of those that are known, and of one that nobody knew of."""
        disks = self.look().get("disks")
        there = [str(disk["serial"]) for disk in disks if disk.get("serial")] if isinstance(disks, list | tuple) else []
        return sorted({*serials_of(self._standing), *there})

    def run(self, task: Task) -> Mapping[str, object]:
        """Have it done, and its result. A machine that loses its power meanwhile is brought up again and starts the task over;
        so does one whose task failed in an earlier run of the step."""
        before = self.state(task.key)
        if before is not None and before.state == FAILED:
            self._boot()
            self._come()
        else:
            self.up()
        self._ctx.ports.deployments.give(self._name, task, job_id=self._ctx.job_id)
        for _ in range(REBOOTS + 1):
            ended = self._watch(task.key)
            if ended is None:
                self._ctx.progress(0.0, "the machine went silent: it is started again")
                self._boot()
                self._come()
                continue
            if ended.state == FAILED:
                raise PermanentDriverError(f"{task.kind} on {self._name} failed: {ended.says}")
            return ended.result
        raise TransientDriverError(f"machine {self._name} went silent {REBOOTS + 1} times in the middle of {task.kind}")

    def _watch(self, key: str) -> TaskState | None:
        """The task when it is over; None where the image has gone silent."""
        for pause in _pauses():
            if self._timer.over:
                break
            self._go_on()
            found = self.deployment()
            if found is None:
                return None
            task = next(each for each in found.tasks if each.key == key)
            if task.state in (DONE, FAILED):
                return task
            if not self._heard(found):
                return None
            self._ctx.progress(task.fraction, task.says or "the image has its task")
            self._ctx.ports.clock.sleep(pause)
        raise TransientDriverError(f"machine {self._name} is not ready within {self._ctx.deadline:g} s")

    def _boot(self) -> None:
        boot_image(self._standing, self.bmc, self._ctx.ports.deployments, job_id=self._ctx.job_id, left=self._call)

    def _come(self) -> Deployment:
        clock = self._ctx.ports.clock
        since = clock.monotonic()
        for pause in _pauses():
            if clock.monotonic() - since > BOOT_SECONDS or self._timer.over:
                break
            self._go_on()
            found = self.deployment()
            if found is not None and found.refused and found.claimed_at is None:
                # The deployment stays open: its tasks tell how far this job came, and whether anything was destroyed.
                switch_off(self.bmc, left=self._call)
                raise PermanentDriverError(
                    f"what came up on {self._name} is not that machine: {found.refused}",
                    hint="nothing was done to it; compare machines.yaml, the BMC's address and the cables, then enrol it anew",
                )
            if found is not None and self._heard(found):
                return found
            self._ctx.progress(self._timer.fraction, "waiting for the deploy image")
            clock.sleep(pause)
        raise TransientDriverError(f"the deploy image did not come up on {self._name}", retry_after=10.0)

    def _heard(self, found: Deployment) -> bool:
        """Whether the image is there still."""
        last = found.heard_at or found.claimed_at
        if found.claimed_at is None or last is None:
            return False
        quiet = self._ctx.ports.clock.now() - last
        if quiet < QUIET:
            return True
        return quiet < SILENT and self.bmc.facts(deadline=self._call()).power == MachinePower.ON

    def _go_on(self) -> None:
        if self._ctx.stopping():
            raise Stopped("the job was asked to stop while the deploy image worked")

    def _call(self) -> float:
        return self._timer.left(BMC_SECONDS)


def _pauses() -> Iterator[float]:
    yield from _POLLS
    yield from repeat(_POLLS[-1])
