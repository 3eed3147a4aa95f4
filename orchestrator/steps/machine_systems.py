"""What the deploy image does to the system of a customer's machine from outside of it: its password, a rescue system, a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.machines.testing import MOST, HardwareTest
from orchestrator.domain.plans import Lease
from orchestrator.ports.bmc import BootFrom, MachinePower
from orchestrator.ports.deployment import Task
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep, OnNode, Timer
from orchestrator.steps.machine_bench import BMC_SECONDS, DONE, Bench, own_machine, same_board, serials_of, system_serial

PASSWORD, RESCUE, TEST = "password", "rescue", "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordArgs:
    """``password_hash``: of crypt(5); ``user``: whose it is in the system on the machine's disk."""

    node: str
    user: str
    password_hash: str


class MachinePassword(BaseStep[PasswordArgs]):
    """Boot the deploy image, and have it set a user's password in the system that is on the machine's disk.

    A password that was set stays set: what it was before is nobody's to know.
    """

    name: ClassVar[str] = "machine.password"
    args = PasswordArgs
    deadline_seconds: ClassVar[float] = 1800.0

    def check(self, ctx: StepContext, args: PasswordArgs) -> Done | Needed:
        task = Bench(ctx, args.node).state(PASSWORD)
        if task is None or task.state != DONE:
            return Needed(f"the password of {args.user} is not set on {args.node} yet")
        return Done(_set(task.result), made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: PasswordArgs) -> Facts:
        """Raises PermanentDriverError where no system, or more than one, is found that is understood; nothing is changed then."""
        bench = Bench(ctx, args.node)
        wanted = {"serial": system_serial(bench.standing), "user": args.user, "hash": args.password_hash}
        return _set(bench.run(Task(key=PASSWORD, kind="password", arguments=wanted)))

    def undo(self, ctx: StepContext, args: PasswordArgs, facts: Mapping[str, Any]) -> None:
        """The machine is off, and the image is taken away."""
        Bench(ctx, args.node).down()


def _set(result: Mapping[str, object]) -> Facts:
    return {name: str(result.get(name, "")) for name in ("user", "system", "partition")}


@dataclass(frozen=True, slots=True, kw_only=True)
class TestArgs:
    """``seconds``: for all of it."""

    node: str
    memory: bool
    disks: bool
    seconds: int


class MachineTest(BaseStep[TestArgs]):
    """Boot the deploy image, and have it test memory and disks. Disks are only read."""

    name: ClassVar[str] = "machine.test"
    args = TestArgs
    deadline_seconds: ClassVar[float] = MOST + 3600.0
    attempts: ClassVar[int] = 2

    def check(self, ctx: StepContext, args: TestArgs) -> Done | Needed:
        task = Bench(ctx, args.node).state(TEST)
        if task is None or task.state != DONE:
            return Needed(f"{args.node} is not tested yet")
        return Done({"tested": dict(task.result)}, made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: TestArgs) -> Facts:
        """Raises PermanentDriverError with what was found wrong."""
        bench = Bench(ctx, args.node)
        wanted = HardwareTest(memory=args.memory, disks=args.disks, seconds=args.seconds).task(serials_of(bench.standing))
        return {"tested": dict(bench.run(Task(key=TEST, kind="test", arguments=wanted)))}

    def undo(self, ctx: StepContext, args: TestArgs, facts: Mapping[str, Any]) -> None:
        """The machine is off, and the image is taken away."""
        Bench(ctx, args.node).down()


@dataclass(frozen=True, slots=True, kw_only=True)
class RescueArgs:
    """``ssh_keys``: who may log in; ``lease``: the service's, so that it is reached where the customer is used to."""

    node: str
    ssh_keys: tuple[str, ...]
    lease: Lease


class MachineRescue(BaseStep[RescueArgs]):
    """Boot the deploy image, and have it open an SSH server to these keys."""

    name: ClassVar[str] = "machine.rescue"
    args = RescueArgs
    deadline_seconds: ClassVar[float] = 1800.0
    attempts: ClassVar[int] = 3

    def check(self, ctx: StepContext, args: RescueArgs) -> Done | Needed:
        task = Bench(ctx, args.node).state(RESCUE)
        if task is None or task.state != DONE:
            return Needed(f"{args.node} does not run the rescue system yet")
        return Done(_opened(ctx, args, task.result), made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: RescueArgs) -> Facts:
        bench = Bench(ctx, args.node)
        wanted = {
            "keys": list(args.ssh_keys),
            "addresses": _addresses(args.lease),
            "gateways": [str(each) for each in (args.lease.gateway4, args.lease.gateway6) if each is not None],
            "mac": bench.standing.machine.boots_by,
        }
        return _opened(ctx, args, bench.run(Task(key=RESCUE, kind="rescue", arguments=wanted)))

    def undo(self, ctx: StepContext, args: RescueArgs, facts: Mapping[str, Any]) -> None:
        """The machine is off, and the image is taken away."""
        Bench(ctx, args.node).down()


def _addresses(lease: Lease) -> list[str]:
    return [*(str(each) for each in lease.ipv4), *(str(each) for each in lease.ipv6)]


def _opened(ctx: StepContext, args: RescueArgs, result: Mapping[str, object]) -> Facts:
    """What whoever logs in compares: the fingerprint is of a key that was made for this rescue."""
    return {
        "fingerprint": str(result.get("fingerprint", "")),
        "host_key": str(result.get("host_key", "")),
        "login": [f"root@{each.partition('/')[0]}" for each in _addresses(args.lease)],
        "keys": len(args.ssh_keys),
        "since": ctx.ports.clock.now().isoformat(timespec="seconds"),
    }


class MachineLetGo(BaseStep[OnNode]):
    """The image keeps running in the machine's memory and is its customer's: what the controller gave it is good for nothing any
    more, the medium is out of the drive, and the next boot is from the disk."""

    name: ClassVar[str] = "machine.let-go"
    args = OnNode
    deadline_seconds: ClassVar[float] = 600.0

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        facts = ctx.ports.bmc(args.node).facts(deadline=BMC_SECONDS)
        same_board(own_machine(ctx, args.node), facts)
        if ctx.ports.deployments.deployment(args.node, job_id=ctx.job_id) is not None:
            return Needed("what was given to the image is good for something still")
        if facts.media or facts.boot_once is not None:
            return Needed("its next boot is not from its disk yet")
        return Done({"power": facts.power.value})

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        timer, bmc = Timer(ctx), ctx.ports.bmc(args.node)
        ctx.ports.deployments.close(args.node, job_id=ctx.job_id)
        bmc.eject_media(deadline=timer.left(BMC_SECONDS))
        bmc.boot_once(BootFrom.DISK, deadline=timer.left(BMC_SECONDS))
        return {"power": MachinePower.ON.value}
