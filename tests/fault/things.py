"""Steps of the tests: a thing is made on, or destroyed from, the simulated node, tagged with the job that made it.

They behave as the product's steps have to, and are small enough for the engine alone to be what a test looks at. Faults
strike ``thing.make``, ``thing.unmake``, ``thing.destroy`` and ``thing.look``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.playbooks import OnFailure, Playbook, PlaybookStep
from orchestrator.drivers.fake import FakeWorld
from orchestrator.steps.base import Done, Facts, Needed, Step, StepContext

NODE = "n1"
World = Callable[[], FakeWorld]


def things(world: FakeWorld, service_id: str = "") -> dict[str, str]:
    """The things on the node with the job that made each; of one service (``<service>.<name>``) or of all."""
    files = [str(file).partition("@") for file in world.node(NODE)["files"]]
    return {name: job for name, _, job in files if not service_id or name.startswith(f"{service_id}.")}


@dataclass(frozen=True, slots=True)
class ThingArgs:
    name: str
    node: str = NODE
    of: str = ""
    password_hash: str = ""
    ssh_keys: tuple[str, ...] = ()


class _OnTheNode:
    """What the two steps share."""

    name: ClassVar[str]
    args = ThingArgs
    heavy: ClassVar[bool] = False
    destructive: ClassVar[bool] = False
    deadline_seconds: ClassVar[float] = 10.0
    attempts: ClassVar[int] = 3

    def __init__(self, world: FakeWorld, on_apply: Callable[[str], None] | None = None) -> None:
        self.world = world
        self.on_apply = on_apply

    def look(self, ctx: StepContext, args: ThingArgs) -> str | None:
        """Which job made the thing; None = it is not there."""

        def stage(node: dict[str, Any]) -> str | None:
            mine = f"{ctx.service_id}.{args.name}@"
            return next((str(f).partition("@")[2] for f in node["files"] if f.startswith(mine)), None)

        return self.world.act("thing.look", node=args.node, subject=args.name, deadline=ctx.deadline, stages=[stage])

    def act(self, method: str, ctx: StepContext, args: ThingArgs, stage: Callable[[dict[str, Any]], None]) -> None:
        if self.on_apply is not None:
            self.on_apply(f"{method} {ctx.service_id}.{args.name}")
        self.world.act(method, node=args.node, subject=f"{ctx.service_id}.{args.name}", deadline=ctx.deadline, stages=[stage])

    def remove(self, method: str, ctx: StepContext, args: ThingArgs) -> None:
        def stage(node: dict[str, Any]) -> None:
            mine = f"{ctx.service_id}.{args.name}@"
            node["files"] = [f for f in node["files"] if not f.startswith(mine)]

        self.act(method, ctx, args, stage)


class Make(_OnTheNode):
    """Makes the thing; its facts name the job that did."""

    name = "thing.make"

    def check(self, ctx: StepContext, args: ThingArgs) -> Done | Needed:
        by = self.look(ctx, args)
        return Needed() if by is None else Done(facts={"name": args.name, "node": args.node, "by": by}, made_by=by)

    def apply(self, ctx: StepContext, args: ThingArgs) -> Facts:
        def stage(node: dict[str, Any]) -> None:
            # Twice the same thing is what a second guest would be: the tests look for it.
            node["files"] = [*node["files"], f"{ctx.service_id}.{args.name}@{ctx.job_id}"]

        self.act("thing.make", ctx, args, stage)
        return {"name": args.name, "node": args.node, "by": ctx.job_id}

    def undo(self, ctx: StepContext, args: ThingArgs, facts: Mapping[str, Any]) -> None:
        if self.look(ctx, args) == ctx.job_id:
            self.remove("thing.unmake", ctx, args)


class HeavyMake(Make):
    name = "thing.make-heavy"
    heavy = True


class Destroy(_OnTheNode):
    """Destroys the thing, past the fence."""

    name = "thing.destroy"
    destructive = True

    def check(self, ctx: StepContext, args: ThingArgs) -> Done | Needed:
        return Done() if self.look(ctx, args) is None else Needed()

    def apply(self, ctx: StepContext, args: ThingArgs) -> Facts:
        ctx.ports.fence.require(service_id=ctx.service_id, job_id=ctx.job_id, act=f"destroy {args.name}")
        self.remove("thing.destroy", ctx, args)
        return {}

    def undo(self, ctx: StepContext, args: ThingArgs, facts: Mapping[str, Any]) -> None:
        """What is destroyed cannot be brought back."""


class Pause:
    """Holds the job at one act until it is let go."""

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __call__(self, act: str) -> None:
        if act == self.wanted:
            self.reached.set()
            assert self.go_on.wait(20)


def steps(world: FakeWorld, on_apply: Callable[[str], None] | None = None) -> dict[str, Step[Any]]:
    made: list[Step[Any]] = [Make(world, on_apply), HeavyMake(world, on_apply), Destroy(world, on_apply)]
    return {step.name: step for step in made}


def make(name: str, *, heavy: bool = False, on_failure: OnFailure = OnFailure.UNDO, **args: object) -> PlaybookStep:
    step = "thing.make-heavy" if heavy else "thing.make"
    return PlaybookStep(id=name, step=step, with_={"name": name, **args}, on_failure=on_failure)


def destroy(name: str) -> PlaybookStep:
    return PlaybookStep(id=f"no-{name}", step="thing.destroy", with_={"name": name}, on_failure=OnFailure.HALT, destructive=True)


def playbook(name: str, *wanted: PlaybookStep) -> Playbook:
    return Playbook(name=name, description=f"{name} of the tests", for_="vps", steps=wanted)


def playbooks(**given: Playbook) -> dict[str, Playbook]:
    """Every intent's playbook; those given (``provision=…``) in place of the usual ones."""
    usual = {
        "provision": playbook("vps-provision", make("a"), make("b", of="$a.by"), make("c")),
        "suspend": playbook("vps-suspend", make("held")),
        "unsuspend": playbook("vps-unsuspend", make("resumed")),
        "limit": playbook("vps-limit", make("limited")),
        "unlimit": playbook("vps-unlimit", make("unlimited")),
        "start": playbook("vps-start", make("started")),
        "stop": playbook("vps-stop", make("stopped")),
        "reboot": playbook("vps-reboot", make("rebooted")),
        "check": playbook("vps-check", make("checked")),
        "terminate": playbook("vps-terminate", make("ending"), destroy("c"), destroy("b"), destroy("a"), destroy("ending")),
    }
    return {f"vps-{intent}": book for intent, book in (usual | given).items()}
