"""What every battery is struck with: the jobs of one playbook killed at its points, those that go well and those that fail."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from orchestrator.domain.playbooks import OnFailure, Playbook
from tests.fault.battery import Battery, batches
from tests.fault.controller import Scenario

FEW = 3  # steps of a job, so that one is struck before, one in and one after its act; each costs two lives of it
MANY = 16  # steps: all that most jobs have


def sample(points: Iterable[str], *, most: int = MANY) -> list[str]:
    """Of the steps so many, the first and the last among them, each at one point: a different moment from one to the next.

    Where not all are taken, those between are such as carry something out: a mere check has no moment in its act.
    """
    moments: dict[str, list[str]] = {}
    for point in dict.fromkeys(points):
        moments.setdefault(point.rpartition("/")[0], []).append(point)
    steps, most_moments = list(moments.values()), max(map(len, moments.values()), default=0)
    if most < len(steps):
        steps = [steps[0], *(there for there in steps[1:-1] if len(there) == most_moments), steps[-1]]
    count = min(most, len(steps))
    spread = [steps[number * (len(steps) - 1) // max(count - 1, 1)] for number in range(count)]
    return [there[min(number % 3, len(there) - 1)] for number, there in enumerate(spread)]


def some(points: Iterable[str], *, whole: bool) -> list[str]:
    """Every point; or in the sample one of every step, of at most ``MANY``."""
    return list(dict.fromkeys(points)) if whole else sample(points)


def failing_points(book: Playbook, *, whole: bool, only: Sequence[str] = ()) -> list[str]:
    """Where the failures strike that are to be undone: the last step that undoes, or each of them. ``only``: of these steps."""
    undoing = list(only) or [step.id for step in book.steps if step.on_failure == OnFailure.UNDO]
    return [f"{book.name}/{step}/{moment}" for step in (undoing if whole else undoing[-1:]) for moment in ("before", "during")]


def strike(battery: Battery, directory: Path, scenarios: list[Scenario], wanted: dict[str, Any], *, kills: int = 1) -> None:
    """Kill each scenario at its point; every one has to end as wanted."""
    wrong = {}
    for number, batch in enumerate(batches(scenarios)):
        found = battery.run(directory / f"batch{kills}-{number}", batch, kills=kills)
        wrong.update({s.kill: _differences(wanted, seen) for s, seen in zip(batch, found, strict=True) if seen != wanted})
    assert wrong == {}, wrong  # said by hand: of this module pytest shows nothing


def strike_anywhere(battery: Battery, directory: Path, intent: str, *, whole: bool) -> None:
    """Kill a job of the intent, that would go well, at a moment of some of its steps, or at every moment, once and twice."""
    points, wanted = battery.recon(directory / "recon", Scenario(service="", intent=intent))
    assert wanted["jobs"][0][1] == "done"
    struck = list(dict.fromkeys(points)) if whole else sample(points, most=FEW)
    scenarios = [Scenario(service="", intent=intent, kill=point) for point in struck]
    strike(battery, directory, scenarios, wanted)
    if whole:
        strike(battery, directory, scenarios, wanted, kills=2)


def strike_failing(
    battery: Battery, directory: Path, intent: str, fails: Sequence[str], *, beyond: Collection[str], whole: bool
) -> None:
    """Kill a job that fails while it is undone. ``beyond``: the failures after which nothing can be had back.

    It fails at each of ``fails``, or in the sample at the last of them that it passes.
    """
    for number, fail in enumerate(fails if whole else reversed(fails)):
        place = directory / str(number)
        points, wanted = battery.recon(place / "recon", Scenario(service="", intent=intent, fail=fail))
        if fail not in points:
            continue  # the step found its act done already, as a mere check does: it has no such moment
        assert wanted["jobs"][0][1] == ("needs_operator" if fail in beyond else "failed")
        # Not "during" itself: after a restart the step finds its act done, and nothing fails any more.
        struck = [p for p in dict.fromkeys(points) if "undo" in p or "finish" in p or (p == fail and p.endswith("before"))]
        chosen = struck if whole else sample(struck, most=FEW)
        scenarios = [Scenario(service="", intent=intent, kill=point, fail=fail) for point in chosen]
        strike(battery, place, scenarios, wanted, kills=2 if whole else 1)
        if not whole:
            break


def _differences(wanted: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    return {key: {"wanted": wanted[key], "found": seen[key]} for key in wanted if wanted[key] != seen[key]}
