"""The page of the steps names every step and every argument, and nothing that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.steps.registry import STEPS, arguments

PAGE = (Path(__file__).parents[2] / "docs" / "steps.md").read_text(encoding="utf-8")
ROWS = {m.group(1): m.group(0) for m in re.finditer(r"^\| `([a-z.-]+)`.*$", PAGE, re.MULTILINE)}


def test_every_step_has_a_row_and_every_row_a_step() -> None:
    assert set(ROWS) == set(STEPS)


@pytest.mark.parametrize("name", sorted(STEPS))
def test_the_row_of_a_step_names_its_arguments_and_what_it_is(name: str) -> None:
    takes = arguments()[name]
    cells = ROWS[name].split("|")
    assert set(re.findall(r"`([a-z0-9_]+)`", cells[2])) == takes.required | takes.optional
    assert ("destructive" in cells[1]) is takes.destructive
