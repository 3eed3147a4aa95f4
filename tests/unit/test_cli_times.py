"""Times and days after an option: what is accepted, and that a wrong one is refused by the name that was typed."""

from __future__ import annotations

from datetime import date

import click
import pytest

from orchestrator.cli.main import cli
from orchestrator.cli.times import Day, Moment
from tests.commands import options
from tests.served import process

# Everything that an option for a time or a day is called here.
NAMES = {"--since", "--until", "--received", "--issued", "--at", "--on", "--start", "--from", "--to", "--before", "--after-time"}


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("2026-12-01T09:00+07:00", "2026-12-01T09:00:00+07:00"),
        ("2026-12-01T02:00Z", "2026-12-01T02:00:00+00:00"),
        ("2026-12-01 02:00:00Z", "2026-12-01T02:00:00+00:00"),  # as our tables show it
        (" 2026-12-01t02:00:00.5z ", "2026-12-01T02:00:00.500000+00:00"),
    ],
)
def test_a_time_with_its_zone_is_taken_as_it_is_written(typed: str, sent: str) -> None:
    assert Moment().convert(typed, None, None) == sent
    assert Moment().convert(sent, None, None) == sent


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("tomorrow", "'tomorrow' is no time: write such as 2026-12-01T09:00+07:00"),
        ("", "'' is no time"),
        ("2026-13-01T00:00Z", "'2026-13-01T00:00Z' is no time"),
        ("2026-12-01", "'2026-12-01' has no zone: write such as 2026-12-01T00:00+07:00, or 2026-12-01T00:00Z"),
        ("2026-12-01T09:30", "write such as 2026-12-01T09:30+07:00"),
        ("9999-12-31T23:59:59-12:00", "not between the years 1970 and 9000"),
        ("x\x1b[2J" + "y" * 99, "'x\\x1b[2J" + "y" * 35 + "…' is no time"),
    ],
)
def test_what_is_no_time_with_a_zone_is_refused_with_what_is_one(typed: str, words: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        Moment().convert(typed, None, None)
    assert words in caught.value.message


def test_a_day_is_a_day_and_nothing_else() -> None:
    assert Day().convert("2026-12-31", None, None) == date(2026, 12, 31)
    for typed in ("2026-02-29", "31.12.2026", "2026-12-31T00:00Z", "0900-01-01", ""):
        with pytest.raises(click.BadParameter, match="write such as 2026-12-01"):
            Day().convert(typed, None, None)


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("service", "hold", "a", "--reason", "legal", "--effect", "no-erase", "--why", "x", "--until", "soon"), "--until"),
        (("service", "report", "a", "abuse", "--why", "x", "--received", "soon"), "--received"),
        (("service", "dispute", "a", "--invoice", "1", "--why", "x", "--issued", "soon"), "--issued"),
        (("service", "cancel", "a", "--why", "x", "--on", "soon"), "--on"),
        (("charge", "list", "--since", "soon"), "--since"),
        (("simulate", "--policy", "a", "--start", "soon"), "--start"),
    ],
)
def test_the_refusal_names_the_option_what_was_given_and_what_is_accepted(words: tuple[str, ...], option: str) -> None:
    done = process(*words)
    assert done.returncode == 2
    assert f"Invalid value for '{option}': 'soon' is no " in done.stderr
    assert "write such as 2026-12-01" in done.stderr


def test_no_command_takes_a_time_or_a_day_in_another_way() -> None:
    found = {}
    for path, option in options(cli):
        if isinstance(option.type, Moment | Day):
            found[path, option.opts[0]] = option
            continue
        assert not isinstance(option.type, click.DateTime), (path, option.opts)
        assert not NAMES & set(option.opts) or option.metavar == "NODE", (path, option.opts)  # where to, not until when
        assert option.metavar not in ("TIME", "DATE", "DAY"), (path, option.opts)
    assert len(found) >= 6
    for (path, name), option in found.items():
        assert option.default is not None or "20" in (option.help or ""), (path, name, "its help shows one")
