"""Destroying a service's data on its node. The volume's name on the node says how far it came (docs/decisions/0003)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.certificates import WipedVolume
from orchestrator.domain.errors import OrchestratorError, UndoFailed
from orchestrator.domain.plans import guest_name
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import ASK_SECONDS, POOL_SECONDS, BaseStep, Timer
from orchestrator.steps.fence import require, withdraw

WIPING = ".wiping"
SAMPLES = 16
CRYPTO_ERASE = "crypto-erase"
OVERWRITE = "overwrite"
# How a volume is certified of which nothing was left to wipe.
NOTHING_LEFT = "none"
_GONE = "The volume was gone before it could be wiped, and no report of a wipe is kept on the node: nothing was verified."


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRef:
    """A volume to be destroyed. ``secret_uuid`` not empty = it is encrypted, and destroying what opens it is the wipe."""

    name: str
    path: str
    secret_uuid: str = ""


def volumes_of(ctx: StepContext, node: str, known: Mapping[str, VolumeRef]) -> list[VolumeRef]:
    """Every volume of the service: those ``known`` from its making, and whatever else of its name lies in the pool, or lay there
    and left its key.

    Disks come before seeds: the first to go is the one that matters.
    """
    store, ours = ctx.ports.volumes(node), f"{guest_name(ctx.service_id)}."
    refs, pool = dict(known), ""
    for volume in store.volumes(deadline=POOL_SECONDS):
        name, pool = volume.name.removesuffix(WIPING), volume.path.rpartition("/")[0]
        if name.startswith(ours) and name not in refs:
            refs[name] = VolumeRef(name=name, path=volume.path.removesuffix(WIPING), secret_uuid=volume.secret_uuid)
    for name in store.secrets(deadline=ASK_SECONDS):
        if name.startswith(ours) and name not in refs:
            refs[name] = VolumeRef(name=name, path=f"{pool}/{name}")
    return sorted(refs.values(), key=lambda ref: (not ref.secret_uuid, ref.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class WipeArgs:
    """``volumes`` as guest.record wrote them down."""

    node: str
    volumes: tuple[VolumeRef, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A volume as the node shows it: present, wiping or absent, and the report of a finished wipe where one is kept."""

    ref: VolumeRef
    state: str
    report: dict[str, Any] | None

    @property
    def begun(self) -> bool:
        return self.state == "wiping" or (self.state == "absent" and self.report is not None)


class VolumeWipe(BaseStep[WipeArgs]):
    """Destroy the volumes and the keys that open them. With the first of them the point of no return is passed."""

    name: ClassVar[str] = "volume.wipe"
    args = WipeArgs
    heavy: ClassVar[bool] = True
    destructive: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = 4 * 3600.0
    # Once begun there is no way back: a node that restarts meanwhile is waited for, a quarter of an hour or so.
    attempts: ClassVar[int] = 9

    def check(self, ctx: StepContext, args: WipeArgs) -> Done | Needed:
        if not args.volumes:
            return Done({"wiped": [], "keys_destroyed": []})
        seen = _look(ctx, args)
        left = [s.ref.name for s in seen if s.state != "absent"]
        keys = set(ctx.ports.volumes(args.node).secrets(deadline=ASK_SECONDS))
        left += [f"the key of {s.ref.name}" for s in seen if s.ref.name in keys]
        return Needed(f"still there: {', '.join(left)}") if left else Done(_facts(args, seen), made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: WipeArgs) -> Facts:
        """Raises FenceClosed and Frozen as long as nothing was destroyed; once it has begun it is carried to its end."""
        timer = Timer(ctx)
        seen = _look(ctx, args)
        if any(s.begun for s in seen):
            return self._destroy(ctx, args, timer)
        try:
            require(ctx, "wipe")
            return self._destroy(ctx, args, timer)
        except OrchestratorError:
            # The note of the point of no return may stay only where something was destroyed, or nobody can tell.
            if not any(s.begun for s in _look(ctx, args)):
                withdraw(ctx)
            raise

    def _destroy(self, ctx: StepContext, args: WipeArgs, timer: Timer) -> Facts:
        for number, ref in enumerate(args.volumes):
            destroy(ctx, args.node, ref, timer, done=number, of=len(args.volumes))
        return _facts(args, _look(ctx, args))

    def undo(self, ctx: StepContext, args: WipeArgs, facts: Mapping[str, Any]) -> None:
        """Nothing can be taken back of a wipe; one that had not begun made nothing. Raises UndoFailed where it had."""
        begun = [s.ref.name for s in _look(ctx, args) if s.begun]
        if begun:
            raise UndoFailed(f"past the point of no return: {', '.join(begun)} cannot be brought back")


def destroy(ctx: StepContext, node: str, ref: VolumeRef, timer: Timer, *, done: int = 0, of: int = 1) -> None:
    """The volume, with the key that opens it; absent = success. It is the ``done``-th of so many that the step destroys."""
    agent, store = ctx.ports.agent(node), ctx.ports.volumes(node)

    def progress(fraction: float, sentence: str) -> None:
        ctx.progress((done + fraction) / of, f"{ref.name}: {sentence}")

    method = CRYPTO_ERASE if ref.secret_uuid or ref.name in store.secrets(deadline=ASK_SECONDS) else OVERWRITE
    request = {"path": ref.path, "method": method, "samples": SAMPLES}
    agent.call("volume-wipe", request, deadline=timer.left(), progress=progress)
    if ref.secret_uuid:
        agent.call("secret-wipe", {"uuid": ref.secret_uuid}, deadline=ASK_SECONDS)
    store.delete(ref.name, deadline=POOL_SECONDS)


def _look(ctx: StepContext, args: WipeArgs) -> list[_Seen]:
    agent = ctx.ports.agent(args.node)
    seen = []
    for ref in args.volumes:
        answer = agent.call("volume-state", {"path": ref.path}, deadline=ASK_SECONDS)
        seen.append(_Seen(ref, answer["state"], answer.get("report")))
    return seen


def _facts(args: WipeArgs, seen: list[_Seen]) -> Facts:
    """The reports, in the form that a certificate holds. Raises PermanentDriverError where one cannot be certified."""
    wiped = []
    for s in seen:
        report = s.report or _gone(s.ref)
        WipedVolume.from_report(report, name=s.ref.name, node=args.node)
        wiped.append({"name": s.ref.name, "node": args.node, "report": report})
    return {"wiped": wiped, "keys_destroyed": [s.ref.name for s in seen if s.ref.secret_uuid]}


def _gone(ref: VolumeRef) -> dict[str, Any]:
    return {
        "path": ref.path,
        "method": NOTHING_LEFT,
        "allocated_bytes": 0,
        "bytes_overwritten": 0,
        "verified": False,
        "medium": {},
        "limits": [_GONE],
        "samples": [],
        "started_at": "",
        "finished_at": "",
    }
