"""Which points of a job ``make test`` strikes of all those that there are."""

from __future__ import annotations

import pytest

from tests.fault.striking import FEW, failing_points, sample, some
from tests.fault.test_account_crashes import BOOKS as ACCOUNTS
from tests.fault.test_crashes import BOOKS as GUESTS
from tests.fault.test_machine_crashes import BOOKS as MACHINES

MOMENTS = ("before", "during", "after")
BOOKS = {**GUESTS, **ACCOUNTS, **MACHINES}


def passed(book: str) -> list[str]:
    """The points of a job that finds everything to be done, and is begun anew once, as far as its second step."""
    every = [f"{book}/{step.id}/{moment}" for step in BOOKS[book].steps for moment in MOMENTS]
    return [*every[:6], *every]


@pytest.mark.parametrize("book", [name for name, book in BOOKS.items() if len(book.steps) >= FEW])
def test_each_playbook_is_struck_at_its_first_and_its_last_step_and_before_in_and_after_an_act(book: str) -> None:
    struck = sample(passed(book), most=FEW)
    steps = [point.split("/")[1] for point in struck]
    assert (steps[0], steps[-1], len(set(steps))) == (BOOKS[book].steps[0].id, BOOKS[book].steps[-1].id, FEW)
    assert [point.split("/")[2] for point in struck] == list(MOMENTS)


@pytest.mark.parametrize(("length", "most", "steps"), [(1, 3, [0]), (2, 3, [0, 1]), (5, 3, [0, 2, 4]), (5, 16, [0, 1, 2, 3, 4])])
def test_of_few_steps_each_is_struck_and_of_many_they_lie_evenly(length: int, most: int, steps: list[int]) -> None:
    points = [f"book/{number}/{moment}" for number in range(length) for moment in MOMENTS]
    assert [int(point.split("/")[1]) for point in sample(points, most=most)] == steps


def test_what_is_struck_in_its_act_is_no_mere_check() -> None:
    points = [f"book/{step}/{moment}" for step in ("a", "check", "c", "look", "e") for moment in MOMENTS]
    mere = [point for point in points if not point.endswith(("check/during", "look/during", "e/during"))]
    assert sample(mere, most=FEW) == ["book/a/before", "book/c/during", "book/e/after"]


def test_in_the_whole_matrix_every_point_is_struck_once() -> None:
    points = passed("vps-provision")
    assert some(points, whole=True) == list(dict.fromkeys(points))
    undoing = {point.split("/")[1] for point in failing_points(GUESTS["vps-provision"], whole=True)}
    assert len(undoing) > 1
    assert len(failing_points(GUESTS["vps-provision"], whole=False)) == 2
