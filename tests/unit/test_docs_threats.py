"""The threat model claims nothing without a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "threats.md").read_text(encoding="utf-8")
CLAIMED = PAGE.partition("## What is claimed")[2].partition("## What is not claimed")[0]


def claims() -> list[str]:
    """Each point of the list, in one line."""
    return [" ".join(point.split()) for point in re.split(r"(?m)^- ", CLAIMED)[1:]]


def there() -> set[str]:
    """The name of every test."""
    return {
        node.name
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_claim_names_its_tests() -> None:
    assert len(claims()) > 40
    assert [claim for claim in claims() if not re.search(r"`test_\w+`", claim)] == []


def test_every_test_that_is_named_is_there() -> None:
    assert set(re.findall(r"`(test_[a-z]\w+)`", CLAIMED)) - there() == set()
