"""How tables fit a terminal: ids stay whole, the rest gives way, and what finds no room stands beneath its row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli import output
from orchestrator.cli.remote import charge, forecast, job, service
from orchestrator.cli.tables import Column, Kind, cells, lay_out, wrapped

JOBS = (
    Column("JOB", "id", Kind.ID),
    Column("STATE", "state"),
    Column("CREATED", "at", Kind.TIME, spare=1),
    Column("ASKED BY", "by", spare=3),
    Column("HOSTNAME", "host", spare=2),
    Column("NOTE", "note", Kind.PROSE),
)
ROW = ["j1m7xemkrzw951vy", "waiting_approval", "2026-11-20 21:43:42Z", "unix:somebody", "", "more than 1 suspension in an hour"]


def test_everything_is_shown_where_there_is_room() -> None:
    lines = lay_out(JOBS, [ROW], 200)
    assert len(lines) == 2
    assert all(cell in lines[1] for cell in ROW)


def test_columns_narrow_first_and_are_put_beneath_by_their_worth() -> None:
    lines = lay_out(JOBS, [ROW], 69)
    assert "CREATED" in lines[0]
    assert not any("hostname" in line.lower() for line in lines), "the empty one goes unsaid"
    assert lines[1].startswith("j1m7xemkrzw951vy  waiting")
    assert "…" in lines[1]
    assert max(map(cells, lines)) <= 69
    assert lines[-1] == "    asked by: unix:somebody"
    assert [line for line in lines if line.endswith("hour")], "prose is wrapped and whole"
    lines = lay_out(JOBS, [ROW], 50)
    assert "CREATED" not in lines[0]
    assert lines[-2:] == ["    created: 2026-11-20 21:43:42Z", "    asked by: unix:somebody"], "in the order of the columns"


def test_what_stands_beneath_shares_a_line_while_there_is_room_and_goes_on_further_in() -> None:
    columns = (Column("ID", "id", Kind.ID), *(Column(name, name, Kind.PROSE, spare=n) for n, name in enumerate("ABC", 1)))
    row = ["x" * 30, "one two three four", "short", "a sentence that is by far too long for it"]
    assert lay_out(columns, [row, ["y", "", "", ""]], 31)[1:] == [
        "x" * 30,
        "    a: one two three four",
        "    b: short",
        "    c: a sentence that is",
        "        by far too long for it",
        "y",
    ]
    assert "    a: one two three four  b: short" in lay_out(columns, [row], 40)


FORECAST = {
    "at": "2026-12-05T00:00:00Z",
    "service_id": "svc-1001",
    "action": "notice-terminate",
    "client_id": "c-17",
    "plan": "vps-small",
    "policy": "tnet",
    "reason": "invoice 2026-11-05 is unpaid for 14 days",
    "clause": "tnet: 4.5 Terminasi",
    "waits": "a notice of 3 days; no hold that forbids it",
    "asks": True,
    "confirms": True,
}
JOB = {
    "id": "j1m7xemkrzw951vy",
    "service_id": "svc-1001",
    "intent": "terminate",
    "state": "waiting_approval",
    "run": 2,
    "created_at": "2026-12-05T00:00:00Z",
    "finished_at": "2026-12-06T00:00:00Z",
    "asked_by": "deadline terminate",
    "error": "",
    "approval_reason": "billing is asked to confirm until the eighth",
    "waits_for": None,
}
SERVICE = {
    "id": "svc-1001",
    "state": "active",
    "suspended": True,
    "limited": False,
    "suspension_proven_at": "2026-12-05T00:00:00Z",
    "limited_proven_at": None,
    "holds": [{"reason": "nonpayment", "effect": "stop"}],
    "plan": "vps-small",
    "node": "node-1",
    "client_id": "c-17",
    "hostname": "web.customer.example.com",
    "paid_until": "2026-12-05T00:00:00Z",
}
CHARGE = {
    "id": "ch-01J9ZK3M5N7P9Q",
    "service_id": "svc-1001",
    "kind": "reactivation",
    "amount": 150000,
    "open": True,
    "made_at": "2026-12-05T00:00:00Z",
    "reason": "reactivated after a termination for nonpayment [tnet: 4.6]",
}


@pytest.mark.parametrize("width", [60, 80, 100, 132])
@pytest.mark.parametrize(
    ("columns", "row"), [(forecast._ACTS, FORECAST), (job._LIST, JOB), (service._LIST, SERVICE), (charge._LIST, CHARGE)]
)
def test_no_list_loses_anything_but_the_seconds_of_a_time_on_a_narrow_terminal(
    columns: tuple[Column, ...], row: dict[str, Any], width: int
) -> None:
    values = [output._cell(row, column.field) for column in columns]
    lines = lay_out(columns, [values], width)
    assert max(map(cells, lines)) <= width
    found = " ".join(lines).split()
    for column, value in zip(columns, values, strict=True):
        wanted = value.split()[:1] if column.kind is Kind.TIME else value.split()
        assert set(wanted) <= set(found), column.heading


@pytest.mark.parametrize("width", range(20, 100))
def test_a_time_is_shortened_to_its_minute_or_its_day_and_never_cut(width: int) -> None:
    columns = (Column("ID", "id", Kind.ID), Column("CREATED", "at", Kind.TIME), Column("BY", "by", Kind.WORD))
    lines = lay_out(columns, [["j1", "2026-11-20 21:43:42Z", "somebody with a long name"]], width)
    time = lines[1][4:].split("  ")[0]
    assert time in ("2026-11-20 21:43:42Z", "2026-11-20 21:43Z", "2026-11-20")
    assert lines[1].startswith("j1")


def test_an_id_is_whole_even_where_it_is_wider_than_the_terminal() -> None:
    lines = lay_out((Column("ID", "id", Kind.ID), Column("WHAT", "what")), [["x" * 48, "something long"]], 20)
    assert "x" * 48 in lines[1]


CELL = st.text(alphabet="ab \u6f22\u0301", max_size=30).filter(lambda text: cells(text) <= 30)


@given(st.lists(st.lists(CELL, min_size=6, max_size=6), min_size=1, max_size=4), st.integers(62, 200))
def test_no_table_is_wider_than_its_terminal_nor_cuts_an_id(rows: list[list[str]], width: int) -> None:
    # An id of 30 cells, a state of 8 and prose of 20 stay beside each other, whatever the terminal: 62 with the gaps.
    for row in rows:
        row[5] = " ".join(row[5][at : at + 9] for at in range(0, len(row[5]), 9))  # no word wider than a column of prose
    lines = lay_out(JOBS, rows, width)
    assert max(map(cells, lines)) <= width
    for row in rows:
        assert any(line.startswith(row[0].rstrip(" ")) for line in lines)


def test_words_are_broken_at_blanks_only() -> None:
    assert wrapped("put it into /var/lib/orchestrator/pool now", 12) == ["put it into", "/var/lib/orchestrator/pool", "now"]
    assert wrapped("a\nb c", 80) == ["a", "b c"]
    assert wrapped("", 80) == [""]


def test_facts_as_a_phrase_leave_out_what_is_empty() -> None:
    facts = {"type": "order.paid", "detail": "", "counts": {"run": 1, "again": False}, "list": ["a", "b"], "none": None}
    assert output.phrase(facts) == "type order.paid, counts.run 1, counts.again no, list a, b"
