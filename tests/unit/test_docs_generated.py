"""What the pages draw from the code is as the code is now."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import pytest

from orchestrator.domain.intents import JobState, StepState
from orchestrator.domain.services import TRANSITIONS, HoldEffect, HoldReason, Lifecycle
from tests.pages import lifecycle
from tests.pages.generated import DOCS, between, generated

GENERATED = generated()


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_a_generated_page_is_not_stale(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == GENERATED[path], "run: .venv/bin/python -m tests.pages"


def test_the_picture_shows_every_state_and_every_transition() -> None:
    drawn = lifecycle.picture()
    assert all(f">{state}<" in drawn for state in Lifecycle)
    assert drawn.count('class="dot"') == drawn.count("marker-end") == len(TRANSITIONS)


def test_the_table_names_every_transition_once() -> None:
    rows = lifecycle.table().splitlines()[2:]
    assert len(rows) == len(TRANSITIONS)
    for (start, cause), end in TRANSITIONS.items():
        assert sum(f"| {start} | {cause} | {end} |" in row for row in rows) == 1


@pytest.mark.parametrize("words", [Lifecycle, HoldReason, HoldEffect, JobState, StepState])
def test_the_page_of_the_lifecycle_explains_every_word(words: type[StrEnum]) -> None:
    page = (DOCS / "lifecycle.md").read_text(encoding="utf-8")
    first_cells = {word for row in re.findall(r"^\| ([a-z_, -]+) \|", page, re.MULTILINE) for word in row.split(", ")}
    assert {word.value for word in words} <= first_cells


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.DONE])
def test_the_operators_manual_says_what_to_do_in_every_state_of_a_job(state: JobState) -> None:
    assert re.search(rf"^### {state}$", (DOCS / "operate.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_a_page_without_its_marks_is_not_written_over() -> None:
    with pytest.raises(ValueError, match="marks"):
        between("nothing to see", "new")
