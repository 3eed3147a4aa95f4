"""The clock of the stories: going from one due moment to the next is as good as looking every hour."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby
from pathlib import Path

import pytest

from orchestrator.domain.calendar import Days
from orchestrator.domain.errors import PermanentDriverError
from orchestrator.domain.guards import WaitReason
from orchestrator.domain.policies import Notices, Overdue, Suspend, Terminate, TerminateSince
from orchestrator.store import settings
from tests.integration.test_due import LOOK, POLICY
from tests.scenarios.story import DAY, HOUR, MINUTE, Story

PROVIDER = "default"


BRISK = replace(
    POLICY,
    overdue=Overdue(
        suspend=Suspend(clause="2", after=Days(1)),
        terminate=Terminate(clause="3", after=Days(2), since=TerminateSince.SUSPENSION, notice=Days(1)),
    ),
    notices=Notices(clause="4", before_suspend=(Days(0),), before_terminate=(Days(1),)),
)


@dataclass(frozen=True)
class Told:
    """What a story comes to. A job that fails again and again counts once: who looks seldom tries it less often."""

    jobs: list[tuple[str, str]]
    moments: list[timedelta]
    messages: list[str]
    state: str


def full(story: Story) -> Told:
    """A debt with reminders, letters that are refused, a suspension that fails, a payment that is too little, a question."""
    story.begin(BRISK).overdue()
    story.it.notifier.answer(*[503] * 9)
    story.it.world.fault("hypervisor.mark", nth=0, error=PermanentDriverError("the node is broken"))
    story.until(2 * DAY)
    story.it.world.clear_faults()
    story.until(3 * DAY)
    story.pays(days=4)
    story.until(8 * DAY)
    story.confirms()
    story.until(8 * DAY + HOUR)
    every = [(job.intent.value, job.state.value, job.created_at - story.day0) for job in story.it.jobs("s1")]
    firsts = [next(same) for _, same in groupby(every, key=lambda job: job[:2])]
    return Told(
        [job[:2] for job in firsts],
        [job[2] for job in firsts],
        sorted(kind for kind in story.told() if kind != "job.failed"),
        story.state,
    )


def test_jumping_and_stepping_tell_the_same_story(tmp_path: Path) -> None:
    told = []
    for name in ("jumps", "steps"):
        story = Story(tmp_path / name, PROVIDER)
        story.steps = name == "steps"
        try:
            told.append(full(story))
        finally:
            story.close()
    jumped, stepped = told
    assert (jumped.jobs, jumped.messages, jumped.state) == (stepped.jobs, stepped.messages, stepped.state)
    assert jumped.state == "erased"
    # Who jumps is there at the moment itself, who steps within three steps of it: an act, its job, and what follows from that.
    # When the suspension that failed comes to its next try depends on how often it was tried, and is each one's own.
    late = [step - jump for jump, step in zip(jumped.moments, stepped.moments, strict=True)]
    retried = jumped.jobs.index(("suspend", "done"))
    assert all(-MINUTE <= each <= 3 * LOOK for number, each in enumerate(late) if number != retried)


def test_a_jump_is_no_gap_and_a_time_in_which_the_controller_was_down_is_one(story: Story) -> None:
    story.begin().overdue().until(30 * DAY)
    assert reasons(story) == set()
    story.away(3 * HOUR)
    assert reasons(story) == {WaitReason.DOWNTIME}


@pytest.mark.parametrize("gap", [2 * DAY, -2 * DAY])
def test_a_jump_hides_no_clock_that_was_set(story: Story, gap: timedelta) -> None:
    story.begin().overdue().until(HOUR)
    story.clock.step = gap
    story.until(DAY)
    assert WaitReason.CLOCK in reasons(story)


def reasons(story: Story) -> set[WaitReason]:
    with story.it.db.read() as conn:
        return set(settings.waits(conn))
