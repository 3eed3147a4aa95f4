"""A file of ours that a page names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Pages name modules from the root or from the package.
BASES = (ROOT, ROOT / "orchestrator")
OURS = "orchestrator|tests|agents|playbooks|configs|api|cli|config|domain|drivers|engine|observe|ports|steps|store|wiring"
NAMED = re.compile(rf"`((?:{OURS})/[A-Za-z0-9_./-]*(?:/|\.(?:py|sh|yaml|md)))`")
# What the examples of docs/extend.md make.
MADE = {
    "orchestrator/steps/note.py",
    "orchestrator/drivers/spool/notifier.py",
    "orchestrator/api/resources/brakes.py",
    "orchestrator/cli/remote/brakes.py",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_files_that_a_page_names_exist(page: Path) -> None:
    named = set(NAMED.findall(page.read_text(encoding="utf-8")))
    assert [path for path in sorted(named - MADE) if not any((base / path).exists() for base in BASES)] == []


def test_files_are_found_in_a_page() -> None:
    assert NAMED.findall("see `steps/common.py`, `orchestrator/wiring/` and `x/y`") == ["steps/common.py", "orchestrator/wiring/"]
