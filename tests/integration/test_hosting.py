"""The life of a hosting account on the simulated node, by the webhooks, deadlines and commands that a VPS has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain import certificates
from orchestrator.domain.errors import PermanentDriverError
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.plans import Plan
from orchestrator.drivers.fake.hosting import close_ways, stick, use
from orchestrator.drivers.local.certificates import signature_holds
from orchestrator.store import account_usage
from orchestrator.store.ledger import StoreLedger
from tests.fault.house import NODES, House
from tests.hosting_ground import HOST, LARGE, SMALL, account, furnish
from tests.integration.test_due import DAY, HOUR, Year, record

USER = "h100001"


class Hosted(Year):
    """A year of a hosting node."""

    plan: Plan = SMALL
    more_plans: tuple[Plan, ...] = (LARGE,)
    declared = (*NODES, HOST)
    pays_at = ""

    def at(self, point: str) -> None:
        """The invoice is paid at one point, once."""
        if point == self.pays_at and self.house is not None:
            self.pays_at = ""
            self.house.event("invoice.paid", "s1", invoice_id="i1")

    def begin(self) -> House:
        house = self.open()
        furnish(house.world, house.db, now=self.clock.now())
        return house


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Hosted]:
    made = Hosted(tmp_path / "state")
    yield made
    made.close()


def order(house: House, service_id: str = "s1", **data: Any) -> str:
    told = {"client_id": "c1", "plan": SMALL.name, "domain": "shop.example", "order_id": f"o-{service_id}"} | data
    return house.event("order.paid", service_id, **told).job_id


def bought(year: Hosted) -> House:
    house = year.begin()
    job = house.wait(order(house))
    assert (job.state, job.error) == (JobState.DONE, "")
    return house


def ended(house: House, kind: IntentKind) -> Any:
    """The last job of that kind."""
    return [job for job in house.jobs("s1") if job.intent == kind][-1]


def test_a_paid_order_becomes_an_account_with_its_limits_site_and_database(year: Hosted) -> None:
    house = bought(year)
    there = account(house.world, USER)
    assert there["service_id"] == "s1"
    assert there["limits"] == {
        "disk_bytes": 5 << 30,
        "inodes": 100_000,
        "cpu_percent": 50,
        "memory_bytes": 512 << 20,
        "tasks": 100,
        "io_bytes_per_second": 0,
        "iops": 0,
    }
    assert [(site["domains"], site["php"]) for site in there["sites"]] == [(["shop.example", "www.shop.example"], "8.2")]
    assert [each["name"] for each in there["databases"]] == ["main"]
    assert house.state("s1") == "active"
    assert record(house).node == HOST.name


def test_a_guest_is_never_placed_on_a_hosting_node_nor_an_account_on_a_hypervisor(year: Hosted) -> None:
    house = bought(year)
    (place, *_) = house.steps(ended(house, IntentKind.PROVISION).id)
    assert {row["node"]: row["fits"] for row in (place.facts or {})["verdicts"]} == {"n1": False, "h1": True}


def test_a_domain_that_is_none_makes_no_account_and_is_said(year: Hosted) -> None:
    house = year.begin()
    accepted = house.event("order.paid", "s1", client_id="c1", plan=SMALL.name, domain="localhost", order_id="o1")
    assert (accepted.outcome, accepted.job_id) == ("dead", "")
    assert "is no domain name" in accepted.detail


def test_who_does_not_pay_is_suspended_everywhere_and_who_pays_gets_back_exactly_what_he_had(year: Hosted) -> None:
    house = bought(year)
    close_ways(house.world, HOST.name, USER, "cron", "ssh-key")  # as its owner has it
    before = account(house.world, USER)
    house.event("invoice.overdue", "s1", invoice_id="i1", due_at=year.clock.now().isoformat())
    year.later(3 * DAY)
    assert account(house.world, USER)["open"] == []
    assert record(house).suspension_proven_at is not None
    house.event("invoice.paid", "s1", invoice_id="i1")
    year.rest()
    assert account(house.world, USER) == before
    assert record(house).suspension_proven_at is None


def test_what_still_answers_is_said_and_no_suspension_is_reported(year: Hosted) -> None:
    house = bought(year)
    stick(house.world, HOST.name, USER, "processes")
    house.event("service.suspend", "s1", version=1, reason="nonpayment")
    year.rest()
    job = ended(house, IntentKind.SUSPEND)
    assert job.state == JobState.NEEDS_OPERATOR
    assert "suspended, not proven: still answering: processes" in job.error
    assert record(house).suspension_proven_at is None
    assert account(house.world, USER)["open"] == ["processes"], "what could be closed stays closed"
    stick(house.world, HOST.name, USER)
    house.engine.retry(job.id, who="anna")
    assert house.wait(job.id, JobState.DONE, seconds=20).state == JobState.DONE
    assert record(house).suspension_proven_at is not None


def test_an_account_that_is_not_paid_for_ends_in_a_certificate_and_leaves_nothing(year: Hosted) -> None:
    house = bought(year)
    with house.world.change() as state:
        state["nodes"][HOST.name]["files"] += [f"/var/log/orchestrator/{USER}/main.access.log"]
    house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="the customer left", arguments={})
    year.rest()
    job = ended(house, IntentKind.TERMINATE)
    assert (job.state, job.error) == (JobState.DONE, "")
    node = house.world.node(HOST.name)
    assert (node["accounts"], node["files"], node["account_wipes"]) == ({}, [], {})
    ledger = StoreLedger(house.db, (*NODES, HOST), house.clock)
    assert ledger.reservation("s1") is None
    certificate = ledger.certificate("s1")
    assert certificate is not None
    assert (certificate["guest"], certificate["nodes"]) == (USER, [HOST.name])
    (volume,) = certificate["volumes"]
    assert (volume["path"], volume["verified"]) == (f"/srv/h/{USER}", False)
    assert f"Databases removed: {USER}_main." in volume["limits"]
    assert certificates.verify(certificate, signature_holds).ok
    assert house.state("s1") == "erased"


def test_a_payment_while_it_is_suspended_for_its_end_brings_the_account_back(year: Hosted) -> None:
    house = bought(year)
    before = account(house.world, USER)
    year.pays_at = "hosting-terminate/wipe/before"
    house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="not paid", arguments={})
    year.rest()
    job = ended(house, IntentKind.TERMINATE)
    assert (job.state, job.error_code) == (JobState.FAILED, "fence-closed")
    assert account(house.world, USER) == before
    assert house.state("s1") == "active"


def test_a_payment_after_the_wipe_began_comes_too_late_and_is_said(year: Hosted) -> None:
    house = bought(year)
    year.pays_at = "hosting-terminate/wipe/during"
    house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="not paid", arguments={})
    year.rest()
    assert house.state("s1") == "erased"
    assert "payment.too_late" in [json.loads(body)["type"] for _, body, _ in house.notifier.deliveries()]


def test_the_uid_of_an_account_that_is_gone_is_never_given_again(year: Hosted) -> None:
    house = bought(year)
    house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="left", arguments={})
    year.rest()
    house.wait(order(house, "s2", domain="other.example"))
    assert [*house.world.node(HOST.name)["accounts"]] == ["h100002"]


def test_a_node_that_tells_of_a_uid_far_off_does_not_use_up_all_of_them(year: Hosted) -> None:
    house = bought(year)
    with house.world.change() as state:
        there = state["nodes"][HOST.name]["accounts"]
        there["h999999998"] = {**there[USER], "user": "h999999998", "uid": 999_999_998, "service_id": "other"}
    job = house.wait(order(house, "s2", domain="other.example"))
    assert (job.state, "an account of uid 999999998" in job.error) == (JobState.FAILED, True)
    with house.world.change() as state:
        del state["nodes"][HOST.name]["accounts"]["h999999998"]
    assert house.wait(order(house, "s3", domain="third.example")).state == JobState.DONE
    assert sorted(house.world.node(HOST.name)["accounts"]) == [USER, "h100002"]


def test_a_failed_provisioning_leaves_nothing_on_the_node(year: Hosted) -> None:
    house = year.begin()
    house.world.fault("hosting.apply", where="during", error=PermanentDriverError("nginx -t says no"))
    job = house.wait(order(house))
    assert job.state == JobState.FAILED
    node = house.world.node(HOST.name)
    assert (node["accounts"], node["account_wipes"]) == ({}, {})
    assert StoreLedger(house.db, (*NODES, HOST), house.clock).reservation("s1") is None


def test_another_plan_moves_every_limit_and_the_promise(year: Hosted) -> None:
    house = bought(year)
    accepted = house.event("service.change_plan", "s1", version=1, plan=LARGE.name)
    assert accepted.outcome == "accepted", accepted.detail
    house.wait(accepted.job_id)
    limits = account(house.world, USER)["limits"]
    assert (limits["disk_bytes"], limits["cpu_percent"], limits["iops"]) == (20 << 30, 200, 1000)
    standing = StoreLedger(house.db, (*NODES, HOST), house.clock).reservation("s1")
    assert standing is not None
    assert (standing.disk_bytes, standing.memory_bytes, standing.vcpus) == (20 << 30, 2 << 30, 0)
    assert record(house).plan == LARGE.name


def test_a_plan_that_the_account_does_not_fit_into_is_refused_and_nothing_is_moved(year: Hosted) -> None:
    house = bought(year)
    house.wait(house.event("service.change_plan", "s1", version=1, plan=LARGE.name).job_id)
    use(house.world, HOST.name, USER, bytes=6 << 30)
    before = account(house.world, USER)
    job = house.wait(house.event("service.change_plan", "s1", version=2, plan=SMALL.name).job_id)
    assert (job.state, job.error_code) == (JobState.FAILED, "refused")
    assert "does not fit" in job.error
    assert account(house.world, USER) == before
    assert record(house).plan == LARGE.name


def test_a_suspended_account_moves_to_another_plan_behind_its_suspension(year: Hosted) -> None:
    house = bought(year)
    house.event("service.suspend", "s1", version=1, reason="nonpayment")
    year.rest()
    job = house.wait(house.event("service.change_plan", "s1", version=2, plan=LARGE.name).job_id)
    assert (job.state, job.error) == (JobState.DONE, "")
    assert (account(house.world, USER)["limits"]["disk_bytes"], account(house.world, USER)["open"]) == (LARGE.disk_bytes, [])
    assert record(house).plan == LARGE.name
    house.event("invoice.paid", "s1", invoice_id="i1")
    year.rest()
    assert "http" in account(house.world, USER)["open"]


def test_of_two_changes_of_plan_that_come_together_the_last_counts(year: Hosted) -> None:
    house = bought(year)
    house.event("service.change_plan", "s1", version=1, plan=LARGE.name)
    assert house.event("service.change_plan", "s1", version=2, plan=SMALL.name).outcome == "accepted"
    year.rest()
    assert (record(house).plan, account(house.world, USER)["limits"]["disk_bytes"]) == (SMALL.name, SMALL.disk_bytes)
    again = house.event("service.change_plan", "s1", version=3, plan=SMALL.name)
    assert (again.outcome, again.detail) == ("nothing", f"its plan is {SMALL.name} already")


NEWER = replace(LARGE, name="hosting-newer", php=("8.3", "8.2"))
NEWEST = replace(LARGE, name="hosting-newest", php=("8.3",))


def test_another_plan_leaves_the_php_of_sites_that_nobody_has_set_as_it_is(year: Hosted) -> None:
    year.more_plans = (LARGE, NEWER, NEWEST)
    house = bought(year)
    sites = account(house.world, USER)["sites"]
    accepted = house.event("service.change_plan", "s1", version=1, plan=NEWEST.name)
    assert (accepted.outcome, "not with 8.2" in accepted.detail) == ("refused", True)
    assert house.wait(house.event("service.change_plan", "s1", version=1, plan=NEWER.name).job_id).state == JobState.DONE
    assert account(house.world, USER)["sites"] == sites
    check = house.engine.command(IntentKind.CHECK, "s1", who="anna", why="", arguments={})
    assert house.wait(check.job_id).error == ""


def test_a_limited_account_has_little_of_the_processor_and_gets_it_back(year: Hosted) -> None:
    house = bought(year)
    sold = account(house.world, USER)
    house.engine.command(IntentKind.LIMIT, "s1", who="anna", why="too much", arguments={})
    year.rest()
    assert account(house.world, USER)["limits"] == {**sold["limits"], "cpu_percent": 5}
    assert record(house).limited_proven_at is not None
    house.engine.command(IntentKind.UNLIMIT, "s1", who="anna", why="better", arguments={})
    year.rest()
    assert account(house.world, USER) == sold


def test_a_check_finds_what_was_changed_past_us(year: Hosted) -> None:
    house = bought(year)
    with house.world.change() as state:
        state["nodes"][HOST.name]["accounts"][USER]["limits"]["inodes"] = 7
    done = house.engine.command(IntentKind.CHECK, "s1", who="anna", why="", arguments={})
    job = house.wait(done.job_id)
    assert job.state == JobState.FAILED
    assert "it has 7 inodes instead of 100,000" in job.error


def test_a_service_outlives_its_plan_and_can_still_be_suspended_and_ended(year: Hosted) -> None:
    bought(year)
    year.plan, year.more_plans = LARGE, ()
    house = year.open()
    house.event("service.suspend", "s1", version=1, reason="nonpayment")
    year.rest()
    assert record(house).suspension_proven_at is not None
    house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="left", arguments={})
    year.rest()
    assert house.state("s1") == "erased"


def notices(house: House) -> list[tuple[str, int]]:
    told = [json.loads(body) for _, body, _ in house.notifier.deliveries()]
    return [(each["data"]["of"], each["data"]["level"]) for each in told if each["type"] == "usage.notice"]


def test_what_an_account_uses_is_kept_and_told_at_80_and_95_per_cent_once(year: Hosted) -> None:
    house = bought(year)
    use(house.world, HOST.name, USER, bytes=int(0.79 * SMALL.disk_bytes), traffic={"2026-11": 5000}, cpu_seconds=40.0)
    assert house.engine.meter() == 1
    year.rest()
    assert notices(house) == []
    for bytes_used in (0.81, 0.82, 0.96, 0.97, 0.93):
        use(house.world, HOST.name, USER, bytes=int(bytes_used * SMALL.disk_bytes), cpu_seconds=10.0)
        house.engine.meter()
        year.rest()
    assert notices(house) == [("disk", 80), ("disk", 95)]
    with house.db.read() as conn:
        read = account_usage.get(conn, "s1")
    assert read is not None
    assert (read.node, read.traffic, read.cpu_seconds) == (HOST.name, {"2026-11": 5000}, 50.0), "its node was restarted between"
    for bytes_used in (0.1, 0.85):
        use(house.world, HOST.name, USER, bytes=int(bytes_used * SMALL.disk_bytes))
        house.engine.meter()
        year.later(HOUR)
    assert notices(house)[2:] == [("disk", 80)]


def test_of_an_account_that_is_gone_no_usage_is_kept(year: Hosted) -> None:
    house = bought(year)
    house.engine.meter()
    house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="left", arguments={})
    year.rest()
    assert house.engine.meter() == 0
    with house.db.read() as conn:
        assert account_usage.get(conn, "s1") is None


def test_a_node_that_does_not_answer_keeps_the_last_reading(year: Hosted) -> None:
    house = bought(year)
    use(house.world, HOST.name, USER, bytes=77)
    house.engine.meter()
    house.world.set_node(HOST.name, up=False)
    assert house.engine.meter() == 0
    with house.db.read() as conn:
        read = account_usage.get(conn, "s1")
    assert read is not None
    assert read.bytes == 77
