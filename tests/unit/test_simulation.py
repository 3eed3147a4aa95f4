"""A fleet's year on the virtual clock: what is done when, that chance is repeatable, and that nobody who paid is wiped."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from orchestrator.config.policies import load_policies
from orchestrator.domain.brakes import BrakeLimits
from orchestrator.domain.calendar import Calendar, Days
from orchestrator.domain.confirmation import Confirmation
from orchestrator.domain.deadlines import Action
from orchestrator.domain.events import Event, EventType
from orchestrator.domain.policies import Archive, LatePayment, LatePaymentEffect
from orchestrator.domain.services import Service
from orchestrator.domain.simulation import scenario as settings
from orchestrator.domain.simulation.billing import habit
from orchestrator.domain.simulation.controller import Controller
from orchestrator.domain.simulation.dice import Dice
from orchestrator.domain.simulation.punctuality import Punctuality
from orchestrator.domain.simulation.report import Act, Report
from orchestrator.domain.simulation.run import simulate
from orchestrator.domain.simulation.scenario import DAY, HOUR, Habit, Network, Outage, Scenario
from orchestrator.domain.simulation.timeline import Timeline
from orchestrator.engine import due, mail
from orchestrator.engine.settings import EngineSettings

POLICIES = load_policies(Path(__file__).parents[2] / "configs" / "policies")
CALENDAR = Calendar(ZoneInfo("Asia/Jakarta"))
START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LOOSE = BrakeLimits(suspensions_per_hour=10_000, terminations_per_hour=10_000)
PROMPT = Network(delay=timedelta(0))
NEVER = {Habit.STOPS: 1.0}


def scenario(services: int = 60, *, habits: dict[Habit, float] | None = None, network: Network = PROMPT) -> Scenario:
    mixed = habits or {Habit.ON_TIME: 4, Habit.LATE: 3, Habit.STOPS: 1, Habit.DISPUTES: 1, Habit.TWICE: 1, Habit.ORDERS_ONLY: 1}
    return Scenario(services=services, start=START, habits=mixed, network=network, limits=LOOSE)


def year(wanted: Scenario, policy: str = "enterpage", *, seed: int = 1) -> tuple[Report, list[Act]]:
    acts: list[Act] = []
    return simulate(wanted, POLICIES[policy], CALENDAR, Dice(seed), watch=acts.append), acts


def of_each(acts: list[Act]) -> dict[str, list[tuple[str, datetime]]]:
    found: dict[str, list[tuple[str, datetime]]] = {}
    for act in acts:
        found.setdefault(act.service_id, []).append((act.what, act.at))
    return found


def terminations(acts: list[Act]) -> list[datetime]:
    return [act.at for act in acts if act.what == "terminate"]


def outcome(report: Report) -> tuple[dict[str, int], dict[str, int]]:
    """What was done and what is left, without how often was spoken of it."""
    return {what: count for what, count in report.totals.items() if what != "webhook"}, report.states


# Days from the suspension until the act, of who stops paying.
@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ("enterpage", [("suspend", 0), ("terminate", 7)]),
        ("tnet", [("suspend", 0), ("terminate", 7)]),
        ("zettagrid", [("notice-terminate", 0), ("terminate", 0)]),
        ("herza", []),
        ("masternet", [("suspend", 0), ("notice-terminate", 0), ("terminate", 1)]),
        (
            "default",
            [
                ("remind-suspend", -7),
                ("remind-suspend", -3),
                ("remind-suspend", -1),
                ("suspend", 0),
                ("notice-terminate", 23),
                ("remind-terminate", 27),
                ("remind-terminate", 29),
                ("terminate", 30),
            ],
        ),
    ],
)
def test_who_stops_paying_is_dealt_with_as_the_policy_says(policy: str, wanted: list[tuple[str, int]]) -> None:
    at_once = replace(scenario(12, habits=NEVER), days=480, approve_after=timedelta(0))
    report, acts = year(at_once, policy)
    assert report.flawless
    deadlines = {"suspend", "terminate", "notice-terminate", "remind-suspend", "remind-terminate"}
    for story in of_each(acts).values():
        late = [(what, at) for what, at in story if what in deadlines]
        first = next((at for what, at in late if what in ("suspend", "terminate")), START)
        assert [(what, round((at - first) / DAY)) for what, at in late] == wanted
        assert all(abs((at - first) - round((at - first) / DAY) * DAY) < timedelta(minutes=30) for _, at in late)
    assert len(of_each(acts)) == 12


def test_suspended_on_the_second_day_after_the_due_date_and_terminated_on_the_ninth() -> None:
    _, acts = year(replace(scenario(8, habits=NEVER), days=480))
    for story in of_each(acts).values():
        at = dict(story)
        # The order was paid when it was provisioned (two minutes before); the due date is an anniversary of that.
        paid = at["provision done"] - 2 * MINUTE
        dues = [CALENDAR.anniversary(paid, months) for months in range(1, 15)]
        assert any(timedelta(0) <= at["suspend"] - (due + 2 * DAY) < 2 * MINUTE for due in dues)
        assert any(timedelta(0) <= at["terminate"] - (due + 9 * DAY) < 4 * MINUTE for due in dues)


def test_an_order_that_is_never_paid_is_cancelled_and_nobody_who_pays_on_time_notices_anything() -> None:
    report, acts = year(scenario(20, habits={Habit.ORDERS_ONLY: 1.0}))
    assert (outcome(report), len(acts)) == (({"cancel-order": 20}, {"cancelled": 20}), 20)
    report, _ = year(scenario(20, habits={Habit.ON_TIME: 1.0}))
    assert outcome(report) == ({"provision done": 20}, {"active": 20})


def test_who_pays_late_is_suspended_comes_back_and_is_wiped_only_when_it_is_too_late() -> None:
    report, acts = year(scenario(40, habits={Habit.LATE: 1.0}))
    assert report.flawless
    assert report.totals["suspend done"] == report.totals["unsuspend done"] + report.totals["terminate done"]
    assert min(report.totals["unsuspend done"], report.totals["terminate done"]) > 5
    for story in of_each(acts).values():
        words = [what for what, _ in story if what.endswith("done")]
        assert all(after in ("unsuspend done", "terminate done") for what, after in pairwise(words) if what == "suspend done")


def test_the_same_seed_is_the_same_year_and_another_is_another() -> None:
    noisy = scenario(network=Network(lost=0.01, late=0.05, doubled=0.05))
    first, again, other = year(noisy, seed=5), year(noisy, seed=5), year(noisy, seed=6)
    assert (first[0].as_json(), first[1]) == (again[0].as_json(), again[1])
    assert first[1] != other[1]


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_without_loss_nobody_who_paid_is_wiped_and_nothing_is_missed(policy: str, seed: int) -> None:
    report, _ = year(scenario(), policy, seed=seed)
    assert (report.wrong_wipes, report.missed) == ([], [])
    assert report.totals["provision done"] > 40


LOSSY = replace(PROMPT, lost=0.02)
NOISY = Network(lost=0.03, late=0.05, doubled=0.1)
ROUGH = (Outage(START + 100 * DAY, START + 107 * DAY), Outage(START + 200 * DAY, START + 200 * DAY + 40 * MINUTE))
TIGHT = BrakeLimits(suspensions_per_hour=1, terminations_per_hour=0)


def rough(limits: BrakeLimits) -> Scenario:
    """Webhooks that get lost, come late and twice; a controller and a billing system that are away at times."""
    away = (Outage(START + 150 * DAY, START + 153 * DAY),)
    return replace(scenario(network=NOISY), limits=limits, outages=ROUGH, billing_outages=away)


@pytest.mark.parametrize("limits", [LOOSE, TIGHT], ids=["loose", "braked"])
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_whatever_gets_lost_nobody_who_paid_is_wiped_and_nothing_is_missed(policy: str, limits: BrakeLimits) -> None:
    report, _ = year(rough(limits), policy)
    assert (report.wrong_wipes, report.missed) == ([], [])
    assert report.lost > 10
    assert (report.totals["terminate done"] > 0) == (policy != "herza")
    assert report.totals["billing asked"] == report.totals["terminate"]


def test_without_asking_and_unseen_a_lost_payment_costs_a_service_and_the_report_says_so() -> None:
    lossy = scenario(habits={Habit.ON_TIME: 1.0}, network=LOSSY)
    report, acts = year(replace(lossy, confirm_wait=None, unseen=True))
    assert report.lost > 5
    assert len(report.wrong_wipes) == report.totals["terminate done"] > 0
    wrong = report.wrong_wipes[0]
    assert wrong.paid_until > wrong.at
    assert not wrong.under_way
    assert not report.flawless
    assert report.as_json()["wrong_wipes"]["count"] == len(report.wrong_wipes)
    assert Act(wrong.at, wrong.service_id, "terminate done") in acts


def test_billing_that_does_not_answer_and_a_person_who_does_not_look_cost_a_service_too() -> None:
    """A question that nobody answers is no protection by itself."""
    silent = replace(
        scenario(habits={Habit.ON_TIME: 1.0}, network=LOSSY), billing_outages=(Outage(START, START + 400 * DAY),), unseen=True
    )
    assert year(silent)[0].wrong_wipes
    looked, _ = year(replace(silent, unseen=False))
    assert (looked.wrong_wipes, looked.missed) == ([], [])


@pytest.mark.parametrize("confirm_wait", [3 * DAY, None], ids=["asked", "unasked"])
def test_a_lost_payment_is_found_by_whoever_looks_into_the_books(confirm_wait: timedelta | None) -> None:
    report, _ = year(replace(scenario(habits={Habit.ON_TIME: 1.0}, network=LOSSY), confirm_wait=confirm_wait))
    assert (report.wrong_wipes, report.missed) == ([], [])
    assert report.totals["terminate"] > 0
    assert report.totals["terminate done"] == 0
    assert report.totals["unsuspend done"] == report.totals["suspend done"]


def test_an_answer_that_is_not_listened_to_is_no_protection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller broken on purpose: it does not wait for what billing says. The report must notice."""
    lossy = scenario(habits={Habit.ON_TIME: 1.0}, network=LOSSY)
    assert year(lossy)[0].wrong_wipes == []
    monkeypatch.setattr(Confirmation, "waits", lambda _self, *, now: "")
    assert year(lossy)[0].wrong_wipes


def test_a_refusal_that_is_taken_for_a_confirmation_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    lossy = scenario(habits={Habit.ON_TIME: 1.0}, network=LOSSY)
    taken = Controller.receive

    def misread(self: Controller, event: Event, now: datetime) -> None:
        wrong = event.type == EventType.TERMINATION_REFUSED
        taken(self, replace(event, type=EventType.TERMINATION_CONFIRMED, paid_until=None) if wrong else event, now)

    monkeypatch.setattr(Controller, "receive", misread)
    assert year(lossy)[0].wrong_wipes


def test_a_payment_after_billing_has_let_it_go_is_told_apart() -> None:
    """The answers take days and the payments get lost: what was paid between the two is billing's to give back."""
    slow = scenario(300, habits={Habit.LATE: 1.0}, network=replace(PROMPT, lost=0.3, late=0.6))
    report, _ = year(slow)
    assert report.wrong_wipes == []
    assert report.paid_after_the_word
    assert report.flawless
    told = report.as_json()["paid_after_the_word"]
    assert told["count"] == len(report.paid_after_the_word)


def test_billing_that_takes_no_messages_is_asked_when_it_is_back() -> None:
    fleet = replace(scenario(20, habits=NEVER), days=480)
    first = min(terminations(year(fleet)[1]))
    away = Outage(first - HOUR, first + 2 * DAY)
    report, acts = year(replace(fleet, billing_outages=(away,)))
    assert report.flawless
    at = {act.what: act.at for act in acts if act.service_id == next(a.service_id for a in acts if a.what == "terminate")}
    assert at["terminate"] == first
    assert away.end <= at["billing confirmed"] <= away.end + HOUR
    assert at["terminate done"] == at["billing confirmed"] + 3 * MINUTE


def test_a_notice_counts_from_when_billing_took_it() -> None:
    fleet = replace(scenario(20, habits=NEVER), days=480)
    first = min(act.at for act in year(fleet, "masternet")[1] if act.what == "notice-terminate")
    away = Outage(first - HOUR, first + 2 * DAY)
    report, acts = year(replace(fleet, billing_outages=(away,)), "masternet")
    assert report.flawless
    told = {act.service_id: act.at for act in acts if act.what == "notice-terminate"}
    done = {act.service_id: act.at for act in acts if act.what == "terminate"}
    notice = POLICIES["masternet"].overdue.terminate
    assert notice is not None
    assert notice.notice is not None
    for service_id, at in told.items():
        taken = away.end if away.start <= at < away.end else at
        assert done[service_id] >= CALENDAR.add(taken, notice.notice)


def test_webhooks_that_come_twice_change_nothing() -> None:
    once, acts = year(scenario())
    twice, same = year(scenario(network=replace(PROMPT, doubled=1.0)))
    assert (outcome(once), acts) == (outcome(twice), same)
    assert twice.totals["webhook"] > 1.9 * once.totals["webhook"]


def test_webhooks_in_another_order_change_nothing_where_there_is_time() -> None:
    """Who pays a week ahead is as well off when that is heard of three days later."""
    ahead = scenario(habits={Habit.ON_TIME: 1.0, Habit.TWICE: 1.0})
    prompt, _ = year(ahead, "default")
    mixed, _ = year(replace(ahead, network=replace(PROMPT, late=0.5)), "default")
    assert mixed.flawless
    del mixed.totals["remind-suspend"], prompt.totals["remind-suspend"]  # those who pay within three days of the first reminder
    assert outcome(mixed) == outcome(prompt)


def test_an_outage_of_a_week_passes_over_no_suspension_and_no_notice() -> None:
    fleet = replace(scenario(80, habits=NEVER), days=480)
    _, before = year(fleet, "default")
    some = [act.at for act in before if act.what == "suspend"][20]
    away = Outage(some - DAY, some + 6 * DAY)
    broken, after = year(replace(fleet, outages=(away,)), "default")
    assert broken.flawless
    assert not Counter((act.service_id, act.what) for act in before) - Counter((act.service_id, act.what) for act in after)
    late = {act.service_id for act in before if act.what == "suspend" and away.start <= act.at < away.end}
    assert not any(away.start <= act.at < away.end for act in after)
    caught_up = {act.service_id for act in after if act.what == "suspend" and away.end <= act.at < away.end + HOUR}
    assert late == caught_up != set()


@pytest.mark.parametrize("wait", [6 * HOUR, 48 * HOUR])
def test_after_an_outage_nothing_is_terminated_before_the_records_were_compared(wait: timedelta) -> None:
    fleet = replace(scenario(80), reconcile_after=wait)
    some = terminations(year(fleet)[1])[10]
    away = Outage(some - 5 * DAY, some + HOUR)
    report, acts = year(replace(fleet, outages=(away,)))
    assert (report.wrong_wipes, report.missed) == ([], [])
    assert report.lost > 0
    first = min(at for at in terminations(acts) if at >= away.end)
    assert away.end + wait <= first <= away.end + wait + 20 * MINUTE


@pytest.mark.parametrize(("minutes", "waits"), [(4, 0), (20, 35), (50, 125)])
def test_after_a_short_outage_terminations_wait_until_billing_has_tried_again(minutes: int, waits: int) -> None:
    fleet = replace(scenario(80), reconcile_after=300 * DAY)
    some = terminations(year(fleet)[1])[10]
    away = Outage(some - 2 * MINUTE, some + (minutes - 2) * MINUTE)
    report, acts = year(replace(fleet, outages=(away,)))
    assert report.flawless
    first = min(at for at in terminations(acts) if at >= some)
    assert away.end + waits * MINUTE <= first <= away.end + waits * MINUTE + 12 * MINUTE


class Nobody:
    def asked(self, service_id: str, job_id: str, now: datetime) -> None:
        pass

    def look_up(self, service: Service, job_id: str, now: datetime) -> bool:
        return False

    def wiped(self, service: Service, job_id: str, now: datetime) -> None:
        pass

    def cancelled(self, service: Service) -> None:
        pass


def test_an_event_that_comes_again_is_not_taken_again() -> None:
    timeline, report = Timeline(), Report(CALENDAR)
    controller = Controller(timeline, scenario(1), POLICIES["enterpage"], CALENDAR, report, outside=Nobody())
    paid = Event(
        source="b", id="e1", type=EventType.ORDER_PAID, service_id="s1", sent_at=START, plan="p", paid_until=START + 31 * DAY
    )
    for _ in range(2):
        controller.receive(paid, START)
    kept = controller.kept["s1"].service
    assert kept is not None
    assert (kept.payments, report.totals["webhook"]) == (1, 2)


def test_what_the_brakes_hold_waits_for_the_operator_and_is_not_missed() -> None:
    tight = replace(scenario(40, habits=NEVER), days=480, limits=BrakeLimits(suspensions_per_hour=0, terminations_per_hour=0))
    report, acts = year(replace(tight, approve_after=5 * HOUR))
    assert report.flawless
    assert report.most_waiting > 0
    asked = {act.service_id: act.at for act in acts if act.what == "suspend"}
    done = {act.service_id: act.at for act in acts if act.what == "suspend done"}
    assert {done[service] - asked[service] for service in done} == {5 * HOUR + timedelta(seconds=20)}


def test_billing_lets_each_termination_go_and_a_person_decides_where_it_does_not_answer() -> None:
    slow = replace(scenario(12, habits=NEVER), days=480, approve_after=9 * HOUR)
    asked, unasked = year(slow)[1], year(replace(slow, confirm_wait=None))[1]
    silent = year(replace(slow, billing_outages=(Outage(START, START + 480 * DAY),)))[1]
    for acts, waits in ((asked, timedelta(0)), (unasked, 9 * HOUR), (silent, 3 * DAY + 9 * HOUR)):
        assert len(of_each(acts)) == 12
        for story in of_each(acts).values():
            at = dict(story)
            assert at["terminate done"] - at["terminate"] == waits + 3 * MINUTE
            assert at["suspend done"] - at["suspend"] == timedelta(seconds=20)


def test_where_the_policy_says_may_a_person_decides_besides() -> None:
    _, acts = year(replace(scenario(12, habits=NEVER), days=480, approve_after=9 * HOUR), "default")
    for story in of_each(acts).values():
        at = dict(story)
        assert at["billing confirmed"] == at["terminate"]
        assert at["terminate done"] - at["terminate"] == 9 * HOUR + 3 * MINUTE


def test_what_is_not_done_in_time_is_counted_as_missed() -> None:
    report = Report(CALENDAR)
    punctual = Punctuality(replace(scenario(), outages=(Outage(START, START + DAY),)), report)
    key = (Action.SUSPEND, "x")
    punctual.compare("s1", {key: START + DAY}, {}, START + DAY + HOUR)
    punctual.compare("s1", {key: START + HOUR}, {}, START + DAY + HOUR)
    assert report.missed == []
    punctual.compare("s1", {key: START + DAY}, {key: START + DAY}, START + 3 * DAY)
    assert report.missed == []
    punctual.compare("s2", {key: START + DAY}, {}, START + DAY + 61 * MINUTE)
    assert [(missed.service_id, missed.action) for missed in report.missed] == [("s2", "suspend")]
    assert not report.flawless


def test_a_report_has_days_and_peaks() -> None:
    report, acts = year(scenario())
    plain = report.as_json()
    assert sum(day.get("suspend", 0) for day in plain["days"].values()) == plain["totals"]["suspend"]
    assert sum(sum(day.values()) for day in plain["days"].values()) == len(acts)
    assert 1 <= plain["peaks"]["suspend"]["count"] <= plain["totals"]["suspend"]


def test_dice_are_fair_enough_and_children_do_not_depend_on_what_was_thrown() -> None:
    dice = Dice(7)
    child = [dice.child("a").number() for _ in range(2)]
    assert child[0] == child[1] != dice.child("b").number()
    thrown = [dice.number() for _ in range(10_000)]
    assert 0.49 < sum(thrown) / len(thrown) < 0.51
    assert dice.child("a").number() == child[0]
    assert {Dice(n).whole(1, 3) for n in range(50)} == {1, 2, 3}
    shares = {Habit.ON_TIME: 3.0, Habit.LATE: 1.0}
    drawn = [habit(shares, Dice(n)) for n in range(2000)]
    assert 1400 < drawn.count(Habit.ON_TIME) < 1600


def test_the_simulated_sweep_is_as_patient_as_the_real_one() -> None:
    assert (settings.AGAIN, settings.AGAIN_CEILING) == (due.AGAIN, due.AGAIN_CEILING)
    first, last = timedelta(seconds=mail.mail_delay(1)), timedelta(seconds=mail.mail_delay(99))
    assert (first, last) == (settings.POST_AGAIN, settings.POST_CEILING)
    real = EngineSettings(state_dir=Path(), limits=LOOSE)
    assert Scenario(services=1, start=START).confirm_wait == real.confirm_wait


@pytest.mark.parametrize("brings_back", [True, False])
def test_what_is_kept_is_erased_when_its_days_are_over_or_comes_back_by_a_payment(brings_back: bool) -> None:
    late = LatePayment(what=LatePaymentEffect.FROM_ARCHIVE if brings_back else LatePaymentEffect.REFUSED, clause="8")
    kept = replace(POLICIES["default"], archive=Archive(keep={"vps": Days(5)}, clause="8"), late_payment=late)
    acts: list[Act] = []
    wanted = scenario(80, habits={Habit.STOPS: 1.0, Habit.LATE: 1.0})
    report = simulate(wanted, kept, CALENDAR, Dice(1), watch=acts.append)
    done = Counter(act.what for act in acts)
    assert (report.wrong_wipes, report.missed) == ([], [])
    assert done["terminate done"] == done["erase done"] + done["reactivate done"] + report.states.get("archived", 0)
    assert done["erase done"] > 0
    erased, ended = ({act.service_id: act.at for act in acts if act.what == what} for what in ("erase done", "terminate done"))
    assert all(at - ended[service_id] >= 5 * DAY for service_id, at in erased.items())
