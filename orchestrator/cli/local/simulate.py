"""orchestrator simulate: a fleet's year under a policy, on a virtual clock."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.local.place import config_dir
from orchestrator.cli.output import emit_json, say, table
from orchestrator.cli.tables import Column, Kind
from orchestrator.cli.times import Day
from orchestrator.config.units import parse_duration

if TYPE_CHECKING:
    from orchestrator.domain.calendar import Calendar
    from orchestrator.domain.policies import Policy
    from orchestrator.domain.simulation.report import PaidWipe, Report
    from orchestrator.domain.simulation.scenario import Outage, Scenario

_NOT_FLAWLESS = 3
_SHOWN = 5
_MOST_DAYS = 3660
_YEARS = range(2000, 2081)
_COLUMNS: tuple[Column, ...] = (
    Column("WHAT", "what", Kind.ID),
    Column("IN ALL", "all"),
    Column("MOST", "most"),
    Column("FROM", "from", Kind.TIME),
)


class Chance(click.ParamType[float]):
    """``1%``, ``0.5%``, ``0.01``."""

    name = "chance"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        text = str(value)
        try:
            found = float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            found = -1.0
        if not 0 <= found <= 1:
            self.fail(f"'{text[:40]}' is no chance: write such as 1% or 0.01", param, ctx)
        return found


class Span(click.ParamType[timedelta]):
    """``4h``, ``7d``, ``90m``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as wrong:
            self.fail(str(wrong), param, ctx)


class Away(click.ParamType[tuple[int, timedelta]]):
    """``100:7d``: from the beginning of day 100, for 7 days."""

    name = "day:duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, timedelta]:
        if isinstance(value, tuple):
            return value
        day, _, length = str(value).partition(":")
        try:
            if not 0 <= int(day) <= _MOST_DAYS:
                raise ValueError
            return int(day), parse_duration(length)
        except ValueError:
            self.fail(f"'{str(value)[:40]}' is no outage: write such as 100:7d, a day and how long", param, ctx)


@click.command("simulate")
@click.option(
    "--policy", "named", required=True, metavar="NAME|FILE", help="A policy's name in the configuration, or its file (.yaml)."
)
@click.option(
    "--services",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    default=1000,
    show_default=True,
    help="How many customers order, a service each.",
)
@click.option(
    "--days", type=click.IntRange(1, _MOST_DAYS), metavar="N", default=365, show_default=True, help="How many days it lasts."
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    metavar="N",
    default=1,
    show_default=True,
    help="What chance starts from: the same seed is the same year.",
)
@click.option("--start", type=Day(), default="2026-01-01", show_default=True, help="The first day, of a year from 2000 to 2080.")
@click.option("--loss", type=Chance(), default="0", show_default=True, help="How many webhooks never come, such as 1% or 0.01.")
@click.option(
    "--late", type=Chance(), default="0", show_default=True, help="How many webhooks come up to three days late, such as 1%."
)
@click.option("--duplicates", type=Chance(), default="0", show_default=True, help="How many webhooks come twice, such as 2%.")
@click.option(
    "--outage",
    "outages",
    type=Away(),
    multiple=True,
    help="The controller is away: from which day on, and how long, such as 100:7d, 100:4h. May be repeated.",
)
@click.option(
    "--billing-outage",
    "billing_outages",
    type=Away(),
    multiple=True,
    help="Billing takes no messages: from which day on, and how long, such as 90:2d. May be repeated.",
)
@click.option(
    "--confirm-wait",
    type=Span(),
    default="3d",
    show_default=True,
    help="How long billing has to confirm a termination, such as 3d, 4h or 90m.",
)
@click.option("--unasked", is_flag=True, help="Billing cannot be asked: a person decides on each termination.")
@click.option(
    "--approve-after", type=Span(), default="4h", show_default=True, help="How long a person takes to decide, such as 4h."
)
@click.option(
    "--approve-unseen",
    "unseen",
    is_flag=True,
    help="The person lets through what billing did not confirm, without a look into its books. It shows what that costs.",
)
@click.option(
    "--reconcile-after",
    type=Span(),
    default="6h",
    show_default=True,
    help="How long after an outage somebody reconciles, such as 6h.",
)
@click.option(
    "--suspensions-per-hour",
    type=click.IntRange(0),
    metavar="N",
    default=20,
    show_default=True,
    help="The brake: more suspensions in an hour wait for a person.",
)
@click.option(
    "--terminations-per-hour",
    type=click.IntRange(0),
    metavar="N",
    default=5,
    show_default=True,
    help="The brake: more terminations in an hour wait for a person.",
)
@click.option(
    "--zone", default="Asia/Jakarta", show_default=True, help="The provider's time zone, by its name in the tz database."
)
@click.option(
    "--country",
    default="ID",
    show_default=True,
    help="The country, by its two letters, whose public holidays are no business days; '' for none.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole report, day by day.")
@click.pass_context
def simulate(context: click.Context, /, named: str, as_json: bool, zone: str, country: str, seed: int, **given: Any) -> None:
    """Run a fleet through a year under a policy, on a virtual clock: nothing real is touched, no controller is needed.

    Exit code 0 where nobody lost what was paid for and no deadline was missed, else 3.
    """
    from orchestrator.domain.simulation import run
    from orchestrator.domain.simulation.dice import Dice

    policy = _policy(context, named)
    scenario = _scenario(**given)
    calendar = _calendar(scenario, zone, country)
    with _progress(scenario.days) as progress:
        report = run.simulate(scenario, policy, calendar, Dice(seed), progress=progress)
    if as_json:
        emit_json({"policy": policy.name, "services": scenario.services, "days": scenario.days, "seed": seed} | report.as_json())
    else:
        _show(report, policy)
    if not report.flawless:
        raise Failure(_verdict(report), hint=_hint(report), exit_code=_NOT_FLAWLESS)


def _policy(context: click.Context, named: str) -> Policy:
    from orchestrator.config.policy_reading import load_policy

    path = Path(named)
    if path.suffix in (".yaml", ".yml") or "/" in named:
        return load_policy(path)
    return load_policy(config_dir(context) / "policies" / f"{named}.yaml")


def _scenario(
    *,
    services: int,
    days: int,
    start: date,
    loss: float,
    late: float,
    duplicates: float,
    outages: tuple[tuple[int, timedelta], ...],
    billing_outages: tuple[tuple[int, timedelta], ...],
    confirm_wait: timedelta,
    unasked: bool,
    approve_after: timedelta,
    unseen: bool,
    reconcile_after: timedelta,
    suspensions_per_hour: int,
    terminations_per_hour: int,
) -> Scenario:
    from orchestrator.domain.brakes import BrakeLimits
    from orchestrator.domain.simulation.scenario import Network, Scenario

    if start.year not in _YEARS:
        raise Failure(f"--start lies in a year from {_YEARS[0]} to {_YEARS[-1]}", exit_code=2)
    begins = datetime.combine(start, time(), UTC)
    return Scenario(
        services=services,
        start=begins,
        days=days,
        network=Network(lost=loss, late=late, doubled=duplicates),
        outages=_outages(begins, outages),
        billing_outages=_outages(begins, billing_outages),
        limits=BrakeLimits(suspensions_per_hour=suspensions_per_hour, terminations_per_hour=terminations_per_hour),
        confirm_wait=None if unasked else confirm_wait,
        approve_after=approve_after,
        unseen=unseen,
        reconcile_after=reconcile_after,
    )


def _outages(start: datetime, wanted: tuple[tuple[int, timedelta], ...]) -> tuple[Outage, ...]:
    from orchestrator.domain.simulation.scenario import DAY, Outage

    found = tuple(
        sorted((Outage(start + day * DAY, start + day * DAY + length) for day, length in wanted), key=lambda o: o.start)
    )
    for one, next_one in pairwise(found):
        if next_one.start <= one.end:
            raise Failure("two outages overlap: write them as one", exit_code=2)
    return found


def _calendar(scenario: Scenario, zone: str, country: str) -> Calendar:
    from zoneinfo import ZoneInfo, available_timezones

    from orchestrator.domain.calendar import Calendar
    from orchestrator.drivers.local.holidays import public_holidays

    if zone not in available_timezones():
        raise Failure(f"'{zone[:60]}' is no time zone", hint="write such as Asia/Jakarta", exit_code=2)
    years = range(scenario.start.year, scenario.end.year + 2)
    return Calendar(ZoneInfo(zone), public_holidays(country, years) if country else frozenset())


@contextmanager
def _progress(days: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _day: None
        return
    with click.progressbar(length=days, label="days", file=sys.stderr) as bar:
        yield lambda _day: bar.update(1)


def _show(report: Report, policy: Policy) -> None:
    peaks = report.peaks()
    rows = [
        {
            "what": what,
            "all": str(count),
            "most": f"{peaks[what]['count']} in {peaks[what]['within']}",
            "from": f"{peaks[what]['from'][:16].replace('T', ' ')}Z",
        }
        for what, count in sorted(report.totals.items())
    ]
    table(_COLUMNS, rows, empty="nothing happened")
    say()
    states = ", ".join(f"{count} {word}" for word, count in sorted(report.states.items()))
    say(f"services at the end, as the records of policy {policy.name} have them: {states or 'none'}")
    say(f"webhooks lost: {report.lost}")
    say(f"payments for what was gone already: {report.too_late}")
    say(f"paid orders cancelled as unpaid: {report.paid_orders_cancelled}")
    say(f"most jobs that waited for approval at once: {report.most_waiting}")
    say(f"paid only after billing had let it go: {len(report.paid_after_the_word)}")
    _show_wipes(report.paid_after_the_word)
    say(f"wrong wipes: {len(report.wrong_wipes)}")
    _show_wipes(report.wrong_wipes)
    say(f"missed deadlines: {len(report.missed)}")
    for missed in report.missed[:_SHOWN]:
        say(f"  {missed.service_id}: {missed.action} was possible at {_minute(missed.possible)}, found at {_minute(missed.seen)}")


def _show_wipes(cases: Sequence[PaidWipe]) -> None:
    for case in cases[:_SHOWN]:
        why = "a webhook of it was still under way" if case.under_way else "no webhook of it was under way"
        say(f"  {case.service_id} at {_minute(case.at)}, paid until {_minute(case.paid_until)}; {why}")


def _minute(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%MZ")


def _verdict(report: Report) -> str:
    return f"wrong wipes: {len(report.wrong_wipes)}, missed deadlines: {len(report.missed)}"


def _hint(report: Report) -> str:
    if not report.wrong_wipes:
        return ""
    return "a payment that never came was taken for none: nothing may be destroyed without a look into billing's own books"
