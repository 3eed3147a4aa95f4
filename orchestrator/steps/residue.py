"""The proof that nothing of a service is left, on any node it ever was on. Addresses are given back on this proof only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.errors import PermanentDriverError
from orchestrator.domain.lost_nodes import Lost, unreached
from orchestrator.domain.plans import guest_name
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import ASK_SECONDS, POOL_SECONDS, BaseStep


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidueArgs:
    """None: which nodes the service ever was on is asked of the ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What is on a node: ``things`` have to be wiped or undefined, ``files`` include by-products such as logs."""

    node: str
    things: tuple[str, ...]
    files: tuple[str, ...]


class ResidueProve(BaseStep[ResidueArgs]):
    """Look on every node for the guest, its volumes, keys, files and caches of backups; remove by-products such as logs and those
    caches, and nothing else. Of a node that is lost it says that it was not reached."""

    name: ClassVar[str] = "residue.prove"
    args = ResidueArgs
    deadline_seconds: ClassVar[float] = 300.0
    attempts: ClassVar[int] = 9

    def check(self, ctx: StepContext, args: ResidueArgs) -> Done | Needed:
        caches = ctx.ports.book.traces(ctx.service_id).locations
        nodes, away = _reached(ctx)
        looks = [_look(ctx, node, caches) for node in nodes]
        found = [f"{look.node}: {thing}" for look in looks for thing in (*look.things, *look.files)]
        return Needed("; ".join(found)[:1000]) if found else Done(_proof(ctx, nodes, {}, away))

    def apply(self, ctx: StepContext, args: ResidueArgs) -> Facts:
        """Raises PermanentDriverError where something stays that is not for this step to remove.

        By-products go only when nothing else is left: the records of a wipe are among them, and may still be needed.
        """
        (nodes, away), caches = _reached(ctx), ctx.ports.book.traces(ctx.service_id).locations
        removed: dict[str, list[str]] = {}
        for node in nodes:
            look = _look(ctx, node, caches)
            if look.things:
                raise PermanentDriverError(
                    f"something of {ctx.service_id} is left on {node}: {', '.join(look.things)}", hint="an operator has to look"
                )
            if look.files:
                removed[node] = list(_ask(ctx, node, caches, clean=True)["removed"])
        left = [f"{node}: {path}" for node in nodes for path in _look(ctx, node, caches).files]
        if left:
            raise PermanentDriverError(
                f"files of {ctx.service_id} cannot be removed: {', '.join(left)}", hint="an operator has to look"
            )
        return _proof(ctx, nodes, removed, away)


def _reached(ctx: StepContext) -> tuple[list[str], dict[str, Lost]]:
    """The nodes that the service ever was on; those apart that are lost: an operator's statement stands for the look."""
    lost = {state.node.name: state.lost for state in ctx.ports.ledger.nodes() if state.lost is not None}
    nodes = ctx.ports.ledger.nodes_ever(ctx.service_id)
    return [node for node in nodes if node not in lost], {node: lost[node] for node in nodes if node in lost}


def things_on(ctx: StepContext, node: str) -> tuple[str, ...]:
    """What would have to be wiped or undefined there, in words: the guest, its volumes, their keys."""
    name = guest_name(ctx.service_id)
    store = ctx.ports.volumes(node)
    things = [f"volume {v.name}" for v in store.volumes(deadline=POOL_SECONDS) if v.name.startswith(f"{name}.")]
    things += [f"key of {volume}" for volume in store.secrets(deadline=ASK_SECONDS) if volume.startswith(f"{name}.")]
    if ctx.ports.hypervisor(node).guest(ctx.guest, deadline=ASK_SECONDS) is not None:
        things.insert(0, f"guest {ctx.guest}")
    return tuple(things)


def _look(ctx: StepContext, node: str, caches: tuple[str, ...]) -> _Look:
    return _Look(node=node, things=things_on(ctx, node), files=tuple(_ask(ctx, node, caches, clean=False)["found"]))


def _ask(ctx: StepContext, node: str, caches: tuple[str, ...], *, clean: bool) -> dict[str, Any]:
    """The node's own report. ``caches``: the repositories of which it is to keep nothing."""
    request: dict[str, Any] = {"service_id": ctx.service_id, "pool_path": _pool_path(ctx, node), "clean": clean}
    if caches:
        request["repositories"] = list(caches)
    return ctx.ports.agent(node).call("residue", request, deadline=ASK_SECONDS)


def _pool_path(ctx: StepContext, node: str) -> str:
    """The pool's directory on the node. Templates lie in it, so that it is never empty; PermanentDriverError where it is."""
    for volume in ctx.ports.volumes(node).volumes(deadline=POOL_SECONDS):
        return volume.path.rpartition("/")[0]
    raise PermanentDriverError(f"the pool of {node} is empty: where it lies is not known", hint="is it mounted?")


def _proof(ctx: StepContext, nodes: list[str], removed: dict[str, list[str]], away: dict[str, Lost]) -> Facts:
    at = ctx.ports.clock.now()
    where = ", ".join(nodes) or ("any node that is reached" if away else "any node: it never was on one")
    looked = {"checked_at": at.isoformat(), "found": []}
    checks: list[dict[str, Any]] = [{"node": node, **looked, "removed": removed.get(node, [])} for node in nodes]
    checks += [{"node": node, **looked, "removed": [], "unreached": unreached(node, lost)} for node, lost in away.items()]
    proof = (
        f"guest, volumes, keys, files and caches of {ctx.service_id} absent from {where} at {at.isoformat(timespec='seconds')}"
    )
    released = "".join(f"; {node} is released by statement {lost.statement} of {lost.by}" for node, lost in away.items())
    return {"proof": proof + released, "checks": checks}
