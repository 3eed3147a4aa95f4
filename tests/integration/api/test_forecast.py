"""What operators see of promises and deadlines: policies in sentences, what will happen, what a new policy would change, and
whether deadlines terminate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.store import services, settings
from tests.integration.api.answers import refused
from tests.live import PLAN, Live
from tests.served import Ran, command

DAY = timedelta(days=1)
POLICY = """
name: default
provider: Test Hosting
document: the terms of 2026
order:
  cancel_unpaid: {after: 40 days, clause: "1"}
overdue:
  suspend: {after: 2 days, clause: "2 a"}
  terminate: {after: 7 days, since: suspension, asks: true, notice: 3 days, clause: "2 b"}
restore: {per_month: 1, clause: "7"}
downgrade: {refund: false, clause: "8"}
"""
WHO = ("b-late", "c-late", "d-held")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A controller with one policy and four services: one owes nothing, two will, and one is suspended for its debt and may not
    be erased."""
    directory = tmp_path_factory.mktemp("promises")
    (directory / "policies").mkdir()
    (directory / "policies" / "default.yaml").write_text(POLICY, encoding="utf-8")
    made = Live(directory)
    made.start()
    try:
        now = made.clock.now()
        due = now + 1 * DAY
        nonpayment = Hold(reason=HoldReason.NONPAYMENT, effect=HoldEffect.STOP, by="test", why="", since=now)
        legal = Hold(reason=HoldReason.LEGAL, effect=HoldEffect.NO_ERASE, by="test", why="", since=now)
        with made.db.write() as conn:
            services.put(conn, of("a-free"), now=now)
            services.put(conn, of("b-late", due_at=due), now=now)
            services.put(conn, of("c-late", due_at=due + 5 * DAY), now=now)
            services.put(conn, of("d-held", due_at=now, holds=(nonpayment, legal), suspension_proven_at=now), now=now)
        yield made
    finally:
        made.stop()


def of(service_id: str, **parts: Any) -> Service:
    return Service(id=service_id, client_id=f"client-{service_id}", plan=PLAN, state=Lifecycle.ACTIVE, **parts)


def say(live: Live, *words: str) -> Ran:
    return command("--socket", str(live.socket), *words)


def told(acts: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(act["action"], act["clause"]) for act in acts]


@pytest.fixture
def waits(live: Live) -> Iterator[None]:
    with live.db.write() as conn:
        now = live.clock.now()
        settings.put(conn, settings.TERMINATIONS_WAIT, {"why": "it slept", "since": now.isoformat()}, now=now)
    yield
    with live.db.write() as conn:
        settings.remove(conn, settings.TERMINATIONS_WAIT)


def test_the_forecast_tells_what_will_happen_to_whom_when_and_by_which_clause(live: Live) -> None:
    found = live.http.get("/v1/forecast").json()
    assert ([item["service_id"] for item in found["items"]], found["next"], found["notes"]) == (list(WHO), None, [])
    late = found["items"][0]
    assert (late["client_id"], late["plan"], late["policy"]) == ("client-b-late", PLAN, "default")
    assert told(late["acts"]) == [("suspend", "2 a"), ("notice-terminate", "2 b"), ("terminate", "2 b")]
    suspend, _, terminate = late["acts"]
    assert datetime.fromisoformat(terminate["at"]) - datetime.fromisoformat(suspend["at"]) == 7 * DAY
    assert (suspend["asks"], terminate["asks"], terminate["waits"]) == (False, True, "")
    assert suspend["reason"] == "unpaid 2 days after the due date"


def test_what_stands_in_the_way_is_told_with_the_act(live: Live) -> None:
    (held,) = live.http.get("/v1/forecast", params={"service_id": "d-held"}).json()["items"]
    assert [(act["action"], act["waits"]) for act in held["acts"]][-1] == ("terminate", "a hold forbids erasing")


def test_the_forecast_ends_at_its_horizon(live: Live) -> None:
    found = live.http.get("/v1/forecast", params={"days": 4, "service_id": "b-late"}).json()["items"]
    assert [told(item["acts"]) for item in found] == [[("suspend", "2 a")]]
    assert live.http.get("/v1/forecast", params={"days": 4, "service_id": "c-late"}).json()["items"] == []


def test_the_forecast_is_paged_without_gaps(live: Live) -> None:
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = live.http.get("/v1/forecast", params={"limit": 1, "after": after}).json()
        (only,) = page["items"]
        seen.append(only["service_id"])
        after = page["next"]
    assert seen == list(WHO)


@pytest.mark.parametrize("query", [{"days": 0}, {"days": 367}, {"service_id": "a b"}, {"service": "b-late"}])
def test_a_forecast_of_nonsense_is_refused(live: Live, query: dict[str, Any]) -> None:
    refused(live.http.get("/v1/forecast", params=query), 400, "request-invalid")


def test_a_forecast_for_nobody_says_so(live: Live) -> None:
    refused(live.http.get("/v1/forecast", params={"service_id": "nobody"}), 404, "not-found")


def test_a_new_policy_shows_whose_acts_come_and_go_before_it_is_adopted(live: Live) -> None:
    text = POLICY.replace("after: 7 days", "after: 5 days")
    found = live.tcp(live.tokens["readonly"]).post("/v1/forecast", json={"text": text}).json()
    assert (found["policy"], found["plans"], found["notes"]) == ("default", [PLAN], [])
    assert [item["service_id"] for item in found["items"]] == list(WHO)
    change = found["items"][0]
    assert told(change["comes"]) == told(change["goes"]) == [("notice-terminate", "2 b"), ("terminate", "2 b")]
    comes, goes = (datetime.fromisoformat(change[side][-1]["at"]) for side in ("comes", "goes"))
    assert goes - comes == 2 * DAY
    assert (
        live.http.get("/v1/policies/default").json()["rules"][2]["sentence"].startswith("An overdue service is terminated 7 days")
    )


def test_who_would_be_asked_about_is_a_change_too(live: Live) -> None:
    asking = POLICY.replace('{after: 2 days, clause: "2 a"}', '{after: 2 days, asks: true, clause: "2 a"}')
    (change, *_) = live.http.post("/v1/forecast", json={"text": asking}).json()["items"]
    sides = [[(act["action"], act["asks"]) for act in change[side]] for side in ("goes", "comes")]
    assert sides == [[("suspend", False)], [("suspend", True)]]


def test_each_termination_waits_for_a_person_whatever_its_policy_says(live: Live) -> None:
    found = live.http.post("/v1/forecast", json={"text": POLICY.replace("asks: true", "asks: false")}).json()
    assert found["items"] == []


def test_a_policy_that_is_the_same_changes_nothing(live: Live) -> None:
    assert live.http.post("/v1/forecast", json={"text": POLICY}).json()["items"] == []


def test_a_policy_of_no_plan_says_so(live: Live) -> None:
    found = live.http.post("/v1/forecast", json={"text": POLICY.replace("name: default", "name: other")}).json()
    assert (found["items"], found["plans"]) == ([], [])
    assert "no plan has the policy 'other'" in found["notes"][0]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (POLICY.replace("after: 40 days", "after: soon"), "new.yaml:6: order.cancel_unpaid.after: "),
        (POLICY + "late_fee: 5\n", "new.yaml:12: late_fee: "),
        (POLICY + "late_payment: {what: from-archive, clause: '8'}\n", "new.yaml:12: late_payment.what: needs an archive"),
        ("a: [", "new.yaml:"),
        ("a: &a [*a, *a]", "new.yaml:"),
    ],
)
def test_a_policy_with_a_fault_is_refused_with_its_line(live: Live, text: str, where: str) -> None:
    problem = refused(live.http.post("/v1/forecast", json={"file": "new.yaml", "text": text}), 400, "request-invalid")
    assert problem["detail"].startswith(where)


def test_a_policy_without_end_is_not_read(live: Live) -> None:
    refused(live.http.post("/v1/forecast", json={"text": "#" * 20_000}), 413, "body-too-large")


def test_a_service_is_shown_with_the_next_acts_on_it(live: Live) -> None:
    assert told(live.http.get("/v1/services/b-late").json()["deadlines"])[0] == ("suspend", "2 a")
    assert live.http.get("/v1/services/a-free").json()["deadlines"] == []
    shown = say(live, "service", "show", "b-late").stdout
    assert "suspend: unpaid 2 days after the due date (2 a)" in shown
    assert "waits: an operator's approval" in shown
    assert "to come" not in say(live, "service", "show", "a-free").stdout


def test_policies_are_listed_with_their_plans(live: Live) -> None:
    (only,) = live.http.get("/v1/policies").json()["items"]
    assert only == {"name": "default", "provider": "Test Hosting", "document": "the terms of 2026", "plans": [PLAN]}
    listed = say(live, "policy", "list").stdout
    assert "Test Hosting" in listed
    assert PLAN in listed


def test_a_policy_is_told_in_sentences_with_what_is_kept_and_what_is_silent(live: Live) -> None:
    rules = {rule["rule"]: rule for rule in live.http.get("/v1/policies/default").json()["rules"]}
    assert rules["overdue.suspend"]["sentence"] == "An overdue service is suspended 2 days after the due date."
    shown = {
        path: (rules[path]["clause"], rules[path]["kept"], rules[path]["silent"])
        for path in ("overdue.suspend", "restore", "downgrade", "archive")
    }
    assert shown == {
        "overdue.suspend": ("2 a", True, False),
        "restore": ("7", True, False),
        "downgrade": ("8", False, False),
        "archive": ("", False, True),
    }
    lines = say(live, "policy", "show", "default").stdout.splitlines()
    assert any("kept" in line and "suspended 2 days" in line and "2 a" in line for line in lines)
    assert any("by hand" in line and "smaller plan" in line for line in lines)
    assert any("silent" in line and "Keeping an archive" in line for line in lines)
    refused(live.http.get("/v1/policies/none"), 404, "not-found")


def test_the_command_line_tells_the_forecast_by_time(live: Live) -> None:
    lines = say(live, "forecast").stdout.splitlines()
    assert lines[0].startswith("WHEN")
    assert [line[:20] for line in lines[1:]] == sorted(line[:20] for line in lines[1:])
    assert {line.split()[2] for line in lines[1:]} == set(WHO)
    assert say(live, "forecast", "--service", "a-free").stdout == "nothing within 30 days (--days N looks further)\n"
    paged = say(live, "forecast", "--limit", "1", "--all", "--json")
    assert [item["service_id"] for item in json.loads(paged.stdout)["items"]] == list(WHO)


def test_the_command_line_shows_what_a_policy_file_would_change(live: Live, tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    file.write_text(POLICY.replace("after: 2 days", "after: 3 days"), encoding="utf-8")
    lines = say(live, "forecast", "--policy-file", str(file), "--service", "b-late").stdout.splitlines()
    assert lines[0] == f"default: plans {PLAN}"
    signs = [(line.split()[0], line.split()[4]) for line in lines[2:] if "suspend" in line]
    assert signs == [("-", "suspend"), ("+", "suspend")]
    file.write_text(POLICY.replace("after: 40 days", "after: soon") + "late_fee: 5\n", encoding="utf-8")
    wrong = say(live, "forecast", "--policy-file", str(file))
    assert wrong.returncode == 2
    assert "new.yaml:6: order.cancel_unpaid.after" in wrong.stderr
    assert "new.yaml:12: late_fee" in wrong.stderr
    assert say(live, "forecast", "--policy-file", str(tmp_path / "none.yaml")).returncode == 2
    file.write_bytes(b"\xff\xfe")
    assert "UTF-8" in say(live, "forecast", "--policy-file", str(file)).stderr


def test_nothing_waits_unless_the_controller_was_away(live: Live) -> None:
    assert live.http.get("/v1/terminations").json() == {"wait": False, "why": "", "since": None, "waits": []}
    assert say(live, "terminations", "show").stdout == "deadlines terminate\n"
    assert say(live, "freeze", "--why", "look first").returncode == 0
    assert "a freeze is in force" in say(live, "terminations", "show").stdout
    assert say(live, "freeze", "off").returncode == 0
    assert "orchestrator_terminations_wait 0.0" in live.http.get("/metrics").text


@pytest.mark.usefixtures("waits")
def test_terminations_that_wait_are_seen_everywhere_and_released_once_with_a_reason(live: Live) -> None:
    assert live.http.get("/v1/terminations").json()["why"] == "it slept"
    assert "it slept" in say(live, "terminations", "show").stdout
    assert "orchestrator_terminations_wait 1.0" in live.http.get("/metrics").text
    ahead = live.http.get("/v1/forecast", params={"service_id": "b-late"}).json()
    assert "orchestrator terminations show" in ahead["items"][0]["acts"][-1]["waits"]
    assert ahead["items"][0]["acts"][0]["waits"] == ""
    assert "it slept" in ahead["notes"][0]
    refused(live.http.post("/v1/terminations/release", json={}), 400, "request-invalid")
    assert say(live, "terminations", "release").returncode == 2
    assert live.http.get("/v1/terminations").json()["wait"] is True
    assert say(live, "terminations", "release", "--why", "billing was asked").stdout == "deadlines terminate\n"
    row = live.http.get("/v1/audit", params={"limit": 1}).json()["items"][0]
    assert (row["what"], row["facts"]) == ("terminations released", {"why": "billing was asked", "waited": "it slept"})
    assert row["who"].startswith("unix:")
    assert say(live, "terminations", "release", "--why", "again").returncode == 0
    assert live.http.get("/v1/audit", params={"limit": 1}).json()["items"][0]["seq"] == row["seq"]
