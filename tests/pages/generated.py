"""Every file of docs/ that is made from code, with the content it ought to have."""

from __future__ import annotations

from pathlib import Path

from tests.pages import event, lifecycle

DOCS = Path(__file__).parents[2] / "docs"
MARKS = ("<!-- generated from TRANSITIONS by `python -m tests.pages` -->", "<!-- end -->")


def generated() -> dict[Path, str]:
    """By path. A page that is only partly generated is returned whole, with that part renewed."""
    page = DOCS / "lifecycle.md"
    return {
        DOCS / "event.svg": event.picture(),
        DOCS / "lifecycle.svg": lifecycle.picture(),
        page: between(page.read_text(encoding="utf-8"), lifecycle.table()),
    }


def between(text: str, content: str) -> str:
    """The text with ``content`` between the two marks. Raises ValueError where a mark is missing."""
    start, end = MARKS
    before, found, rest = text.partition(start)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise ValueError("the page has lost the marks between which it is generated")
    return f"{before}{start}\n{content}\n{end}{after}"
