"""Installing a machine: the deploy image is brought up and writes template and seed, then the machine boots from its disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from orchestrator.domain.errors import PermanentDriverError, RequestError, Stopped, TransientDriverError, UndoFailed
from orchestrator.domain.plans import Lease, Template
from orchestrator.ports.bmc import MachinePower
from orchestrator.ports.deployment import Task
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep, OnNode, Timer
from orchestrator.steps.guest import BANNER_SECONDS, POLL_SECONDS, SSH_PORT
from orchestrator.steps.machine_bench import BMC_SECONDS, DONE, Bench, own_machine, same_board, system_serial
from orchestrator.steps.seed import Seed, files

INSPECT, WRITE, FINISH, UNDO = "inspect", "write", "finish", "undo"
_HOURS = 3600.0


class MachineInspect(BaseStep[OnNode]):
    """Boot the deploy image, and see that what is in the machine is what its inspection found before."""

    name: ClassVar[str] = "machine.inspect"
    args = OnNode
    deadline_seconds: ClassVar[float] = 1800.0
    attempts: ClassVar[int] = 3

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        bench = Bench(ctx, args.node)
        task = bench.state(INSPECT)
        if task is None or task.state != DONE:
            return Needed(f"the deploy image has not looked into {args.node} yet")
        return Done(_inspected(bench, task.result), made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        """Raises PermanentDriverError where another machine came up, or a disk is missing."""
        bench = Bench(ctx, args.node)
        return _inspected(bench, bench.run(Task(key=INSPECT, kind="inspect", arguments={})))

    def undo(self, ctx: StepContext, args: OnNode, facts: Mapping[str, Any]) -> None:
        """The machine is off, as it was found."""
        Bench(ctx, args.node).down()


def _inspected(bench: Bench, result: Mapping[str, object]) -> Facts:
    return {"inspection": dict(result), "disk": system_serial(bench.standing)}


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteArgs:
    """``disk``: its serial number; ``lease`` as machine.addresses gave it."""

    node: str
    disk: str
    template: Template
    hostname: str
    ssh_keys: tuple[str, ...]
    password_hash: str
    lease: Lease


class MachineWrite(BaseStep[WriteArgs]):
    """Write the template to the disk, and the seed into a partition of its own; both are read back."""

    name: ClassVar[str] = "machine.write"
    args = WriteArgs
    deadline_seconds: ClassVar[float] = 2 * _HOURS
    attempts: ClassVar[int] = 3

    def check(self, ctx: StepContext, args: WriteArgs) -> Done | Needed:
        task = Bench(ctx, args.node).state(WRITE)
        if task is None or task.state != DONE:
            return Needed(f"{args.template.name} is not on disk {args.disk} yet")
        return Done(_written(args, task.result), made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: WriteArgs) -> Facts:
        if args.template.format != "raw":
            raise RequestError(
                f"template {args.template.name} is {args.template.format}: a machine is written from a raw image",
                hint="qemu-img convert -O raw, and declare that file under another name",
            )
        return _written(args, Bench(ctx, args.node).run(Task(key=WRITE, kind="write", arguments=_write(ctx, args))))

    def undo(self, ctx: StepContext, args: WriteArgs, facts: Mapping[str, Any]) -> None:
        """Erase the disk again: the machine goes back to the pool only as it came. Raises UndoFailed where it cannot be."""
        bench = Bench(ctx, args.node)
        if not facts and bench.state(WRITE) is None:  # it was never told to write
            return
        try:
            bench.run(Task(key=f"{UNDO}-{WRITE}", kind="erase", arguments={"disks": [args.disk]}))
        except PermanentDriverError as exc:
            raise UndoFailed(f"what was written to disk {args.disk} of {args.node} is not erased: {exc.message}") from exc


def _write(ctx: StepContext, args: WriteArgs) -> dict[str, object]:
    seed = Seed(
        instance_id=f"{ctx.service_id}-{ctx.job_id}",
        hostname=args.hostname,
        ssh_keys=args.ssh_keys,
        password_hash=args.password_hash,
        lease=args.lease,
    )
    return {
        "image": args.template.volume,
        "sha256": args.template.sha256,
        "bytes": args.template.size_bytes,
        "serial": args.disk,
        "seed": files(seed) if args.template.cloud_init else {},
    }


def _written(args: WriteArgs, result: Mapping[str, object]) -> Facts:
    """Raises PermanentDriverError where the image says otherwise than it was told."""
    if (result.get("serial"), result.get("read_back_sha256")) != (args.disk, args.template.sha256):
        raise PermanentDriverError(f"disk {args.disk} does not read back as {args.template.name}")
    return {"written": {"template": args.template.name, **{k: v for k, v in result.items() if k != "seconds"}}}


class MachineBoot(BaseStep[OnNode]):
    """Take the deploy image away, and start the machine from its disk."""

    name: ClassVar[str] = "machine.boot"
    args = OnNode
    deadline_seconds: ClassVar[float] = 900.0

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        bench = Bench(ctx, args.node)
        if bench.deployment() is not None:
            return Needed("the deploy image is not taken away yet")
        facts = bench.bmc.facts(deadline=BMC_SECONDS)
        if facts.media or facts.boot_once is not None or facts.power != MachinePower.ON:
            return Needed(f"machine {args.node} does not run from its disk yet")
        return Done({"power": "on"}, made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        timer, bench = Timer(ctx), Bench(ctx, args.node)
        if bench.is_up():
            bench.run(Task(key=FINISH, kind="finish", arguments={"power": "off"}))
        bench.down()
        bench.bmc.turn_on(deadline=timer.left(BMC_SECONDS))
        return {"power": "on"}

    def undo(self, ctx: StepContext, args: OnNode, facts: Mapping[str, Any]) -> None:
        """Off, before its disk is erased."""
        Bench(ctx, args.node).down()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersArgs:
    node: str
    addresses: tuple[str, ...]


class MachineAnswers(BaseStep[AnswersArgs]):
    """Wait until the machine's SSH server answers. Makes nothing."""

    name: ClassVar[str] = "machine.answers"
    args = AnswersArgs
    # Servers test their memory before they boot.
    deadline_seconds: ClassVar[float] = 1200.0
    attempts: ClassVar[int] = 1

    def check(self, ctx: StepContext, args: AnswersArgs) -> Done | Needed:
        for address in args.addresses:
            banner = ctx.ports.reach.banner(address, SSH_PORT, deadline=BANNER_SECONDS)
            if banner.startswith("SSH-"):
                return Done({"ready": f"ssh {address}: {banner}"})
        return Needed("the machine does not answer yet")

    def apply(self, ctx: StepContext, args: AnswersArgs) -> Facts:
        timer, bmc = Timer(ctx), ctx.ports.bmc(args.node)
        while not timer.over:
            found = self.check(ctx, args)
            if isinstance(found, Done):
                return found.facts
            if ctx.stopping():
                raise Stopped("the job was asked to stop while it waited for the machine")
            ctx.progress(timer.fraction, "the machine is starting, waiting for its SSH server")
            if bmc.facts(deadline=timer.left(BMC_SECONDS)).power != MachinePower.ON:
                raise PermanentDriverError(f"machine {args.node} went off while it was waited for")
            ctx.ports.clock.sleep(POLL_SECONDS)
        raise TransientDriverError(f"machine {args.node} did not answer within {ctx.deadline:g} s", retry_after=30.0)


class MachineVerify(BaseStep[OnNode]):
    """Read back from the BMC that the machine that was enrolled is on, with nothing in its drive. Makes nothing."""

    name: ClassVar[str] = "machine.verify"
    args = OnNode

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        standing = own_machine(ctx, args.node)
        facts = ctx.ports.bmc(args.node).facts(deadline=BMC_SECONDS)
        same_board(standing, facts)
        wrong = [] if facts.power == MachinePower.ON else ["it is off"]
        wrong += [f"{facts.media} is in its drive"] if facts.media else []
        wrong += ["its next boot is from a CD"] if facts.boot_once is not None else []
        if wrong:
            return Needed("; ".join(wrong))
        return Done({"bmc": {k: v for k, v in asdict(facts).items() if k in ("uuid", "power", "serial", "health")}})

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        found = self.check(ctx, args)
        if isinstance(found, Needed):
            raise PermanentDriverError(f"machine {args.node} is not as it was left: {found.why}")
        return found.facts
