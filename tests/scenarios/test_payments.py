"""Payments at every awkward moment, whichever document stops and ends a service: at each point of the job, and across a crash.

What can be taken back is told in one story, in which the next invoice falls due again and again. Every point is enterpage's,
whose document comes first, in the whole matrix; in ``make test`` a few of them. So have the others, whose jobs are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.domain.intents import IntentKind
from orchestrator.domain.jobs import Job
from tests.scenarios.acts import doomed, is_let_end, owed
from tests.scenarios.story import DAY, HOUR, Story

Some = Callable[[tuple[str, ...]], tuple[str, ...]]
FEW = 4  # every fourth point: before, during and after in turn
LATE = "Billing & Payment, Keterlambatan"
STOPS = [("enterpage", LATE), ("tnet", LATE), ("masternet", "Hak 10")]
ENDS = [("enterpage", LATE), ("tnet", LATE), ("masternet", "Hak 7"), ("zettagrid", "4.8.1 b")]


def points(playbook: str, **steps: str) -> tuple[str, ...]:
    return tuple(f"{playbook}/{step}/{when}" for step, whens in steps.items() for when in whens.split())


EACH = "before during after"
SUSPENDING = points("vps-suspend", hold=EACH, stop=EACH, prove=EACH)
# Steps that have nothing to do, because the guest is off already, or that only look, are not passed in the middle.
TO_THE_WIPE = points(
    "vps-terminate", alone="before after", hold=EACH, stop="before after", record="before after", undefine=EACH, wipe="before"
)
FROM_THE_WIPE = points(
    "vps-terminate", wipe="during after", backups="before after", residue=EACH, certificate=EACH, capacity=EACH, addresses=EACH
)


@pytest.fixture
def some(story: Story, whole_matrix: bool) -> Some:
    """The points that are this provider's: the last one, after which it is too late, is everybody's."""
    if story.provider != "enterpage":
        return lambda every: (every[1], every[-1])
    return lambda every: every if whole_matrix else (*every[:-1:FEW], every[-1])


class Watched(Story):
    """It writes down which points of a playbook's steps were passed."""

    def __init__(self, directory: Path, provider: str) -> None:
        self.passed_by: list[str] = []
        super().__init__(directory, provider)

    def at(self, point: str) -> None:
        self.passed_by.append(point)
        super().at(point)


def test_these_are_all_the_points_that_there_are(tmp_path: Path) -> None:
    story = Watched(tmp_path / "state", "enterpage")
    story.begin().overdue()
    doomed(story)
    is_let_end(story)
    story.close()
    mine = [point for point in story.passed_by if point.startswith(("vps-suspend/", "vps-terminate/"))]
    assert [point for point in mine if "/finish/" not in point] == [*SUSPENDING, *TO_THE_WIPE, *FROM_THE_WIPE]


def suspended(story: Story) -> None:
    """Nobody pays, until its suspension has been carried out."""
    story.until(2 * DAY + HOUR)
    if story.waits:
        story.agrees()


def last(story: Story, intent: IntentKind) -> Job:
    return [job for job in story.it.jobs("s1") if job.intent == intent][-1]


def runs(story: Story) -> None:
    """It runs, is held for nothing, and nobody was told that a payment came too late, nor asked for a fee."""
    assert (story.passed, story.state, story.service.holds, story.waits) == (True, "active", (), "")
    assert (story.told("payment."), owed(story)) == ([], [])


# -- while it is suspended ------------------------------------------------------------


@pytest.mark.parametrize(("provider", "clause"), STOPS)
def test_who_pays_at_any_point_of_the_suspension_runs_again(story: Story, some: Some, clause: str) -> None:
    story.begin().running()
    for point in some(SUSPENDING):
        story.owes()
        story.pays_at(point, days=0)
        suspended(story)
        assert clause in last(story, IntentKind.SUSPEND).reason
        runs(story)


@pytest.mark.parametrize(("provider", "clause"), STOPS)
def test_a_controller_that_dies_at_any_point_of_the_suspension_has_suspended_when_it_is_back(
    story: Story, some: Some, clause: str
) -> None:
    story.begin().running()
    for point in some(SUSPENDING):
        story.owes()
        story.dies_at(point)
        suspended(story)
        assert clause in last(story, IntentKind.SUSPEND).reason
        assert (story.passed, story.state) == (True, "active, suspended"), point
        assert story.service.suspension_proven_at is not None
        story.pays(days=0)
        runs(story)


@pytest.mark.parametrize(("provider", "clause"), STOPS)
def test_who_pays_as_the_controller_dies_at_any_point_of_the_suspension_runs_again(story: Story, some: Some, clause: str) -> None:
    story.begin().running()
    for point in some(SUSPENDING):
        story.owes()
        story.pays_and_it_dies_at(point, days=0)
        suspended(story)
        assert clause in last(story, IntentKind.SUSPEND).reason
        runs(story)


# -- while it is terminated ------------------------------------------------------------


@pytest.mark.parametrize(("provider", "clause"), ENDS)
def test_who_pays_at_any_point_of_the_termination_up_to_the_wipe_keeps_it(story: Story, some: Some, clause: str) -> None:
    story.begin().running()
    for point in some(TO_THE_WIPE):
        story.owes()
        doomed(story)
        story.pays_at(point, days=0)
        is_let_end(story)
        assert clause in last(story, IntentKind.TERMINATE).reason
        runs(story)
    assert story.told("certificate.") == []


@pytest.mark.parametrize(("provider", "clause"), ENDS)
def test_who_pays_as_the_controller_dies_up_to_the_wipe_keeps_it(story: Story, some: Some, clause: str) -> None:
    story.begin().running()
    for point in some(TO_THE_WIPE):
        story.owes()
        doomed(story)
        story.pays_and_it_dies_at(point, days=0)
        is_let_end(story)
        assert clause in last(story, IntentKind.TERMINATE).reason
        runs(story)
    assert story.told("certificate.") == []


def is_gone(story: Story) -> None:
    """It was erased once, and whoever paid is told that it was too late."""
    assert (story.passed, story.state, story.service.holds) == (True, "erased", ())
    assert (story.told("payment."), story.told("certificate.")) == (["payment.too_late"], ["certificate.issued"])


TOO_LATE = [
    *(
        pytest.param("enterpage", LATE, point, marks=() if number % FEW == 0 else pytest.mark.rare)
        for number, point in enumerate(FROM_THE_WIPE)
    ),
    *((*end, "vps-terminate/wipe/during") for end in ENDS[1:]),
]


@pytest.mark.parametrize(("provider", "clause", "point"), TOO_LATE)
def test_who_pays_from_the_wipe_on_is_told_too_late(story: Story, clause: str, point: str) -> None:
    story.begin().overdue()
    doomed(story)
    story.pays_at(point)
    is_let_end(story)
    assert clause in story.last.reason
    is_gone(story)


@pytest.mark.parametrize("point", ["vps-terminate/wipe/during", "vps-terminate/certificate/during"])
@pytest.mark.parametrize(("provider", "clause"), ENDS)
def test_who_pays_as_the_controller_dies_from_the_wipe_on_is_told_too_late_when_it_is_back(
    story: Story, clause: str, point: str
) -> None:
    story.begin().overdue()
    doomed(story)
    story.pays_and_it_dies_at(point)
    is_let_end(story)
    assert clause in story.last.reason
    is_gone(story)


# -- before anything is done ------------------------------------------------------------


@pytest.mark.parametrize(("provider", "clause"), ENDS)
def test_who_pays_while_somebody_is_asked_keeps_it(story: Story, clause: str) -> None:
    """While billing is, and, where the text only says that it may be ended, while an operator is."""
    story.begin().overdue()
    doomed(story)
    assert clause in story.last.reason
    story.pays(days=0)
    runs(story)
    story.owes()
    doomed(story)
    story.confirms()
    if not story.waits:
        return
    story.pays(days=0)
    runs(story)


@pytest.mark.parametrize(("provider", "clause"), ENDS)
def test_who_pays_shortly_before_its_termination_is_asked_for_is_never_asked_about(story: Story, clause: str) -> None:
    story.begin().overdue()
    doomed(story)
    assert clause in story.last.reason
    took = last(story, IntentKind.TERMINATE).created_at - story.day0
    story.pays(days=0)
    ended = story.done.count("terminate")
    story.owes()
    suspended(story)
    story.until(took - 2 * HOUR)  # the first was asked for at a look up to an hour later
    story.pays(days=0)
    story.until(took + DAY)
    assert story.done.count("terminate") == ended
    runs(story)
