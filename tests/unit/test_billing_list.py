"""Billing's own list as text: three ways to write it, and every row that cannot be used by its line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.billing_list import SHOWN_PROBLEMS, parse
from orchestrator.domain.errors import RequestError
from orchestrator.domain.reconciliation import BillingState, Entry

JAN = datetime(2027, 1, 1, tzinfo=UTC)
EXPECTED = (
    Entry(service_id="vps-1", paid_until=JAN, state=BillingState.ACTIVE),
    Entry(service_id="vps-2", paid_until=None, state=BillingState.SUSPENDED),
)
ARRAY = """[
  {"service": "vps-1", "paid_until": "2027-01-01T07:00:00+07:00", "state": "active"},
  {"service": "vps-2", "paid_until": null, "state": "suspended"}
]
"""
LINES = """{"service": "vps-1", "paid_until": "2027-01-01T00:00:00Z", "state": "active"}

{"service": "vps-2", "paid_until": null, "state": "suspended"}
"""
CSV = "service,paid_until,state\nvps-1,2027-01-01T00:00:00Z,active\nvps-2,,suspended\n"


@pytest.mark.parametrize(
    "text",
    [
        ARRAY,
        LINES,
        CSV,
        "\n " + ARRAY,
        "\ufeff" + CSV,
        CSV.replace("\n", "\r\n"),
        LINES.replace("\n", "\r\n"),
        'state,service,paid_until\n"active","vps-1",2027-01-01T00:00:00Z\n\nsuspended , vps-2, \n',
        ARRAY.replace("\n", ""),
    ],
)
def test_the_same_list_in_every_way(text: str) -> None:
    assert parse(text.encode()) == EXPECTED


def problems(text: str | bytes) -> list[tuple[str, str]]:
    with pytest.raises(RequestError) as caught:
        parse(text if isinstance(text, bytes) else text.encode())
    found: list[dict[str, Any]] = caught.value.details["problems"]
    assert caught.value.message == f"the list cannot be used: {found[0]['path']}: {found[0]['sentence']}"
    assert "nothing was changed" in caught.value.hint
    return [(problem["path"], problem["sentence"]) for problem in found]


GOOD = '{"service": "vps-1", "paid_until": null, "state": "active"}'


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{"service": "a b", "paid_until": null, "state": "active"}', "service: 1 to 48 letters"),
        ('{"service": 7, "paid_until": null, "state": "active"}', "service: 1 to 48 letters"),
        ('{"service": "a", "paid_until": null, "state": "actve"}', "state: 'actve' is none of pending, active"),
        ('{"service": "a", "paid_until": null, "state": null}', "state: None is none of"),
        ('{"service": "a", "paid_until": "", "state": "active"}', "paid_until: a time in ISO 8601"),
        ('{"service": "a", "paid_until": "2027-01-01", "state": "active"}', "with a zone"),
        ('{"service": "a", "paid_until": "tomorrow", "state": "active"}', "with a zone"),
        ('{"service": "a", "paid_until": 1800000000, "state": "active"}', "with a zone"),
        ('{"service": "a", "paid_until": "0001-01-01T00:00:00+14:00", "state": "active"}', "between the years 1970 and 9000"),
        ('{"service": "a", "paid_untill": null, "state": "active"}', "no field 'paid_untill'; did you mean 'paid_until'?"),
        ('{"service": "a", "paid_until": null}', "state is missing"),
        ('{"service": "a", "service": "b", "paid_until": null, "state": "active"}', "a member is named twice"),
        ('{"service": "a", "paid_until": NaN, "state": "active"}', "NaN is not JSON"),
        ('{"service": "vps-1", "paid_until": null, "state": "active"}', "service vps-1 is in the list twice"),
        ("[]", "a row is an object"),
    ],
)
def test_a_bad_row_is_named_by_its_line(row: str, words: str) -> None:
    for text in (f"[\n{GOOD},\n{row}\n]", f"\n{GOOD}\n{row}\n"):
        ((line, sentence),) = problems(text)
        assert line == "line 3"
        assert words in sentence


def test_every_bad_row_is_named_and_none_is_left_to_be_found_at_the_second_try() -> None:
    found = problems("service,paid_until,state\na,,active\nb,soon,active\nc,,gone\nd\ne,,active\na,,active\n")
    assert [line for line, _ in found] == ["line 3", "line 4", "line 5", "line 7"]
    assert "1 columns instead of 3" in found[2][1]


def test_of_very_many_bad_rows_the_first_are_named_and_the_others_counted() -> None:
    found = problems("service,paid_until,state\n" + "x y,,active\n" * (SHOWN_PROBLEMS + 7))
    assert len(found) == SHOWN_PROBLEMS + 1
    assert found[-1] == ("and more", "7 more rows cannot be used")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", "line 1", "names the columns: service,paid_until,state"),
        ("[]", "line 1", "the list has no rows"),
        ("service,paid_until,state\n", "line 1", "the list has no rows"),
        ("id,paid_until,state\nvps-1,,active\n", "line 1", "names the columns"),
        ("service,paid_until,state,notes\nvps-1,,active,x\n", "line 1", "names the columns"),
        ('service,paid_until,state\n"vps-1"x,,active\n', "line 2", "not CSV"),
        (f"[{GOOD},\n{GOOD.replace('1', '2')},\n]", "line 3", "not JSON"),
        (f"[{GOOD}\n{GOOD}]", "line 2", "a comma or the end of the array"),
        (f"[{GOOD}]\n[]", "line 2", "behind the end"),
        (f"[{GOOD}", "line 1", "a comma or the end of the array"),
        ("[" * 100_000, "line 1", "not JSON"),
        ('{"service": ' + "9" * 5000 + "}", "line 1", "not JSON"),
        (b"service,paid_until,state\nvps-1,,active\n\xff,,active\n", "line 3", "not UTF-8"),
        ("<html>", "line 1", "names the columns"),
    ],
)
def test_what_is_no_list(text: str | bytes, line: str, words: str) -> None:
    found = problems(text)
    assert found[0][0] == line
    assert words in found[0][1]


anything = st.binary(max_size=200) | st.text(max_size=200).map(str.encode)
pieces = st.text('[]{},"service:\n ', max_size=60).map(str.encode)


@given(body=anything | pieces)
def test_whatever_comes_is_read_or_refused_in_words_that_any_terminal_can_show(body: bytes) -> None:
    try:
        parse(body)
    except RequestError as exc:
        said = [exc.message, *(problem["sentence"] for problem in exc.details["problems"])]
        assert all(words.isascii() and words.isprintable() for words in said)
