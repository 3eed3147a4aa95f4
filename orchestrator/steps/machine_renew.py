"""Installing a customer's machine anew: what is on its disks goes. Until the image is told to, everything can be taken back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from orchestrator.domain.errors import OrchestratorError, UndoFailed
from orchestrator.ports.deployment import Task
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep, OnNode
from orchestrator.steps.fence import require, withdraw
from orchestrator.steps.machine_bench import DONE, Bench
from orchestrator.steps.machine_install import WRITE, MachineWrite, WriteArgs

CLEAR = "clear"
_GONE = "what was on the disks of {} is gone, or going: nothing brings it back, the job can only go on"


def _begun(bench: Bench) -> bool:
    """Whether the image was told to do something to a disk by this job."""
    return any(bench.state(key) is not None for key in (CLEAR, WRITE))


class MachineClear(BaseStep[OnNode]):
    """Erase every drive of the machine, also one that was added since, before its system is written anew."""

    name: ClassVar[str] = "machine.clear"
    args = OnNode
    destructive: ClassVar[bool] = True
    # As long and as often as machine.erase.
    deadline_seconds: ClassVar[float] = 48 * 3600.0
    attempts: ClassVar[int] = 9

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        task = Bench(ctx, args.node).state(CLEAR)
        if task is None or task.state != DONE:
            return Needed(f"the drives of {args.node} are not erased yet")
        return Done(_cleared(task.result), made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        """Raises FenceClosed and Frozen as long as nothing was destroyed; once it has begun it is carried to its end."""
        bench = Bench(ctx, args.node)
        erase = Task(key=CLEAR, kind="erase", arguments={"disks": bench.drives()})
        return _past_the_fence(ctx, bench, "erase", lambda: _cleared(bench.run(erase)))

    def undo(self, ctx: StepContext, args: OnNode, facts: Mapping[str, Any]) -> None:
        """One that had not begun made nothing. Raises UndoFailed where it had."""
        if facts or _begun(Bench(ctx, args.node)):
            raise UndoFailed(_GONE.format(args.node))


class MachineRewrite(MachineWrite):
    """As machine.write, over what the customer had there: it is asked of the fence, and cannot be taken back."""

    name: ClassVar[str] = "machine.rewrite"
    destructive: ClassVar[bool] = True
    attempts: ClassVar[int] = 9

    def apply(self, ctx: StepContext, args: WriteArgs) -> Facts:
        """Raises FenceClosed and Frozen as long as nothing was destroyed; once it has begun it is carried to its end."""
        bench = Bench(ctx, args.node)
        bench.look()
        return _past_the_fence(ctx, bench, "write over", lambda: super(MachineRewrite, self).apply(ctx, args))

    def undo(self, ctx: StepContext, args: WriteArgs, facts: Mapping[str, Any]) -> None:
        """One that had not begun made nothing. Raises UndoFailed where it had."""
        if facts or _begun(Bench(ctx, args.node)):
            raise UndoFailed(_GONE.format(args.node))


def _past_the_fence(ctx: StepContext, bench: Bench, act: str, destroy: Callable[[], Facts]) -> Facts:
    """Asked right before the image is told to, while nothing is destroyed; noted only where something was, or nobody can tell."""
    if not _begun(bench):
        require(ctx, act)
    try:
        return destroy()
    except OrchestratorError:
        if not _begun(bench):
            withdraw(ctx)
        raise


def _cleared(result: Mapping[str, object]) -> Facts:
    """A row of each drive, as docs/deploy-image.md has them."""
    drives = result.get("drives")
    return {"cleared": [dict(row) for row in drives] if isinstance(drives, list | tuple) else []}
