"""The end of a machine's service: every drive is erased, each by the best that it offers, and that is certified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from orchestrator.domain.certificates import WipedVolume
from orchestrator.domain.errors import OrchestratorError, PermanentDriverError, UndoFailed, WrongState
from orchestrator.domain.machines import Found, MachineRecord, MachineState, gone_disks
from orchestrator.ports.bmc import MachinePower
from orchestrator.ports.deployment import REPORTED, Task
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep, OnNode
from orchestrator.steps.fence import require, withdraw
from orchestrator.steps.machine_bench import BMC_SECONDS, DONE, LOOK, Bench, own_machine, same_board, serials_of

ERASE = "erase"
OVERWRITE = "overwrite"


class MachineErase(BaseStep[OnNode]):
    """Erase every drive of the machine. With the first of them the point of no return is passed.

    A drive that cannot be erased makes the machine broken: it never goes back to the pool by itself.
    """

    name: ClassVar[str] = "machine.erase"
    args = OnNode
    destructive: ClassVar[bool] = True
    # Overwriting a large disk takes a day.
    deadline_seconds: ClassVar[float] = 48 * 3600.0
    # Once begun there is no way back: a BMC or a controller that restarts meanwhile is waited for.
    attempts: ClassVar[int] = 9

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        task = Bench(ctx, args.node).state(ERASE)
        if task is None or task.state != DONE:
            return Needed(f"the drives of {args.node} are not erased yet")
        return Done(_facts(ctx, args.node, task.result), made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        """Raises FenceClosed and Frozen as long as nothing was destroyed; once it has begun it is carried to its end."""
        bench = Bench(ctx, args.node)
        disks = bench.drives()  # one that nobody knew of is erased with the others
        begun = bench.state(ERASE) is not None
        if not begun:
            require(ctx, "wipe")
        try:
            result = bench.run(Task(key=ERASE, kind="erase", arguments={"disks": disks}))
        except OrchestratorError as exc:
            # The note of the point of no return may stay only where something was destroyed, or nobody can tell.
            if bench.state(ERASE) is None:
                withdraw(ctx)
            elif isinstance(exc, PermanentDriverError):
                self._broken(ctx, args.node, exc)
            raise
        return _facts(ctx, args.node, result)

    def _broken(self, ctx: StepContext, node: str, exc: PermanentDriverError) -> None:
        who: dict[str, str] = {"service_id": ctx.service_id, "job_id": ctx.job_id}
        ctx.ports.machines.move(node, MachineState.BROKEN, reason=exc.message[:200], **who)

    def undo(self, ctx: StepContext, args: OnNode, facts: Mapping[str, Any]) -> None:
        """One that had not begun only booted the image. Raises UndoFailed where it had: nothing can be taken back of it."""
        bench = Bench(ctx, args.node)
        if facts or bench.state(ERASE) is not None:
            raise UndoFailed(f"the drives of {args.node} are being erased, or were: nothing brings back what was on them")
        bench.down()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepArgs:
    """``until``: so long it is kept, '' where nothing says so. ``addresses`` that it comes back with, should it be paid for."""

    node: str
    until: str = ""
    addresses: tuple[str, ...] = ()


class MachineKeep(BaseStep[KeepArgs]):
    """Keep the machine as it is, switched off: its own disks are the archive that the policy promises."""

    name: ClassVar[str] = "machine.keep"
    args = KeepArgs

    def check(self, ctx: StepContext, args: KeepArgs) -> Done | Needed:
        return Needed("whether the machine is off is seen by asking its BMC")

    def apply(self, ctx: StepContext, args: KeepArgs) -> Facts:
        """Raises WrongState where the machine is on."""
        standing = own_machine(ctx, args.node)
        facts = ctx.ports.bmc(args.node).facts(deadline=BMC_SECONDS)
        same_board(standing, facts)
        if facts.power != MachinePower.OFF:
            raise WrongState(f"machine {args.node} is on: what is on its disks is kept of one that is off")
        return {
            "id": f"archive-{ctx.job_id}",
            "node": args.node,
            "job": ctx.job_id,
            "disks": list(serials_of(standing)),
            "addresses": list(args.addresses),
            "kept_at": ctx.ports.clock.now().isoformat(),
            "until": args.until or None,
        }


class MachineClean(BaseStep[OnNode]):
    """Take the deploy image away; the machine stays off, and is in the hands of nobody until it is freed."""

    name: ClassVar[str] = "machine.clean"
    args = OnNode
    deadline_seconds: ClassVar[float] = 600.0

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        record = ctx.ports.machines.machine(args.node).record
        if record.service_id == ctx.service_id and record.state != MachineState.CLEANING:
            return Needed(f"machine {args.node} is {record.state}")
        if ctx.ports.deployments.deployment(args.node, job_id=ctx.job_id) is not None:
            return Needed("the deploy image is not taken away yet")
        return Done({"cleaned": args.node}, made_by=record.job_id)

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        bench = Bench(ctx, args.node)
        _know_anew(ctx, args.node, bench)
        bench.down()
        ctx.ports.machines.move(
            args.node, MachineState.CLEANING, reason="its drives were erased", service_id=ctx.service_id, job_id=ctx.job_id
        )
        return {"cleaned": args.node}


def _know_anew(ctx: StepContext, node: str, bench: Bench) -> None:
    """What the image saw before it erased is what is in the machine from now on, where that is something else than was known."""
    look = bench.state(LOOK)
    found = {} if look is None else look.result
    if not found.get("disks"):
        return
    there = {disk.serial for disk in Found.of(found).disks}
    if there != set(serials_of(bench.standing)) or gone_disks(bench.standing.record.inspection):
        ctx.ports.machines.inspected(node, found, job_id=ctx.job_id)


def _facts(ctx: StepContext, node: str, result: Mapping[str, object]) -> Facts:
    """The rows in the form that a certificate holds. Raises PermanentDriverError where one cannot be certified."""
    drives = result.get("drives")
    rows = [dict(row) for row in drives] if isinstance(drives, list | tuple) else []
    at = _reported(ctx, result)
    record = ctx.ports.machines.machine(node).record
    gone = unreached(record, [str(row.get("serial", "")) for row in rows])
    wiped = []
    for row in rows:
        ended = at - timedelta(seconds=float(row.get("ended_before", 0)))
        report = _certified(row, gone, finished=ended.isoformat(timespec="seconds"), started=_began(row, ended))
        WipedVolume.from_report(report, name=str(row.get("serial", "")), node=node)
        wiped.append({"name": str(row["serial"]), "node": node, "report": report})
    if not wiped:
        raise PermanentDriverError(f"the deploy image on {node} says of no drive that it was erased")
    what = ", ".join(str(each["name"]) for each in wiped)
    proof = f"drives {what} of {node} erased and read back at {at.isoformat(timespec='seconds')}"
    checks = [{"node": node, "checked_at": at.isoformat(), "found": [], "removed": []}]
    return {"wiped": wiped, "machine": f"machine {node}", "proof": proof, "checks": checks}


def _reported(ctx: StepContext, result: Mapping[str, object]) -> datetime:
    """When the image told that it had ended: the controller may have been away since."""
    said = result.get(REPORTED)
    return datetime.fromisoformat(said) if isinstance(said, str) else ctx.ports.clock.now()


def _began(row: Mapping[str, Any], at: Any) -> str:
    began: str = (at - timedelta(seconds=float(row.get("seconds", 0)))).isoformat(timespec="seconds")
    return began


def unreached(record: MachineRecord, erased: Sequence[str]) -> list[str]:
    """Sentences on disks that were in the machine, and of which an operator said that they are not any more."""
    return [f"Not reached: {disk.sentence}." for disk in gone_disks(record.inspection) if disk.serial not in erased]


def _certified(row: Mapping[str, Any], gone: Sequence[str], *, started: str, finished: str) -> dict[str, Any]:
    size, method = int(row.get("bytes", 0)), str(row.get("method", ""))
    part = str(row.get("unreached", ""))
    tried = [f"Tried before: {each}." for each in row.get("tried", ())]
    return {
        "path": f"drive {row.get('serial', '')}",
        "method": method,
        "allocated_bytes": size,
        "bytes_overwritten": size if method == OVERWRITE else 0,
        "verified": not row.get("problem") and int(row.get("samples", 0)) > 0,
        "medium": {"model": str(row.get("model", "")), "serial": str(row.get("serial", ""))},
        "limits": [*([f"Not reached: {part}."] if part else []), *tried, *gone],
        "samples": [],
        "started_at": started,
        "finished_at": finished,
    }
