"""How tables fit a terminal: ids stay whole, the rest gives way, and what is left out is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli import output
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
    lines, left_out = lay_out(JOBS, [ROW], 200)
    assert len(lines) == 2
    assert all(cell in lines[1] for cell in ROW)
    assert not left_out


def test_columns_narrow_first_and_are_left_out_by_their_worth() -> None:
    lines, left_out = lay_out(JOBS, [ROW], 69)
    assert left_out == ["ASKED BY"], "the empty one goes unsaid"
    assert "HOSTNAME" not in lines[0]
    assert lines[1].startswith("j1m7xemkrzw951vy  waiting")
    assert "…" in lines[1]
    assert max(map(cells, lines)) <= 69
    lines, left_out = lay_out(JOBS, [ROW], 50)
    assert left_out == ["ASKED BY", "CREATED"]
    assert len(lines) > 2
    assert lines[-1].endswith("hour"), "prose is wrapped and whole"


@pytest.mark.parametrize("width", range(20, 100))
def test_a_time_is_shortened_to_its_minute_or_its_day_and_never_cut(width: int) -> None:
    columns = (Column("ID", "id", Kind.ID), Column("CREATED", "at", Kind.TIME), Column("BY", "by", Kind.WORD))
    lines, left_out = lay_out(columns, [["j1", "2026-11-20 21:43:42Z", "somebody with a long name"]], width)
    assert not left_out
    time = lines[1][4:].split("  ")[0]
    assert time in ("2026-11-20 21:43:42Z", "2026-11-20 21:43Z", "2026-11-20")
    assert lines[1].startswith("j1")


def test_an_id_is_whole_even_where_it_is_wider_than_the_terminal() -> None:
    lines, _ = lay_out((Column("ID", "id", Kind.ID), Column("WHAT", "what")), [["x" * 48, "something long"]], 20)
    assert "x" * 48 in lines[1]


CELL = st.text(alphabet="ab \u6f22\u0301", max_size=30)


@given(st.lists(st.lists(CELL, min_size=6, max_size=6), min_size=1, max_size=4), st.integers(60, 200))
def test_no_table_is_wider_than_its_terminal_nor_cuts_an_id(rows: list[list[str]], width: int) -> None:
    for row in rows:
        row[5] = " ".join(row[5][at : at + 9] for at in range(0, len(row[5]), 9))  # no word wider than a column of prose
    lines, _ = lay_out(JOBS, rows, width)
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
