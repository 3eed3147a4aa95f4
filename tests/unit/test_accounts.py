"""What an account is to be, what is seen of it, and how the two differ; names that are none."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import account_drift, accounts
from orchestrator.domain.accounts import AccountFacts, domain_name, site_name
from orchestrator.domain.errors import Refused, RequestError
from orchestrator.domain.sales import sellable
from orchestrator.domain.services import Hold, HoldEffect, HoldReason
from tests.hosting_ground import HOST, LARGE, SMALL
from tests.live import KEY
from tests.unit.decision_words import NOW, L, service

ORDERED = service(L.ACTIVE, domain="Shop.Example.")


def facts(**changes: Any) -> dict[str, Any]:
    """An account that is as the small plan says, in the agent's words."""
    wanted = accounts.wanted(ORDERED, SMALL)
    sites = [{"name": s.name, "domains": list(s.domains), "php": s.php, "serving": "php"} for s in wanted.sites]
    told = {
        "user": "h100001",
        "uid": 100_001,
        "service_id": "s1",
        "job_id": "j1",
        "suspended_by": "",
        "wiping": False,
        "exists": True,
        "limits": asdict(wanted.limits),
        "sites": sites,
        "databases": [{"name": "main", "bytes": 0, "users": []}],
        "suspended": False,
    }
    return told | changes


def apart(**changes: Any) -> tuple[str, ...]:
    return account_drift.differences(accounts.wanted(ORDERED, SMALL), AccountFacts.parse(facts(**changes)))


@pytest.mark.parametrize(
    ("given_name", "taken"),
    [
        ("shop.example", "shop.example"),
        (" Shop.EXAMPLE. \n", "shop.example"),
        ("a-b.c--d.example", "a-b.c--d.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_a_domain_name_is_taken_in_small_letters(given_name: str, taken: str) -> None:
    assert domain_name(given_name) == taken


@pytest.mark.parametrize(
    "name",
    [
        "",
        "example",
        "shop_1.example",
        "-shop.example",
        "shop-.example",
        "192.0.2.1",
        "shop.example/x",
        "*.example.com",
        "shop example.com",
        "../etc",
        "$(id).example",
        "bücher.example",
        "ѕhop.example",  # a Cyrillic letter that looks like an s
        "\u212a.example",  # the sign of Kelvin, whose small letter is a k
        "xn--999999999.example",
        "ab--c.example",
        "a" * 64 + ".example",
        ".".join(["a" * 60] * 5),
    ],
)
def test_what_is_no_domain_name_is_refused(name: str) -> None:
    with pytest.raises(RequestError):
        domain_name(name)


@pytest.mark.parametrize("name", ["", "Main", "a/b", "..", "a b", "ü", "x" * 33])
def test_what_is_no_name_of_a_site_is_refused(name: str) -> None:
    with pytest.raises(RequestError):
        site_name(name)


@given(st.text(max_size=40))
def test_whatever_is_taken_as_a_domain_is_plain_ascii_with_two_labels(text: str) -> None:
    try:
        taken = domain_name(text)
    except RequestError:
        return
    assert taken.isascii()
    assert taken == taken.lower()
    assert set(taken) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert "." in taken


def test_an_order_becomes_one_site_with_and_without_www_and_one_database() -> None:
    wanted = accounts.wanted(ORDERED, SMALL)
    assert [(s.name, s.domains, s.php) for s in wanted.sites] == [("main", ("shop.example", "www.shop.example"), "8.2")]
    assert [each.name for each in wanted.databases] == ["main"]
    again = accounts.wanted(replace(ORDERED, domain="www.shop.example"), SMALL)
    assert again.sites == wanted.sites


def test_without_a_domain_there_is_no_site_and_a_plan_may_have_no_database() -> None:
    wanted = accounts.wanted(replace(ORDERED, domain=""), replace(SMALL, databases=0))
    assert (wanted.sites, wanted.databases) == ((), ())


def test_what_a_hold_limits_is_the_processor_and_never_more_than_was_sold() -> None:
    held = ORDERED.with_hold(Hold(reason=HoldReason.ABUSE, effect=HoldEffect.LIMIT, by="a", why="b", since=NOW))
    assert accounts.wanted(held, SMALL).in_force == replace(accounts.limits_of(SMALL), cpu_percent=5)
    assert accounts.wanted(held, replace(SMALL, cpu_percent=3)).in_force.cpu_percent == 3
    assert accounts.wanted(ORDERED, SMALL).in_force == accounts.limits_of(SMALL)


def test_what_the_node_is_told_is_plain_json_with_the_uid_in_the_user() -> None:
    made = accounts.spec(accounts.wanted(ORDERED, SMALL), accounts.access_of(ORDERED), service_id="s1", uid=100_001)
    told = made.dump()
    assert (told["user"], told["uid"], told["service_id"]) == ("h100001", 100_001, "s1")
    assert told["databases"] == [{"name": "main", "password_hash": ""}]
    assert told["limits"] == asdict(accounts.limits_of(SMALL))


def test_an_account_that_is_as_it_is_to_be_differs_in_nothing() -> None:
    assert apart() == ()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"exists": False}, "the account h100001 is not there"),
        ({"limits": None}, "it has no limits"),
        ({"sites": []}, "its site main is not there"),
        ({"databases": []}, "its database h100001_main is not there"),
        ({"suspended": True}, "it is suspended on its node, and not in our records"),
        ({"unknown": ["databases: away"], "databases": []}, "it cannot be seen whole: databases: away"),
    ],
)
def test_each_difference_is_a_sentence(changes: dict[str, Any], says: str) -> None:
    assert apart(**changes) == (says,)


@pytest.mark.parametrize("key", ["disk_bytes", "inodes", "cpu_percent", "memory_bytes", "tasks", "io_bytes_per_second", "iops"])
def test_every_limit_counts(key: str) -> None:
    found = apart(limits={**asdict(accounts.limits_of(SMALL)), key: 7})
    assert len(found) == 1
    assert found[0].startswith("it has 7 ")


@pytest.mark.parametrize("missing", ["job_id", "suspended_by", "wiping", "exists", "user", "service_id"])
def test_facts_without_what_has_to_be_told_are_no_facts(missing: str) -> None:
    told = facts()
    del told[missing]
    with pytest.raises(KeyError):
        AccountFacts.parse(told)


def test_what_does_not_fit_is_refused_with_the_numbers() -> None:
    limits = accounts.limits_of(SMALL)
    accounts.require_room(limits, used_bytes=limits.disk_bytes, used_inodes=limits.inodes)
    with pytest.raises(Refused, match="100,001 files and directories, the plan has 100,000"):
        accounts.require_room(limits, used_bytes=0, used_inodes=limits.inodes + 1)


def test_a_plan_of_hosting_is_smaller_where_it_gives_less_of_anything() -> None:
    assert SMALL.smaller_than(LARGE)
    assert not LARGE.smaller_than(SMALL)
    assert replace(LARGE, inodes=1).smaller_than(SMALL)


def test_a_domain_that_is_as_long_as_one_may_be_is_served_without_www() -> None:
    long = f"{'.'.join(['a' * 60] * 4)}.example"
    assert len(long) == 251
    (site,) = accounts.wanted(replace(ORDERED, domain=long), SMALL).sites
    assert site.domains == (long,)
    (site,) = accounts.wanted(replace(ORDERED, domain=long[2:]), SMALL).sites
    assert site.domains == (long[2:], f"www.{long[2:]}")


def test_of_a_key_whose_comment_no_node_takes_the_key_counts() -> None:
    key = " ".join(KEY.split(" ")[:2])
    access = accounts.access_of(replace(ORDERED, ssh_keys=(f"{key} jürgen@büro", f"{key} anna")))
    assert access.ssh_keys == (key, f"{key} anna")


def test_an_account_is_not_sold_with_more_keys_than_its_node_can_be_told_of() -> None:
    key = " ".join(KEY.split(" ")[:2])
    for many, sold in ((3, True), (4, False)):
        ordered = replace(ORDERED, ssh_keys=tuple(f"{key} {n}{'x' * 7_000}" for n in range(many)))
        with nullcontext() if sold else pytest.raises(RequestError, match="an account takes"):
            sellable(ordered, plans={ordered.plan: SMALL}, templates={}, nodes=(HOST,))
