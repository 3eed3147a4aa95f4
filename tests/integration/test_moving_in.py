"""An account moves in from a tarball: what it counts as, what it costs, and what is refused; on the simulated node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.errors import (
    InDoubt,
    NotFound,
    PermanentDriverError,
    Refused,
    RequestError,
    TransientDriverError,
    WrongState,
)
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.policies import Migration, Policy
from orchestrator.drivers.fake.directories import put_file, texts
from orchestrator.drivers.fake.hosting_copies import database_text, write_database
from orchestrator.drivers.fake.hosting_tarballs import lay
from orchestrator.engine.hosting import Moved, Moving
from orchestrator.store import charges
from tests.fault.house import House
from tests.hosting_ground import HOST, LARGE, SMALL, account
from tests.integration.test_due import record
from tests.integration.test_hosting import USER, Hosted, bought
from tests.integration.test_hosting_settings import ROOMY

GB = 10**9
FREE = Policy(name="default", provider="Example Hosting", migration=Migration(clause="14", free_bytes=GB, over_per_gb=20_000))
SETTINGS: dict[str, Any] = {
    "sites": [{"name": "main", "domains": ["shop.example"]}, {"name": "blog", "domains": ["blog.example"]}],
    "cron": [{"schedule": "@daily", "command": "php cron.php"}],
}
HOME = {"sites/main/public/index.php": "<?php"}


class Moves(Hosted):
    """Of a provider that helps with moving in, free up to a size."""

    more_plans = (LARGE, ROOMY)
    policy = FREE


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Moves]:
    made = Moves(tmp_path / "state")
    yield made
    made.close()


@pytest.fixture
def house(year: Moves) -> House:
    house = bought(year)
    house.wait(house.event("service.change_plan", "s1", version=1, plan=ROOMY.name).job_id)
    return house


def move(house: House, *, pay: bool = False, request_id: str = "r1") -> Moved:
    asked = Moving(file="old.tar.gz", request_id=request_id, pay=pay, why="he moves")
    return house.engine.hosting.bring_in("s1", asked, who="anna", beside=lambda _conn, _moved: None)


def owed(house: House) -> list[tuple[str, int, bool]]:
    with house.db.read() as conn:
        return [(each.id, each.amount, each.open) for each in charges.latest(conn, "s1", limit=9)]


def test_files_databases_and_domains_are_there_afterwards_and_cost_nothing(house: House) -> None:
    lay(house.world, HOST.name, "old.tar.gz", files=HOME, dumps={"main": "rows", "wiki": "pages"}, settings=SETTINGS)
    moved = move(house)
    assert moved.granted.reason == "4 KiB of 1 GB that are free [default: 14]"
    job = house.wait(moved.submitted.job_id)
    assert (job.state, job.error) == (JobState.DONE, "")
    there = account(house.world, USER)
    assert [site["name"] for site in there["sites"]] == ["main", "blog"]
    assert [each["name"] for each in there["databases"]] == ["main", "wiki"]
    assert there["cron"] == SETTINGS["cron"]
    assert database_text(house.world, HOST.name, USER, "wiki") == "pages"
    assert texts(house.world, HOST.name, f"/srv/h/{USER}") == {"home/sites/main/public/index.php": "<?php"}
    settings = record(house).account
    assert settings is not None
    assert [each.name for each in settings.databases] == ["main", "wiki"]
    assert owed(house) == []


def test_beyond_what_is_free_it_is_refused_and_with_consent_charged(house: House) -> None:
    lay(house.world, HOST.name, "old.tar.gz", bytes=3 * GB + 1)
    with pytest.raises(Refused, match=r"3 GB move in, 1 GB are free, policy default; the 3 GB beyond cost Rp 60,000: --pay"):
        move(house)
    assert owed(house) == []
    moved = move(house, pay=True)
    assert house.wait(moved.submitted.job_id).state == JobState.DONE
    assert owed(house) == [("s1.migration.r1", 60_000, True)]


def test_what_was_charged_for_a_job_that_failed_is_taken_back_until_it_is_done(house: House) -> None:
    lay(house.world, HOST.name, "old.tar.gz", bytes=2 * GB, files=HOME, settings=SETTINGS)
    before = account(house.world, USER)
    house.world.fault("hosting.bring_in", error=PermanentDriverError("the quota is exceeded"))
    job = house.wait(move(house, pay=True).submitted.job_id)
    assert job.state == JobState.FAILED
    assert account(house.world, USER) == before
    assert owed(house) == [("s1.migration.r1", 20_000, False)]
    house.engine.retry(job.id, who="anna")
    house.wait(job.id, JobState.DONE, seconds=20)
    assert owed(house) == [("s1.migration.r1", 20_000, True)]
    assert len(account(house.world, USER)["sites"]) == 2


@pytest.mark.parametrize("moment", ["during", "after"])
def test_of_one_that_comes_to_nothing_only_what_its_customer_had_or_has_made_since_is_left(house: House, moment: Any) -> None:
    put_file(house.world, HOST.name, f"/srv/h/{USER}", "home/his", "old")
    files = {**HOME, "his": "new", "more": "x"}
    lay(house.world, HOST.name, "old.tar.gz", files=files, dumps={"main": "rows"}, settings=SETTINGS)
    before = account(house.world, USER)
    house.world.fault("hosting.bring_in", where=moment, error=PermanentDriverError("the quota is exceeded"))
    house.world.fault("hosting.take_out", error=TransientDriverError("the connection broke", retry_after=0.01))
    job = house.wait(move(house).submitted.job_id)
    assert (job.state, account(house.world, USER)) == (JobState.FAILED, before)
    assert texts(house.world, HOST.name, f"/srv/h/{USER}") == {"home/his": "new"}, "it was written over, and is his"
    house.engine.retry(job.id, who="anna")
    house.wait(job.id, JobState.DONE, seconds=20)
    assert len(texts(house.world, HOST.name, f"/srv/h/{USER}")) == 3
    assert database_text(house.world, HOST.name, USER, "main") == "rows"


def test_what_somebody_changed_while_an_import_waited_is_left_and_named(house: House) -> None:
    lay(house.world, HOST.name, "old.tar.gz", files={**HOME, "more": "x"})
    house.world.fault("hosting.bring_in", where="after", error=InDoubt("the answer was lost"))
    job_id = move(house).submitted.job_id
    assert house.wait(job_id, JobState.NEEDS_OPERATOR).state == JobState.NEEDS_OPERATOR
    put_file(house.world, HOST.name, f"/srv/h/{USER}", "home/more", "his own by now")
    house.engine.cancel(job_id, who="anna")
    assert house.wait(job_id, JobState.CANCELLED).state == JobState.CANCELLED
    assert texts(house.world, HOST.name, f"/srv/h/{USER}") == {"home/more": "his own by now"}


def test_the_tarball_stays_where_its_operator_has_put_it_and_is_named(house: House) -> None:
    lay(house.world, HOST.name, "old.tar.gz", files=HOME)
    job = house.wait(move(house).submitted.job_id)
    (step,) = [each for each in house.steps(job.id) if each.id == "import"]
    assert (step.facts or {})["left_on"] == {"node": HOST.name, "path": "/var/lib/orchestrator-agent/imports/old.tar.gz"}
    assert "old.tar.gz" in house.world.node(HOST.name)["tarballs"]


def test_what_is_hostile_is_refused_before_any_job_is_made(house: House) -> None:
    lay(house.world, HOST.name, "old.tar.gz", hostile="home/a leads out of the home, to /etc/shadow")
    with pytest.raises(Refused, match="leads out of the home"):
        move(house)
    assert not [job for job in house.jobs("s1") if job.intent == IntentKind.IMPORT]


def test_a_tarball_that_is_another_by_then_is_not_unpacked(year: Moves, house: House) -> None:
    lay(house.world, HOST.name, "old.tar.gz", files=HOME)
    year.pays_at = ""
    moved = house.engine.hosting.would_bring_in("s1", Moving(file="old.tar.gz", request_id="r1"))
    assert moved.workflow is not None
    assert [call.step for call in moved.workflow.calls] == ["account.set", "account.import"]
    house.world.fault("hosting.apply", delay=0.3)
    asked = move(house)
    lay(house.world, HOST.name, "old.tar.gz", files={"evil": "x"})
    job = house.wait(asked.submitted.job_id)
    assert (job.state, "another than the one that was looked at" in job.error) == (JobState.FAILED, True)
    assert texts(house.world, HOST.name, f"/srv/h/{USER}") == {}


def test_a_database_that_holds_something_is_not_loaded_over(house: House) -> None:
    write_database(house.world, HOST.name, USER, "main", "orders of today")
    lay(house.world, HOST.name, "old.tar.gz", dumps={"main": "old rows"})
    job = house.wait(move(house).submitted.job_id)
    assert (job.state, "holds something already" in job.error) == (JobState.FAILED, True)
    assert database_text(house.world, HOST.name, USER, "main") == "orders of today"


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ({"settings": {"sites": [{"name": "../x", "domains": ["a.example"]}]}}, RequestError, "no name of a site"),
        ({"settings": {"sites": [{"name": f"s{n}", "domains": [f"s{n}.example"]} for n in range(4)]}}, Refused, "4 sites"),
        ({"dumps": dict.fromkeys(("a", "b", "c"), "x")}, Refused, "4 databases are asked for, it has 3"),
    ],
)
def test_what_its_settings_ask_for_is_checked_as_all_that_is_set(
    house: House, said: dict[str, Any], error: type[Exception], words: str
) -> None:
    lay(house.world, HOST.name, "old.tar.gz", **said)
    with pytest.raises(error, match=words):
        move(house)


def test_nothing_moves_into_a_service_that_is_suspended_or_has_no_account(year: Moves, house: House) -> None:
    with pytest.raises(NotFound, match=r"no old\.tar\.gz"):
        move(house)
    lay(house.world, HOST.name, "old.tar.gz")
    house.event("order.created", "s2", client_id="c1", plan=SMALL.name, order_id="o2", domain="b.example")
    with pytest.raises(WrongState, match="has no account on a node"):
        house.engine.hosting.bring_in(
            "s2", Moving(file="old.tar.gz", request_id="r2"), who="anna", beside=lambda _conn, _moved: None
        )
    house.event("service.suspend", "s1", version=2, reason="abuse")
    year.rest()
    with pytest.raises(Refused, match="it is suspended"):
        move(house)
