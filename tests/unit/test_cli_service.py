"""What the command line says of a service's state: what is in force, and what is only on paper yet."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.cli.remote.service import _CARD, _LIST

STATE = next(column.field for column in _LIST if column.heading == "STATE")
MOMENT = "2026-11-20T12:00:00Z"
STOP, LIMIT = {"reason": "nonpayment", "effect": "stop"}, {"reason": "abuse", "effect": "limit"}


@pytest.mark.parametrize(
    ("holds", "suspended", "limited", "words"),
    [
        ([], "", "", "active"),
        ([STOP], "", "", "active, to be suspended"),
        ([STOP], MOMENT, "", "active, suspended"),
        ([], MOMENT, "", "active, to be resumed"),
        ([LIMIT], "", "", "active, to be limited (abuse)"),
        ([LIMIT], "", MOMENT, "active, limited (abuse)"),
        ([], "", MOMENT, "active, to be unlimited"),
        ([LIMIT, STOP], MOMENT, MOMENT, "active, suspended"),
        ([LIMIT], MOMENT, "", "active, to be resumed"),
    ],
)
def test_what_is_in_force_is_told_apart_from_what_is_to_be(
    holds: list[dict[str, str]], suspended: str, limited: str, words: str
) -> None:
    row: dict[str, Any] = {
        "state": "active",
        "holds": holds,
        "suspended": STOP in holds,
        "limited": LIMIT in holds,
        "suspension_proven_at": suspended or None,
        "limited_proven_at": limited or None,
    }
    assert callable(STATE)
    assert STATE(row) == words
    assert STATE(row | {"state": "erased"}) == "erased"


def test_a_field_of_a_service_is_shown_once() -> None:
    names = [name for name, _ in _CARD]
    assert sorted(set(names)) == sorted(names)
