"""What went through a guest's network, added up out of counters that begin anew, and what follows beyond the allowance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import traffic, wanted
from orchestrator.domain.calendar import Calendar
from orchestrator.domain.intents import Intent, IntentKind
from orchestrator.domain.plans import Plan
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.domain.traffic import GuestTraffic, Reading
from tests.fault.house import PLAN, TEMPLATE

CALENDAR = Calendar(ZoneInfo("Asia/Jakarta"))
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MONTH = "2026-11"
DECEMBER = datetime(2026, 12, 1, tzinfo=ZoneInfo("Asia/Jakarta")).astimezone(UTC)
SERVICE = Service(id="s1", client_id="c1", plan=PLAN.name, node="n1", state=Lifecycle.ACTIVE)
SLOW = replace(PLAN, traffic_bytes=1000, traffic_over_bytes_per_second=50_000, network_bytes_per_second=12_500_000)


def read(
    before: GuestTraffic | None, *, run: str = "b/1", age: float = 60, inward: int = 0, out: int = 0, now: datetime = NOW
) -> GuestTraffic:
    reading = Reading(name="orch.s1", run=run, age_seconds=age, in_bytes=inward, out_bytes=out)
    return traffic.added(before, reading, service_id="s1", node="n1", calendar=CALENDAR, now=now)


@dataclass(frozen=True)
class Act:
    """Bytes go through, the guest starts anew (the counters with it), or they are read, so many times over."""

    inward: int = 0
    out: int = 0
    starts: bool = False
    reads: int = 0


COUNTS = st.integers(0, 10**13)
ACTS = st.one_of(st.builds(Act, inward=COUNTS, out=COUNTS), st.just(Act(starts=True)), st.builds(Act, reads=st.integers(1, 3)))


@given(st.lists(ACTS, max_size=40))
def test_the_total_is_what_each_run_had_counted_at_its_last_reading_and_nothing_twice(acts: list[Act]) -> None:
    run, passed, age = 0, [0, 0], 0
    kept: GuestTraffic | None = None
    last: dict[int, int] = {}
    for act in acts:
        age += 1
        if act.starts:
            run, passed, age = run + 1, [0, 0], 0
        passed = [passed[0] + act.inward, passed[1] + act.out]
        for _ in range(act.reads):
            kept = read(kept, run=f"b/{run}", age=age, inward=passed[0], out=passed[1])
            last[run] = sum(passed)
    assert (0 if kept is None else sum(kept.traffic.values())) == sum(last.values())


def test_a_run_that_counted_more_than_the_one_before_it_is_another_all_the_same() -> None:
    assert read(read(None, inward=100), run="b/2", age=5, inward=150).traffic == {MONTH: 250}


def test_a_counter_that_went_back_within_a_run_was_begun_anew() -> None:
    assert read(read(None, inward=100, out=40), age=70, inward=30, out=50).traffic == {MONTH: 140 + 30 + 10}


def test_a_reading_that_comes_after_a_later_one_says_nothing() -> None:
    later = read(read(None, inward=10), age=90, inward=100)
    assert read(later, age=80, inward=70) == later


def test_months_are_those_of_the_provider_s_zone() -> None:
    first = read(None, inward=100, now=DECEMBER - timedelta(seconds=1))
    second = read(first, age=120, inward=130, now=DECEMBER)
    assert second.traffic == {"2026-11": 100, "2026-12": 30}
    for month in range(40):
        second = read(second, age=200 + month, inward=131 + month, now=DECEMBER + timedelta(days=31 * month))
    assert len(second.traffic) == 24


def test_of_a_guest_that_ran_in_earlier_months_before_it_was_first_read_only_what_follows_counts() -> None:
    old = timedelta(days=40).total_seconds()
    first = read(None, age=old, inward=10**12)
    assert first.traffic == {MONTH: 0}
    assert read(first, age=old + 60, inward=10**12 + 5).traffic == {MONTH: 5}


# -- beyond the allowance ------------------------------------------------------------------------------------------------


def decide(service: Service, used: int, plan: Plan = SLOW, told: dict[str, int] | None = None) -> traffic.Decided:
    counted = replace(read(None, inward=used), told=told or {})
    return traffic.throttled(service, counted, plan, calendar=CALENDAR, now=NOW)


def throttled_service() -> tuple[Service, dict[str, int]]:
    counted, received = decide(SERVICE, 1000)
    assert received is not None
    assert received.service is not None
    return received.service, dict(counted.told)


def test_at_the_allowance_a_hold_until_the_end_of_the_month_limits_it() -> None:
    assert decide(SERVICE, 999)[1] is None
    _, received = decide(SERVICE, 1000)
    assert received is not None
    assert isinstance(received.decision, Intent)
    assert (received.decision.kind, received.decision.asked_by) == (IntentKind.LIMIT, "metering")
    service, _ = throttled_service()
    (hold,) = service.holds
    assert (hold.reason, hold.effect, hold.until) == (HoldReason.QUOTA, HoldEffect.LIMIT, DECEMBER)
    assert hold.why == "1 kB of 1 kB of traffic are used in 2026-11"


def test_it_is_decided_once() -> None:
    service, told = throttled_service()
    assert decide(service, 2000, told=told)[1] is None
    assert decide(service.without_hold(HoldReason.QUOTA), 2000, told=told)[1] is None, "who lifted it has the last word"
    wider = replace(SLOW, traffic_bytes=1500)
    assert decide(service.without_hold(HoldReason.QUOTA), 2000, wider, told=told)[1] is not None, "another allowance"


def test_it_is_lifted_when_the_plan_has_more() -> None:
    service, told = throttled_service()
    for plan in (replace(SLOW, traffic_bytes=5000), replace(SLOW, traffic_bytes=None), PLAN):
        _, received = decide(service, 2000, plan, told=told)
        assert received is not None
        assert received.service is not None
        assert received.service.holds == ()


def test_what_is_not_ours_to_throttle_is_left_alone() -> None:
    other = Hold(reason=HoldReason.ABUSE, effect=HoldEffect.LIMIT, by="anna", why="spam", since=NOW)
    quota = replace(other, reason=HoldReason.QUOTA)
    for service in (SERVICE.with_hold(other), SERVICE.with_hold(quota), replace(SERVICE, state=Lifecycle.TERMINATING)):
        assert decide(service, 2000)[1] is None
    assert decide(SERVICE.with_hold(quota), 10)[1] is None
    charged = replace(SLOW, traffic_over_bytes_per_second=0)
    assert decide(SERVICE, 2000, charged)[1] is None


def test_a_limit_for_another_reason_goes_before_it_and_gets_its_rate() -> None:
    service, told = throttled_service()
    other = Hold(reason=HoldReason.ABUSE, effect=HoldEffect.LIMIT, by="anna", why="spam", since=NOW)
    counted, received = decide(service.with_hold(other), 2000, told=told)
    assert received is not None
    assert received.service is not None
    assert isinstance(received.decision, Intent)
    assert (received.decision.kind, received.service.holds) == (IntentKind.LIMIT, (other,))
    again = traffic.throttled(SERVICE, counted, SLOW, calendar=CALENDAR, now=NOW)[1]
    assert again is not None, "when that is lifted, its traffic is used up still"


def test_what_is_wanted_of_a_throttled_guest_is_its_plan_s_rate_and_the_digest_stays() -> None:
    service, _ = throttled_service()
    usual, now = (wanted.spec(each, SLOW, {TEMPLATE.name: TEMPLATE}) for each in (SERVICE, service))
    rates = [each["guest"]["limited_network_bytes_per_second"] for each in (usual, now)]
    assert rates == [125_000, 50_000]
    assert usual["digest"] == now["digest"]
