"""A controller process among several, for the torture test: ``python -m tests.fault.torture DIRECTORY``.

It works on a database by way of a proxy of the test's, and makes things in a directory that all controllers share: the world.
A thing is made by an act that is atomic, as a hypervisor's own is: where the same job made it already, that is noted beside
it as one attempt too many, and nothing is made twice.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from orchestrator.domain.errors import OUTCOMES, AlreadyExists, OrchestratorError, StoreUnavailable
from orchestrator.steps.base import Done, Facts, Needed, Step, StepContext
from tests.fault import things
from tests.fault.house import House, Options
from tests.fault.things import make, playbook, playbooks

EXIT_AWAY = OUTCOMES[StoreUnavailable.code].exit_code
LEASE_SECONDS = 6.0
STEPS = ("a", "b", "c")


@dataclass(frozen=True, slots=True)
class World:
    """``things/SERVICE.NAME`` holds the job that made it; ``again/`` what was tried once more; ``acts`` who did what when."""

    directory: Path

    def prepare(self) -> None:
        for name in ("things", "again"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)

    def made_by(self, name: str) -> str | None:
        try:
            return (self.directory / "things" / name).read_text().partition(" ")[0] or None
        except FileNotFoundError:
            return None

    def make(self, name: str, job_id: str) -> bool:
        """False where it is there already."""
        whole = self.directory / f".{os.getpid()}.{time.monotonic_ns()}"
        whole.write_text(f"{job_id} {os.getpid()}")
        try:
            os.link(whole, self.directory / "things" / name)
        except FileExistsError:
            (self.directory / "again" / f"{name}.{job_id}.{os.getpid()}.{time.monotonic_ns()}").touch()
            return False
        finally:
            whole.unlink()
        return True

    def things(self) -> dict[str, str]:
        return {file.name: file.read_text().partition(" ")[0] for file in (self.directory / "things").iterdir()}

    def again(self) -> list[str]:
        return sorted(file.name for file in (self.directory / "again").iterdir())


@dataclass(frozen=True, slots=True)
class MakeArgs:
    name: str
    node: str = things.NODE
    of: str = ""
    password_hash: str = ""
    ssh_keys: tuple[str, ...] = ()


class MakeOnce:
    """Makes the thing, and takes a moment for it."""

    name: ClassVar[str] = "thing.make"
    args = MakeArgs
    heavy: ClassVar[bool] = False
    destructive: ClassVar[bool] = False
    deadline_seconds: ClassVar[float] = 10.0
    attempts: ClassVar[int] = 3

    def __init__(self, world: World, seconds: float) -> None:
        self.world = world
        self.seconds = seconds

    def check(self, ctx: StepContext, args: MakeArgs) -> Done | Needed:
        by = self.world.made_by(f"{ctx.service_id}.{args.name}")
        return Needed() if by is None else Done(facts={"name": args.name, "node": args.node, "by": by}, made_by=by)

    def apply(self, ctx: StepContext, args: MakeArgs) -> Facts:
        time.sleep(self.seconds)
        name = f"{ctx.service_id}.{args.name}"
        if not self.world.make(name, ctx.job_id) and self.world.made_by(name) != ctx.job_id:
            raise AlreadyExists(f"{name} is another job's")
        return {"name": args.name, "node": args.node, "by": ctx.job_id}

    def undo(self, ctx: StepContext, args: MakeArgs, facts: Mapping[str, Any]) -> None:
        (self.world.directory / "things" / f"{ctx.service_id}.{args.name}").unlink(missing_ok=True)


BOOKS = playbooks(provision=playbook("vps-provision", *(make(name) for name in STEPS)))


def house_of(directory: Path, world: World, *, workers: int, seconds: float) -> House:
    made: Step[Any] = MakeOnce(world, seconds)
    options = Options(workers=workers, poll_seconds=0.05, sweep_seconds=1.0, lease_seconds=LEASE_SECONDS, drain_seconds=10.0)
    return House(directory, steps={made.name: made}, playbooks=BOOKS, options=options, tells=False)


def main() -> None:
    directory, told = Path(sys.argv[1]), json.loads(sys.argv[2])
    house = house_of(directory, World(Path(told["world"])), workers=told["workers"], seconds=told["seconds"])
    try:
        house.engine.start()
    except OrchestratorError as exc:  # its database is away: whoever looks after it starts it again
        print(exc, file=sys.stderr, flush=True)
        os._exit(OUTCOMES[exc.code].exit_code)
    print(house.engine.controller_id, flush=True)
    signal.sigwait({signal.SIGTERM})
    drained = house.engine.stop()
    os._exit(0 if drained else 3)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main()
