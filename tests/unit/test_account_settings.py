"""What may be set of a hosting account, and what it comes to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.domain import account_checks as checks
from orchestrator.domain import account_settings, accounts
from orchestrator.domain.account_parts import AccountSettings, CronLine, SiteCertificate
from orchestrator.domain.account_settings import AccountChange
from orchestrator.domain.errors import Refused, RequestError
from orchestrator.domain.intents import Intent, IntentKind, Refusal
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import Terms
from tests.hosting_ground import SMALL

PLAN = replace(SMALL, sites=2, databases=2, php=("8.2", "7.4"))
TERMS = Terms(kind="hosting", plan=PLAN)
HASH = "*94BDCEBE19083CE2A1F959FD02F964C7AF4CFC29"
ACTIVE = Service(id="s1", client_id="c1", plan=PLAN.name, state=Lifecycle.ACTIVE, domain="shop.example")
CERTIFICATE = SiteCertificate(
    site="main", domains=("shop.example", "*.shop.example"), until=datetime(2027, 1, 1, tzinfo=UTC), sha256="ab"
)


def site(name: str, *domains: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "domains": list(domains), **more}


def after(service: Service, **parts: Any) -> AccountSettings:
    """What the account has when that was set."""
    received = account_settings.change(service, account_settings.read(parts), who="anna", why="asked", terms=TERMS)
    assert isinstance(received.decision, Intent), received.note
    moved = account_settings.moved(service, received.decision.arguments, PLAN)
    assert moved.account is not None
    return moved.account


def refusal(service: Service, terms: Terms = TERMS, **parts: Any) -> str:
    received = account_settings.change(service, account_settings.read(parts), who="anna", why="asked", terms=terms)
    assert isinstance(received.decision, Refusal)
    assert received.service == service
    return received.decision.reason


def test_a_part_that_is_not_named_stays_as_it_was_ordered() -> None:
    found = after(ACTIVE, cron=[{"schedule": "*/5 * * * *", "command": "php cron.php"}])
    ordered = accounts.settings_of(ACTIVE, PLAN)
    assert (found.sites, found.databases) == (ordered.sites, ordered.databases)
    assert found.cron == (CronLine(schedule="*/5 * * * *", command="php cron.php"),)


def test_a_new_site_has_the_plans_first_php_and_one_that_is_there_keeps_its_own() -> None:
    first = after(ACTIVE, sites=[site("main", "shop.example", php="7.4")])
    then = after(replace(ACTIVE, account=first), sites=[site("main", "shop.example"), site("blog", "Blog.Example.")])
    assert [(each.name, each.domains, each.php) for each in then.sites] == [
        ("main", ("shop.example",), "7.4"),
        ("blog", ("blog.example",), "8.2"),
    ]


def test_a_database_keeps_its_password_unless_another_is_given() -> None:
    first = after(ACTIVE, databases=[{"name": "main", "password_hash": HASH}, {"name": "wiki"}])
    then = after(replace(ACTIVE, account=first), databases=[{"name": "wiki", "password_hash": HASH}, {"name": "main"}])
    assert [(each.name, each.password_hash) for each in then.databases] == [("wiki", HASH), ("main", HASH)]


def test_a_database_is_never_dropped_by_leaving_it_out() -> None:
    assert "the database main is left out" in refusal(ACTIVE, databases=[{"name": "wiki"}])


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"sites": [site(f"s{n}", f"s{n}.example") for n in range(3)]}, "3 sites are asked for, it has 2"),
        ({"databases": [{"name": name} for name in ("main", "b", "c")]}, "3 databases are asked for, it has 2"),
        ({"sites": [site("main", "shop.example", php="8.3")]}, "sold with PHP 8.2, 7.4, and not with 8.3"),
    ],
)
def test_what_the_plan_does_not_have_is_refused_by_its_name(parts: dict[str, Any], words: str) -> None:
    said = refusal(ACTIVE, **parts)
    assert words in said
    assert PLAN.name in said


def test_of_two_changes_in_a_row_neither_undoes_the_other() -> None:
    one = {"account": account_settings.dump(account_settings.read({"sites": [site("blog", "blog.example")]}))}
    other = {"account": account_settings.dump(account_settings.read({"databases": [{"name": "main"}, {"name": "wiki"}]}))}
    both = account_settings.moved(account_settings.moved(ACTIVE, one, PLAN), other, PLAN).account
    assert both is not None
    assert ([each.name for each in both.sites], [each.name for each in both.databases]) == (["blog"], ["main", "wiki"])


def test_a_smaller_plan_is_refused_while_more_is_set_than_it_has() -> None:
    two = after(ACTIVE, sites=[site("main", "shop.example"), site("blog", "blog.example")])
    hindered = account_settings.hinders(replace(ACTIVE, account=two), SMALL)
    assert hindered is not None
    assert "2 sites are asked for, it has 1" in hindered.reason
    assert account_settings.hinders(ACTIVE, SMALL) is None


@pytest.mark.parametrize(
    "parts",
    [
        {"sites": [site("main", "localhost")]},
        {"sites": [site("../etc", "a.example")]},
        {"sites": [site("main")]},
        {"sites": [site("main", "a.example"), site("main", "b.example")]},
        {"sites": [site("main", "a.example"), site("two", "A.example")]},
        {"sites": [site("main", "shop.example; root /")]},
        {"sites": [site("main", "a.example", php="8.2; rm")]},
        {"databases": [{"name": "main`"}]},
        {"databases": [{"name": "main", "password_hash": "secret"}]},
        {"cron": [{"schedule": "* * * *", "command": "true"}]},
        {"cron": [{"schedule": "@daily", "command": "true\n* * * * * evil"}]},
        {"sites": [site(f"s{n}", *(f"{'x' * 60}{m}.s{n}.example" for m in range(99))) for n in range(9)]},
    ],
)
def test_what_no_account_can_have_is_said_before_anything_is_done(parts: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        account_settings.read(parts)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["*/5 * * * *", "0 4 1-7 * 0", "0,30 * * * 1-5", "@hourly"])
def test_a_schedule_is_taken_as_cron_takes_it(text: str) -> None:
    assert checks.schedule(text) == text


@pytest.mark.parametrize("text", ["60 * * * *", "* * * jan *", "5-1 * * * *", "@boot", "*  * * * *", "", "* * * * * x"])
def test_no_other_schedule_is(text: str) -> None:
    with pytest.raises(RequestError):
        checks.schedule(text)


@pytest.mark.parametrize(
    ("names", "domain", "covered"),
    [
        (("shop.example",), "shop.example", True),
        (("*.shop.example",), "www.shop.example", True),
        (("*.shop.example",), "shop.example", False),
        (("*.shop.example",), "a.www.shop.example", False),
        (("*.example",), "shop.example", True),
        (("Shop.Example",), "shop.example", True),
        (("otherwise.example",), "shop.example", False),
    ],
)
def test_a_star_stands_for_one_label(names: tuple[str, ...], domain: str, covered: bool) -> None:
    assert account_settings.covers(names, domain) is covered


def test_a_certificate_has_to_be_for_every_domain_of_its_site() -> None:
    def decided(certificate: SiteCertificate) -> Any:
        return account_settings.certify(ACTIVE, certificate, size=4096, who="anna", why="new", terms=TERMS).decision

    assert isinstance(decided(CERTIFICATE), Intent)
    short = decided(replace(CERTIFICATE, domains=("shop.example",)))
    assert isinstance(short, Refusal)
    assert "and not for www.shop.example" in short.reason
    assert isinstance(decided(replace(CERTIFICATE, site="blog")), Refusal)


def test_what_is_known_of_a_certificate_goes_with_its_site() -> None:
    job = account_settings.certify(ACTIVE, CERTIFICATE, size=4096, who="anna", why="new", terms=TERMS).decision
    assert isinstance(job, Intent)
    certified = account_settings.moved(ACTIVE, job.arguments, PLAN)
    assert certified.account is not None
    assert certified.account.certificates == (CERTIFICATE,)
    assert after(certified, sites=[site("blog", "blog.example")]).certificates == ()


@pytest.mark.parametrize("state", [state for state in Lifecycle if state != Lifecycle.ACTIVE])
def test_only_an_active_account_is_set(state: Lifecycle) -> None:
    assert f"it is {state}" in refusal(replace(ACTIVE, state=state), cron=[])


def test_a_guest_has_no_sites() -> None:
    assert "no hosting account" in refusal(ACTIVE, Terms(), cron=[])


def test_a_plan_that_is_sold_no_more_sets_nothing() -> None:
    assert "is not sold any more" in refusal(ACTIVE, Terms(kind="hosting"), cron=[])


def test_what_is_kept_is_read_back_as_it_was() -> None:
    full = after(ACTIVE, sites=[site("main", "shop.example")], databases=[{"name": "main", "password_hash": HASH}])
    full = replace(full, certificates=(CERTIFICATE,), cron=(CronLine(schedule="@daily", command="true"),))
    assert account_settings.from_store(account_settings.to_store(full)) == full
    change = account_settings.read({"sites": [site("main", "shop.example")], "cron": []})
    assert account_settings.read(account_settings.dump(change)) == change
    assert account_settings.read({}) == AccountChange()


def test_only_a_job_that_ended_well_changes_the_record() -> None:
    arguments = {"account": {"cron": [{"schedule": "@daily", "command": "true"}]}}

    def ended(*, well: bool) -> Service:
        return account_settings.after_job(ACTIVE, IntentKind.SET_ACCOUNT, arguments, TERMS, ended_well=well)

    assert ended(well=False) == ACTIVE
    assert ended(well=True).account is not None


def test_one_change_is_what_is_refused_and_nothing_is_decided_twice() -> None:
    with pytest.raises(Refused):
        account_settings.moved(ACTIVE, {"account": {"databases": []}}, PLAN)


def test_parts_that_fit_one_by_one_are_refused_where_together_no_request_to_a_node_holds_them() -> None:
    names = [f"{'a' * 60}.{'b' * 60}.{'c' * 60}.d{n}.example" for n in range(100)]
    full = replace(ACTIVE, account=after(ACTIVE, sites=[site("main", *names)]))
    lines = [{"schedule": "@daily", "command": "x" * 200} for _ in range(60)]
    after(ACTIVE, cron=lines)
    assert "it is too much for one account: with what is set already it has" in refusal(full, cron=lines)
    assert after(full, cron=lines[:20]).cron


def test_what_is_not_ascii_counts_as_a_request_to_a_node_holds_it() -> None:
    lines = [{"schedule": "@daily", "command": "é" * 300} for _ in range(50)]
    with pytest.raises(RequestError, match="too much for one account"):
        account_settings.read({"cron": lines})


def test_a_certificate_that_does_not_fit_into_a_request_with_the_account_is_refused() -> None:
    names = [f"{'a' * 60}.{'b' * 60}.{'c' * 60}.d{n}.example" for n in range(100)]
    full = replace(ACTIVE, account=after(ACTIVE, sites=[site("main", "shop.example"), site("more", *names)]))
    for size, kind in ((8_000, Intent), (60_000, Refusal)):
        found = account_settings.certify(full, CERTIFICATE, size=size, who="anna", why="new", terms=TERMS)
        assert isinstance(found.decision, kind)


@pytest.mark.parametrize(
    "told",
    [
        {"sites": [{"name": "main"}]},
        {"sites": 5},
        {"sites": ["x"]},
        {"sites": [{"name": "main", "domains": 5}]},
        {"databases": [None]},
        {"cron": [{"schedule": "@daily"}]},
        {"cron": {"a": 1}},
    ],
)
def test_settings_of_another_form_that_come_out_of_a_tarball_are_refused(told: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="no settings of an account"):
        account_settings.read(told)
