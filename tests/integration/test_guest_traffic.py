"""What goes through guests' networks on the simulated node: counted, told, charged or throttled, whatever restarts meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.domain.errors import PermanentDriverError
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.plans import Plan
from orchestrator.domain.policies import Policy, Rule
from orchestrator.drivers.fake import FakeHypervisor
from orchestrator.drivers.fake.traffic import pass_through
from orchestrator.ports.hypervisor import PowerAction
from orchestrator.store import charges, guest_traffic
from tests.fault.house import PLAN, House
from tests.integration.test_due import DAY, Year, record

TB, GB = 10**12, 10**9
GUEST = "orch.s1"
SOLD = 12_500_000
SLOW = 250_000


class Charged(Year):
    """Of a plan that charges what goes over its traffic."""

    plan: Plan = replace(PLAN, traffic_bytes=TB, traffic_over_per_gb=5_000)
    policy = Policy(name="default", provider="Example Hosting", traffic=Rule(clause="7.3.8"))


class Throttled(Charged):
    """Of a plan that throttles then."""

    plan: Plan = replace(PLAN, traffic_bytes=TB, traffic_over_bytes_per_second=SLOW, network_bytes_per_second=SOLD)


@pytest.fixture
def charged(tmp_path: Path) -> Iterator[Charged]:
    made = Charged(tmp_path / "state")
    yield made
    made.close()


@pytest.fixture
def throttled(tmp_path: Path) -> Iterator[Throttled]:
    made = Throttled(tmp_path / "state")
    yield made
    made.close()


def bought(year: Year) -> House:
    house = year.open()
    assert house.wait(house.order("s1").job_id).state == JobState.DONE
    return house


def goes(house: House, count: int) -> None:
    """So many bytes in, and a tenth of that out."""
    pass_through(house.world, "n1", GUEST, in_bytes=count, out_bytes=count // 10)


def read(year: Year, house: House) -> None:
    house.engine.count_traffic()
    year.rest()


def counted(house: House) -> list[int]:
    """By month."""
    with house.db.read() as conn:
        found = guest_traffic.get(conn, "s1")
    return [] if found is None else [found.traffic[month] for month in sorted(found.traffic)]


def levels(house: House) -> list[tuple[str, int]]:
    told = [json.loads(body) for _, body, _ in house.notifier.deliveries()]
    return [(each["data"]["of"], each["data"]["level"]) for each in told if each["type"] == "usage.notice"]


def rate(house: House) -> int:
    facts = FakeHypervisor(house.world, "n1").guest(GUEST, deadline=5)
    assert facts is not None
    return facts.network_bytes_per_second


def changes(house: House) -> list[tuple[IntentKind, JobState]]:
    """The jobs after the provisioning."""
    return [(job.intent, job.state) for job in house.jobs("s1")][1:]


def test_nothing_is_lost_over_restarts_of_guest_node_and_controller_and_nothing_counted_twice(charged: Charged) -> None:
    house = bought(charged)
    goes(house, 1000)
    read(charged, house)
    read(charged, house)
    assert counted(house) == [1100]
    goes(house, 10)
    house = charged.open()
    goes(house, 10)
    read(charged, house)
    assert counted(house) == [1122], "the controller was away, and the counters went on"
    FakeHypervisor(house.world, "n1").power(GUEST, PowerAction.DESTROY, deadline=5)
    read(charged, house)
    assert counted(house) == [1122], "it does not run: the last reading stands"
    FakeHypervisor(house.world, "n1").power(GUEST, PowerAction.START, deadline=5)
    goes(house, 5000)
    read(charged, house)
    assert counted(house) == [6622], "more than the run before, and yet another"
    house.world.reboot("n1")
    goes(house, 100)
    house = charged.open()
    read(charged, house)
    assert counted(house) == [6732]


def test_a_node_that_does_not_answer_is_left_out_and_caught_up(charged: Charged, caplog: pytest.LogCaptureFixture) -> None:
    house = bought(charged)
    goes(house, 1000)
    house.world.fault("agent.guest-traffic", error=PermanentDriverError("no agent"), nth=1)
    read(charged, house)
    assert counted(house) == []
    assert "the traffic of the guests on n1 is not known" in caplog.text
    read(charged, house)
    assert counted(house) == [1100]


def test_billing_is_told_at_80_and_95_and_100_per_cent_and_what_is_over_is_charged_when_the_month_ends(charged: Charged) -> None:
    house = bought(charged)
    for _ in range(10):
        goes(house, TB // 10)
        read(charged, house)
    assert levels(house) == [("traffic", 80), ("traffic", 95), ("traffic", 100)]
    with house.db.read() as conn:
        assert charges.latest(conn, "s1", limit=9) == (), "the month goes on"
    charged.clock.ahead += 35 * DAY
    charged.turn()
    with house.db.read() as conn:
        assert [each.amount for each in charges.latest(conn, "s1", limit=9)] == [100 * 5_000]
    goes(house, 1)
    read(charged, house)
    assert counted(house) == [11 * TB // 10, 1]
    assert changes(house) == []


def test_beyond_its_allowance_a_guest_is_throttled_once_until_the_month_ends(throttled: Throttled) -> None:
    house = bought(throttled)
    goes(house, TB)
    for _ in range(3):
        read(throttled, house)
    assert (changes(house), rate(house)) == ([(IntentKind.LIMIT, JobState.DONE)], SLOW)
    check = house.engine.command(IntentKind.CHECK, "s1", who="anna", why="", arguments={})
    assert house.wait(check.job_id).state == JobState.DONE, "it is as it is to be"
    throttled.clock.ahead += 35 * DAY
    throttled.turn()
    read(throttled, house)
    assert changes(house)[-1] == (IntentKind.UNLIMIT, JobState.DONE)
    assert (rate(house), record(house).holds) == (SOLD, ())
    with house.db.read() as conn:
        assert charges.latest(conn, "s1", limit=9) == (), "a plan that throttles charges nothing"
    goes(house, TB)
    read(throttled, house)
    assert rate(house) == SLOW, "the next month has its own"


def test_an_operator_who_lifts_it_has_the_last_word_in_that_month(throttled: Throttled) -> None:
    house = bought(throttled)
    goes(house, TB)
    read(throttled, house)
    house.engine.command(IntentKind.UNLIMIT, "s1", who="anna", why="a gift", arguments={"reason": "quota"})
    throttled.rest()
    read(throttled, house)
    assert rate(house) == SOLD


def test_a_limit_for_abuse_takes_its_place_with_its_own_rate(throttled: Throttled) -> None:
    house = bought(throttled)
    goes(house, TB)
    read(throttled, house)
    house.engine.command(IntentKind.LIMIT, "s1", who="anna", why="spam", arguments={"reason": "abuse"})
    throttled.rest()
    read(throttled, house)
    assert rate(house) == 125_000
    house.engine.command(IntentKind.UNLIMIT, "s1", who="anna", why="mended", arguments={"reason": "abuse"})
    throttled.rest()
    assert rate(house) == SOLD
    read(throttled, house)
    assert rate(house) == SLOW, "its traffic is used up still"


def test_of_what_is_erased_nothing_is_kept(charged: Charged) -> None:
    house = bought(charged)
    read(charged, house)
    assert counted(house) == [0]
    house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="left", arguments={})
    charged.rest()
    house.engine.count_traffic()
    assert counted(house) == []
