"""Sites, databases, cron and certificates of an account, set by billing and by operators, on the simulated node."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.domain import account_settings
from orchestrator.domain.errors import PermanentDriverError, Refused, RequestError
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.policies import Policy, Rule
from orchestrator.drivers.fake.hosting import use
from orchestrator.engine.clerk import Submitted
from orchestrator.engine.hosting import Given
from orchestrator.store import account_usage, charges
from orchestrator.store.tables import jobs as jobs_table
from orchestrator.store.tables import site_certificates
from tests.certificates import certificate_for
from tests.fault.house import House
from tests.hosting_ground import HOST, LARGE, SMALL, account
from tests.integration.test_due import DAY, record
from tests.integration.test_hosting import USER, Hosted, bought, ended

ROOMY = replace(SMALL, name="hosting-roomy", sites=3, databases=3, php=("8.2",))
HASH = "*94BDCEBE19083CE2A1F959FD02F964C7AF4CFC29"
SITES = [
    {"name": "main", "domains": ["shop.example", "www.shop.example"]},
    {"name": "blog", "domains": ["blog.example"], "php": ""},
]
DATABASES = [{"name": "main", "password_hash": HASH}, {"name": "wiki"}]
CRON = [{"schedule": "*/5 * * * *", "command": "php cron.php"}]


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Hosted]:
    made = Hosted(tmp_path / "state")
    made.more_plans = (LARGE, ROOMY)
    yield made
    made.close()


@pytest.fixture
def house(year: Hosted) -> House:
    """With an account of a plan that has room for more."""
    house = bought(year)
    house.wait(house.event("service.change_plan", "s1", version=1, plan=ROOMY.name).job_id)
    return house


def tell(house: House, *, version: int = 2, **account: Any) -> Any:
    """Billing's command, and its job once that has ended."""
    accepted = house.event("service.set_account", "s1", version=version, account=account)
    assert accepted.outcome == "accepted", accepted.detail
    return house.wait(accepted.job_id)


def give(house: House, *domains: str, site: str = "main", **more: Any) -> Submitted:
    given = Given(site=site, pair=certificate_for(*domains, **more))
    return house.engine.hosting.certify("s1", given, who="anna", why="bought", beside=lambda _conn, _submitted: None)


def kept_keys(house: House) -> int:
    with house.db.read() as conn:
        return conn.execute(sa.select(sa.func.count()).select_from(site_certificates)).scalar_one()


def test_what_billing_sets_is_put_on_the_node_and_then_on_the_record(house: House) -> None:
    job = tell(house, sites=SITES, databases=DATABASES, cron=CRON)
    assert (job.state, job.error) == (JobState.DONE, "")
    there = account(house.world, USER)
    assert [(site["name"], site["domains"], site["php"]) for site in there["sites"]] == [
        ("main", ["shop.example", "www.shop.example"], "8.2"),
        ("blog", ["blog.example"], ""),
    ]
    assert [(each["name"], each["password_hash"]) for each in there["databases"]] == [("main", HASH), ("wiki", "")]
    assert there["cron"] == CRON
    settings = record(house).account
    assert settings is not None
    assert [each.name for each in settings.sites] == ["main", "blog"]
    check = house.engine.command(IntentKind.CHECK, "s1", who="anna", why="", arguments={})
    assert house.wait(check.job_id).state == JobState.DONE


def test_a_limit_that_is_moved_later_leaves_what_was_set(year: Hosted, house: House) -> None:
    tell(house, sites=SITES, databases=DATABASES, cron=CRON)
    set_up = account(house.world, USER)
    house.engine.command(IntentKind.LIMIT, "s1", who="anna", why="too much", arguments={})
    year.rest()
    house.engine.command(IntentKind.UNLIMIT, "s1", who="anna", why="better", arguments={})
    year.rest()
    assert account(house.world, USER) == set_up


def test_a_suspended_account_is_set_behind_its_suspension_and_comes_back_with_it(year: Hosted, house: House) -> None:
    house.event("service.suspend", "s1", version=2, reason="nonpayment")
    year.rest()
    assert tell(house, version=3, sites=SITES).state == JobState.DONE
    assert account(house.world, USER)["open"] == []
    assert record(house).suspension_proven_at is not None
    house.event("service.unsuspend", "s1", version=4)
    year.rest()
    there = account(house.world, USER)
    assert (len(there["sites"]), there["manifest"]) == (2, None)


def test_more_than_the_plan_has_is_refused_and_the_version_stays_for_another_try(house: House) -> None:
    many = [{"name": f"s{n}", "domains": [f"s{n}.example"]} for n in range(4)]
    accepted = house.event("service.set_account", "s1", version=2, account={"sites": many})
    assert (accepted.outcome, accepted.job_id) == ("refused", "")
    assert "4 sites are asked for, it has 3" in accepted.detail
    assert tell(house, sites=SITES).state == JobState.DONE


def test_a_plan_with_less_than_is_set_is_refused(house: House) -> None:
    tell(house, sites=SITES)
    accepted = house.event("service.change_plan", "s1", version=3, plan=SMALL.name)
    assert accepted.outcome == "refused"
    assert "2 sites are asked for, it has 1" in accepted.detail


def test_what_is_set_before_a_plan_with_less_is_moved_to_keeps_the_account_from_moving(year: Hosted, house: House) -> None:
    house.event("service.set_account", "s1", version=2, account={"sites": SITES})
    house.event("service.change_plan", "s1", version=3, plan=SMALL.name)
    year.rest()
    job = ended(house, IntentKind.CHANGE_PLAN)
    assert (job.state, "2 sites are asked for, it has 1" in job.error) == (JobState.FAILED, True)
    assert (record(house).plan, account(house.world, USER)["limits"]["disk_bytes"]) == (ROOMY.name, ROOMY.disk_bytes)


def test_where_the_node_refuses_it_all_is_as_it_was(house: House) -> None:
    before, set_before = account(house.world, USER), record(house).account
    house.world.fault("hosting.apply", where="during", error=PermanentDriverError("nginx: served for another account already"))
    job = tell(house, sites=SITES, cron=CRON)
    assert (job.state, "served for another account" in job.error) == (JobState.FAILED, True)
    assert account(house.world, USER) == before
    assert record(house).account == set_before
    house.engine.retry(job.id, who="anna")
    assert house.wait(job.id, JobState.DONE, seconds=20).state == JobState.DONE
    assert len(account(house.world, USER)["sites"]) == 2


def test_two_that_come_together_are_both_done(year: Hosted, house: House) -> None:
    house.event("service.set_account", "s1", version=2, account={"sites": SITES})
    house.event("service.set_account", "s1", version=3, account={"databases": DATABASES})
    year.rest()
    settings = record(house).account
    assert settings is not None
    assert (len(settings.sites), len(settings.databases)) == (2, 2)
    assert len(account(house.world, USER)["sites"]) == 2


def test_the_hash_that_came_in_an_event_is_kept_in_none(house: House) -> None:
    tell(house, databases=DATABASES)
    with house.db.read() as conn:
        bodies = conn.execute(sa.text("SELECT body FROM events")).scalars().all()
    assert not any(HASH in body for body in bodies)


def test_of_an_account_that_is_gone_nobodys_password_is_kept(year: Hosted, house: House) -> None:
    tell(house, databases=DATABASES)
    house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="left", arguments={})
    year.rest()
    assert house.state("s1") == "erased"
    with house.db.read() as conn:
        rows = conn.execute(sa.select(jobs_table.c.arguments, jobs_table.c.workflow)).all()
        steps = conn.execute(sa.text("SELECT args, facts FROM job_steps")).all()
    assert HASH not in json.dumps([list(row) for row in (*rows, *steps)])
    assert record(house).account is None
    late = house.event("service.set_account", "s1", version=3, account={"databases": DATABASES})
    assert late.outcome == "refused"
    with house.db.read() as conn:
        bodies = conn.execute(sa.text("SELECT body FROM events")).scalars().all()
    assert not any(HASH in body for body in bodies), "also not of what comes after its end"


def test_a_certificate_is_installed_and_its_key_is_kept_nowhere(house: House, tmp_path: Path) -> None:
    tell(house, sites=SITES)
    pair = certificate_for("blog.example")
    done = house.engine.hosting.certify(
        "s1", Given(site="blog", pair=pair), who="anna", why="bought", beside=lambda _conn, _submitted: None
    )
    job = house.wait(done.job_id)
    assert (job.state, job.error) == (JobState.DONE, "")
    der = base64.b64decode(pair.certificate.split("-----")[2])
    shown = {site["name"]: site["certificate_sha256"] for site in account(house.world, USER)["sites"]}
    assert shown == {"main": "", "blog": hashlib.sha256(der).hexdigest()}
    settings = record(house).account
    assert settings is not None
    assert [(each.site, each.domains, each.sha256) for each in settings.certificates] == [
        ("blog", ("blog.example",), shown["blog"])
    ]
    assert kept_keys(house) == 0
    secret = "".join(pair.key.splitlines()[1:-1])[:40]
    files = [path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert not any(secret.encode() in data for data in files), "also not in what is left of earlier pages"
    tell(house, version=3, cron=CRON)
    assert {site["name"]: site["certificate_sha256"] for site in account(house.world, USER)["sites"]} == shown


@pytest.mark.parametrize(
    ("domains", "words"),
    [(("other.example",), "and not for shop.example, www.shop.example"), (("shop.example",), "and not for www.shop.example")],
)
def test_a_certificate_of_other_domains_is_refused(house: House, domains: tuple[str, ...], words: str) -> None:
    with pytest.raises(Refused, match=words):
        give(house, *domains)
    assert kept_keys(house) == 0


def test_a_key_of_another_certificate_is_refused_and_so_is_what_has_expired(house: House) -> None:
    one, other = certificate_for("*.shop.example", "shop.example"), certificate_for("shop.example")
    mixed = Given(site="main", pair=replace(one, key=other.key))
    with pytest.raises(RequestError, match="not that of the certificate"):
        house.engine.hosting.certify("s1", mixed, who="anna", why="", beside=lambda _conn, _submitted: None)
    with pytest.raises(RequestError, match="has expired"):
        give(house, "shop.example", "www.shop.example", days=1, since=house.clock.now().replace(year=2020))
    with pytest.raises(RequestError, match="names no domain"):
        give(house)


def test_a_certificate_that_the_node_refuses_leaves_the_former_one_and_no_key(house: House) -> None:
    house.wait(give(house, "shop.example", "www.shop.example").job_id)
    before = account(house.world, USER)
    house.world.fault("hosting.apply", where="before", error=PermanentDriverError("nginx refuses it"), nth=2)
    job = house.wait(give(house, "*.shop.example", "shop.example").job_id)
    assert job.state == JobState.FAILED
    assert account(house.world, USER) == before
    assert kept_keys(house) == 0
    house.engine.retry(job.id, who="anna")
    again = house.wait(job.id, JobState.FAILED, seconds=20)
    assert "give it once more" in again.error


def test_a_job_that_waits_says_which_parts_it_sets_and_no_hash(house: House) -> None:
    change = account_settings.read({"databases": DATABASES})
    house.engine.hosting.set_account("s1", change, who="anna", why="asked", beside=lambda _conn, _submitted: None)
    house.wait(ended(house, IntentKind.SET_ACCOUNT).id)
    with house.db.read() as conn:
        told = [row.facts for row in conn.execute(sa.text("SELECT facts FROM audit WHERE what = 'account set'")).all()]
    assert [json.loads(row)["parts"] for row in told] == [["databases"]]
    assert HOST.name == record(house).node


def full(house: House) -> list[bool]:
    return [each.get("full", False) for each in account(house.world, USER)["databases"]]


def read_usage(year: Hosted, house: House, *, files: int, databases: int) -> None:
    use(house.world, HOST.name, USER, bytes=files, database_bytes=databases)
    house.engine.meter()
    year.rest()


def test_at_the_end_of_the_disk_the_databases_take_no_more_until_there_is_room_again(year: Hosted, house: House) -> None:
    tell(house, databases=DATABASES)
    third = ROOMY.disk_bytes // 3
    read_usage(year, house, files=third, databases=third)
    assert full(house) == [False, False]
    read_usage(year, house, files=third, databases=2 * third + 2)
    assert full(house) == [True, True]
    assert record(house).databases_full
    job = ended(house, IntentKind.SET_ACCOUNT)
    assert (job.asked_by, "its disk is used up" in job.reason) == ("metering", True)
    read_usage(year, house, files=third, databases=2 * third - 10)
    assert full(house) == [True, True], "the last bytes do not count"
    read_usage(year, house, files=third // 2, databases=2 * third)
    assert full(house) == [False, False]
    assert not record(house).databases_full
    told = [json.loads(body) for _, body, _ in house.notifier.deliveries()]
    assert [each["data"]["level"] for each in told if each["type"] == "usage.notice"] == [100]
    changes = [each["data"]["is"]["databases_full"] for each in told if each["type"] == "service.changed"]
    assert changes[-2:] == [True, False]


def test_what_is_done_to_a_full_account_leaves_its_databases_full(year: Hosted, house: House) -> None:
    read_usage(year, house, files=ROOMY.disk_bytes, databases=0)
    assert tell(house, databases=DATABASES).state == JobState.DONE
    assert full(house) == [True, True], "a new database, too"
    check = house.engine.command(IntentKind.CHECK, "s1", who="anna", why="", arguments={})
    assert house.wait(check.job_id).state == JobState.DONE
    with house.world.change() as state:
        for each in state["nodes"][HOST.name]["accounts"][USER]["databases"]:
            each.pop("full")
    check = house.engine.command(IntentKind.CHECK, "s1", who="anna", why="", arguments={})
    assert "takes more, and should not" in house.wait(check.job_id).error


def fillings(house: House) -> list[JobState]:
    return [job.state for job in house.jobs("s1") if job.intent == IntentKind.SET_ACCOUNT]


def test_a_reading_makes_a_failed_job_anew(year: Hosted, house: House) -> None:
    house.world.fault("hosting.apply", error=PermanentDriverError("MariaDB says no"))
    read_usage(year, house, files=ROOMY.disk_bytes, databases=0)
    assert (record(house).databases_full, fillings(house)) == (False, [JobState.FAILED])
    read_usage(year, house, files=ROOMY.disk_bytes, databases=0)
    assert (record(house).databases_full, fillings(house)) == (True, [JobState.FAILED, JobState.DONE])


def test_a_reading_makes_no_second_job_beside_one_that_waits_for_a_person(year: Hosted, house: House) -> None:
    house.world.fault("hosting.apply", nth=0, error=PermanentDriverError("MariaDB says no"))
    for _ in range(3):
        read_usage(year, house, files=ROOMY.disk_bytes, databases=0)
    assert fillings(house) == [JobState.NEEDS_OPERATOR]


def test_a_suspended_account_gets_full_behind_its_suspension(year: Hosted, house: House) -> None:
    house.event("service.suspend", "s1", version=2, reason="nonpayment")
    year.rest()
    read_usage(year, house, files=ROOMY.disk_bytes, databases=0)
    assert full(house) == [True]
    assert account(house.world, USER)["open"] == []


def test_a_node_whose_mariadb_is_away_opens_no_databases(year: Hosted, house: House) -> None:
    read_usage(year, house, files=0, databases=ROOMY.disk_bytes)
    assert full(house) == [True]
    use(house.world, HOST.name, USER, database_bytes=None)
    house.engine.meter()
    year.rest()
    assert full(house) == [True]
    with house.db.read() as conn:
        read = account_usage.get(conn, "s1")
    assert read is not None
    assert read.database_bytes == ROOMY.disk_bytes


class Metered(Hosted):
    """Of a plan that charges what goes over its traffic, by a policy that has a clause for it."""

    plan = replace(SMALL, traffic_bytes=10**12, traffic_over_per_gb=5_000)
    policy = Policy(name="default", provider="Example Hosting", traffic=Rule(clause="7.3.8"))


def test_what_its_node_counted_over_the_plans_traffic_is_charged_when_the_month_is_over(tmp_path: Path) -> None:
    year = Metered(tmp_path / "state")
    house = bought(year)
    period = f"{year.clock.now().astimezone(house.catalog.calendar.zone):%Y-%m}"
    for total in (9 * 10**11, 10**12 + 1, 12 * 10**11):
        use(house.world, HOST.name, USER, traffic={period: total})
        house.engine.meter()
        year.rest()
    with house.db.read() as conn:
        assert charges.latest(conn, "s1", limit=9) == (), "the month goes on"
    year.clock.ahead += 35 * DAY
    year.turn()
    use(house.world, HOST.name, USER, traffic={period: 12 * 10**11 + 1})
    house.engine.meter()
    year.turn()
    with house.db.read() as conn:
        owed = [(charge.id, charge.amount) for charge in charges.latest(conn, "s1", limit=9)]
    assert sorted(owed) == [(f"s1.traffic.{period}", 200 * 5_000), (f"s1.traffic.{period}.201", 5_000)]
    year.close()
