"""A user that somebody made by hand moves into an account of his node: what is told of it first, what it counts as, what is
refused; on the simulated node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.adopting import Adoption, DatabaseFrom, SiteFrom
from orchestrator.domain.errors import NotFound, PermanentDriverError, Refused, RequestError, WrongState
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.sizes import compared
from orchestrator.drivers.fake.directories import texts
from orchestrator.drivers.fake.hosting_copies import database_text, write_database
from orchestrator.drivers.fake.hosting_strangers import settle, stranger
from orchestrator.engine.hosting import Adopted, Adopting
from orchestrator.store import audit
from tests.fault.house import House
from tests.hosting_ground import HOST, account
from tests.integration.test_due import record
from tests.integration.test_hosting import USER, bought
from tests.integration.test_hosting_settings import ROOMY
from tests.integration.test_moving_in import GB, Moves, owed

SHOP = Adoption(
    stranger="shop",
    sites=(SiteFrom(name="main", root="/home/shop/public_html"),),
    databases=(DatabaseFrom(name="wiki", source="shop_wiki"),),
)
LINE = {"schedule": "@daily", "command": "php cron.php"}


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


def by_hand(house: House, **said: Any) -> None:
    settle(house.world, HOST.name, "shop", **{"databases": {"shop_wiki": "pages"}, "crontab": [LINE], **said})


def asked(adoption: Adoption = SHOP, **more: Any) -> Adopting:
    return Adopting(adoption=adoption, request_id="r1", why="he moves", **more)


def adopt(house: House, adoption: Adoption = SHOP, **more: Any) -> Adopted:
    return house.engine.hosting.adopt("s1", asked(adoption, **more), who="anna", beside=lambda _conn, _made: None)


def would(house: House, adoption: Adoption = SHOP, **more: Any) -> Adopted:
    return house.engine.hosting.would_adopt("s1", asked(adoption, **more))


def test_its_site_database_and_cron_are_the_accounts_and_the_old_ones_out_of_force_and_kept(house: House) -> None:
    served = {"/etc/nginx/sites-enabled/shop": {"/home/shop/public_html": ["old.example"]}}
    by_hand(house, files={"public_html/index.php": "<?php", "letters": "x"}, vhosts=served)
    job = house.wait(adopt(house).submitted.job_id)
    assert (job.state, job.error) == (JobState.DONE, "")
    there = account(house.world, USER)
    assert there["sites"][0]["domains"] == ["shop.example", "www.shop.example", "old.example"]
    assert (there["cron"], there["manifest"]) == ([LINE], None)
    assert database_text(house.world, HOST.name, USER, "wiki") == "pages"
    assert texts(house.world, HOST.name, f"/srv/h/{USER}") == {
        "home/sites/main/public/index.php": "<?php",
        "home/letters": "x",
    }
    settings = record(house).account
    assert settings is not None
    assert [each.name for each in settings.databases] == ["main", "wiki"]
    old = stranger(house.world, HOST.name, "shop")
    assert (old["vhosts"], old["crontab"], old["files"]["letters"]) == ({}, [], "x")
    node = house.world.node(HOST.name)
    assert node["adopted"][f"shop/{job.id}"]["crontab"] == [LINE]
    assert (node["databases"], node["tarballs"]) == ({"shop_wiki": "pages"}, {})
    with house.db.read() as conn:
        assert ("anna", "adopt") in [(each.who, each.what) for each in audit.list_page(conn, service_id="s1")[0]]


def test_where_a_step_fails_the_old_vhost_and_crontab_are_back_and_tried_again_it_ends_right(house: House) -> None:
    by_hand(house)
    before, old = account(house.world, USER), stranger(house.world, HOST.name, "shop")
    house.world.fault("hosting.bring_in", error=PermanentDriverError("the quota is exceeded"))
    job = house.wait(adopt(house).submitted.job_id)
    assert job.state == JobState.FAILED
    assert stranger(house.world, HOST.name, "shop") == old
    after = account(house.world, USER)
    assert {key: after[key] for key in ("sites", "cron", "manifest", "open")} == {
        key: before[key] for key in ("sites", "cron", "manifest", "open")
    }
    assert house.world.node(HOST.name)["tarballs"] == {}
    house.engine.retry(job.id, who="anna")
    house.wait(job.id, JobState.DONE, seconds=20)
    assert database_text(house.world, HOST.name, USER, "wiki") == "pages"
    assert stranger(house.world, HOST.name, "shop")["vhosts"] == {}


def test_what_was_loaded_is_taken_out_again_so_that_another_job_may_load_it(house: House) -> None:
    by_hand(house)
    house.world.fault("hosting.unsuspend", error=PermanentDriverError("PHP does not start"))
    assert house.wait(adopt(house).submitted.job_id).state == JobState.FAILED
    assert database_text(house.world, HOST.name, USER, "wiki") == ""
    assert house.wait(adopt(house).submitted.job_id).state == JobState.DONE
    assert database_text(house.world, HOST.name, USER, "wiki") == "pages"


def test_a_dry_run_tells_all_that_is_in_the_way_and_changes_nothing(house: House) -> None:
    by_hand(house, bytes=9 << 40, obstacles=["/home/shop/x belongs to uid 0"], not_taken=["its mail"])
    before = house.world.node(HOST.name)
    sites = (*SHOP.sites, *(SiteFrom(name=f"s{n}", root=f"/home/shop/s{n}") for n in range(4)))
    bases = (*SHOP.databases, DatabaseFrom(name="b", source="b"), DatabaseFrom(name="c", source="c"))
    settle(house.world, HOST.name, "other", databases={"b": "", "c": ""})
    found = would(house, replace(SHOP, sites=sites, databases=bases))
    said = "\n".join(found.misfits)
    has, plans = compared(9 << 40, ROOMY.disk_bytes)
    for words in (
        "belongs to uid 0",
        f"the account would have {has}, its plan has {plans}",
        "5 sites, its plan has",
        "4 databases, its plan has",
        "no domain",
    ):
        assert words in said, words
    assert (found.workflow, found.remarks) == (None, ("its mail",))
    assert house.world.node(HOST.name)["accounts"] == before["accounts"]
    with pytest.raises(Refused, match="shop cannot be adopted: /home/shop/x belongs to uid 0"):
        adopt(house)
    assert not [job for job in house.jobs("s1") if job.intent == IntentKind.ADOPT]
    by_hand(house)
    assert would(house, replace(SHOP, sites=())).misfits == (
        "no site is named; nginx serves of shop: /home/shop/public_html (--site NAME=DIRECTORY)",
    )
    well = would(house)
    assert well.workflow is not None
    assert [call.id for call in well.workflow.calls] == ["close", "settings", "aside", "gather", "import", "drop", "reopen"]


def test_beyond_what_is_free_it_is_refused_and_with_consent_charged_as_an_import_is(house: House) -> None:
    by_hand(house, bytes=3 * GB + 1)
    assert "3 GB move in, 1 GB are free" in would(house).granted.reason
    with pytest.raises(Refused, match="the 3 GB beyond cost Rp 60,000: --pay"):
        adopt(house)
    house.world.fault("hosting.gather", error=PermanentDriverError("the disk is full"))
    job = house.wait(adopt(house, pay=True).submitted.job_id)
    assert (job.state, owed(house)) == (JobState.FAILED, [("s1.migration.r1", 60_000, False)])
    house.engine.retry(job.id, who="anna")
    house.wait(job.id, JobState.DONE, seconds=20)
    assert owed(house) == [("s1.migration.r1", 60_000, True)]


def test_only_what_is_on_the_accounts_own_node_is_adopted(house: House) -> None:
    with pytest.raises(NotFound, match=r"no user shop on h1 \(h1, where the account of s1 is\)"):
        adopt(house)
    by_hand(house)
    with pytest.raises(WrongState, match="the account of s1 is on h1, and shop lives on h2"):
        adopt(house, node="h2")
    assert house.wait(adopt(house, node="h1").submitted.job_id).state == JobState.DONE


@pytest.mark.parametrize(
    ("adoption", "error"),
    [
        (replace(SHOP, sites=(SiteFrom(name="../x", root="/home/shop"),)), RequestError),
        (replace(SHOP, databases=(DatabaseFrom(name="Shop", source="shop"),)), RequestError),
        (replace(SHOP, sites=SHOP.sites * 2), RequestError),
        (replace(SHOP, sites=(SiteFrom(name="main", root="/etc"),)), Refused),
        (replace(SHOP, stranger="root"), Refused),
        (replace(SHOP, stranger=USER), Refused),
        (replace(SHOP, databases=(DatabaseFrom(name="x", source="nothing"),)), NotFound),
    ],
)
def test_what_nobody_can_adopt_is_refused_before_any_job_is_made(
    house: House, adoption: Adoption, error: type[Exception]
) -> None:
    by_hand(house)
    with pytest.raises(error):
        adopt(house, adoption)
    assert not [job for job in house.jobs("s1") if job.intent == IntentKind.ADOPT]


def test_nobody_is_adopted_over_rows_that_are_there_or_into_what_is_suspended(year: Moves, house: House) -> None:
    by_hand(house)
    write_database(house.world, HOST.name, USER, "main", "orders of today")
    with pytest.raises(Refused, match="holds something already"):
        adopt(house, replace(SHOP, databases=(DatabaseFrom(name="main", source="shop_wiki"),)))
    house.event("service.suspend", "s1", version=2, reason="abuse")
    year.rest()
    with pytest.raises(Refused, match="it is suspended"):
        adopt(house)
