"""Leaving over the API and by the command line: what is answered, who may, and what is refused by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.api.answers import refused
from tests.live import Live
from tests.served import Ran, command

POLICY = """
name: default
provider: Test Hosting
cancellation: {effect: period-end, needs_confirmation: true, clause: "4"}
ending_without_cause: {notice: 30 days, clause: "5"}
personal_data:
  delete_on_request: {clause: "9"}
"""
UNTIL = (datetime.now(UTC) + timedelta(days=20)).replace(microsecond=0)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    directory = tmp_path_factory.mktemp("leaving")
    (directory / "policies").mkdir()
    (directory / "policies" / "default.yaml").write_text(POLICY, encoding="utf-8")
    controller = Live(directory)
    controller.start()
    try:
        yield controller
    finally:
        controller.stop()


def running(live: Live, service_id: str) -> None:
    live.provisioned(service_id)
    live.send("invoice.paid", service_id, paid_until=UNTIL.isoformat())


def post(live: Live, service_id: str, act: str, **body: Any) -> dict[str, Any]:
    answer = live.http.post(f"/v1/services/{service_id}/{act}", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def shown(live: Live, service_id: str) -> dict[str, Any]:
    found: dict[str, Any] = live.http.get(f"/v1/services/{service_id}").json()
    return found


def ended(service: dict[str, Any]) -> list[str]:
    return [deadline["at"] for deadline in service["deadlines"] if deadline["action"] == "end"]


def test_it_is_cancelled_confirmed_and_kept(live: Live) -> None:
    running(live, "left")
    asked = post(live, "left", "cancel", why="moves away")
    assert (asked["effective_at"], asked["needs"], asked["clause"]) == (None, "confirmation", "4")
    assert ended(shown(live, "left")) == []
    confirmed = post(live, "left", "cancel", why="said so", confirmed=True)
    assert datetime.fromisoformat(confirmed["effective_at"]) == UNTIL
    service = shown(live, "left")
    assert [datetime.fromisoformat(at) for at in ended(service)] == [UNTIL]
    assert (service["cancellation"]["why"], service["cancellation"]["kind"]) == ("moves away", "customer")
    assert service["activated_at"] is not None
    assert post(live, "left", "keep", why="stays")["effective_at"] is None
    assert shown(live, "left")["cancellation"] is None


def test_a_dry_run_tells_the_day_and_changes_nothing(live: Live) -> None:
    running(live, "tried")
    answer = live.http.post("/v1/services/tried/cancel", params={"dry_run": "true"}, json={"confirmed": True})
    assert (answer.json()["outcome"], datetime.fromisoformat(answer.json()["effective_at"])) == ("dry-run", UNTIL)
    assert shown(live, "tried")["cancellation"] is None


def test_a_day_is_its_end_in_the_providers_zone_and_takes_an_operator(live: Live) -> None:
    running(live, "dated")
    body = {"why": "agreed", "on": "2099-12-31", "confirmed": True}
    assert post(live, "dated", "cancel", **body)["effective_at"] == "2100-01-01T00:00:00Z"
    billing = live.tcp(live.tokens["billing"])
    refused(billing.post("/v1/services/dated/cancel", json=body), 403, "forbidden")
    refused(billing.post("/v1/services/dated/cancel", json={"why": "we", "by_provider": True}), 403, "forbidden")
    assert billing.post("/v1/services/dated/cancel", json={"why": "again"}).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"why": "x", "on": "2001-01-01"}, 409, "refused"),
        ({"why": "x", "on": "9999-12-31"}, 400, "request-invalid"),
        ({"why": "x", "on": "soon"}, 400, "request-invalid"),
        ({"confirmed": True}, 400, "request-invalid"),
        ({"why": "x", "money_back": True}, 409, "refused"),
        ({"why": "x", "money_back": True, "by_provider": True}, 400, "request-invalid"),
        ({"why": "x", "moneyback": True}, 400, "request-invalid"),
    ],
)
def test_what_cannot_be_is_refused(live: Live, body: dict[str, Any], status: int, code: str) -> None:
    if not live.jobs("wrong"):
        running(live, "wrong")
    refused(live.http.post("/v1/services/wrong/cancel", json=body), status, code)
    assert shown(live, "wrong")["cancellation"] is None


def test_there_is_nothing_to_cancel_keep_or_forget_of_a_service_that_nobody_knows(live: Live) -> None:
    for act in ("cancel", "keep", "forget"):
        refused(live.http.post(f"/v1/services/nobody/{act}", json={"why": "x"}), 404, "not-found")


def test_billing_cancels_by_an_event_and_takes_it_back(live: Live) -> None:
    running(live, "told")
    answer = live.send("service.cancel", "told", version=1, confirmed=True, reason="too dear")
    assert (answer.status_code, answer.json()["outcome"]) == (200, "nothing")
    assert "it ends at" in answer.json()["detail"]
    assert shown(live, "told")["cancellation"]["by"].startswith("event shop/")
    assert live.send("service.keep", "told", version=2).status_code == 200
    assert shown(live, "told")["cancellation"] is None


def test_only_what_has_ended_is_forgotten_and_an_operator_does_it(live: Live) -> None:
    running(live, "gone")
    problem = refused(live.http.post("/v1/services/gone/forget", json={"why": "asked"}), 409, "refused")
    assert "only what has ended is forgotten" in problem["detail"]
    job_id = live.http.post("/v1/services/gone/terminate", json={"reason": "x"}).json()["job_id"]
    live.wait(job_id)
    refused(live.tcp(live.tokens["billing"]).post("/v1/services/gone/forget", json={"why": "x"}), 403, "forbidden")
    assert "[default: 9]" in post(live, "gone", "forget", why="asked by mail")["detail"]
    service = shown(live, "gone")
    assert (service["client_id"], service["order_id"]) == ("", "")
    assert service["forgotten_at"] is not None
    assert live.http.get("/v1/audit/verify").json()["ok"] is True


# -- by the command line ------------------------------------------------------


def run(live: Live, *arguments: str) -> Ran:
    return command("--socket", str(live.socket), *arguments)


def test_the_command_line_tells_the_day_and_the_clause(live: Live) -> None:
    running(live, "typed")
    day = UNTIL.strftime("%Y-%m-%d %H:%M:%SZ")
    tried = run(live, "service", "cancel", "typed", "--confirmed", "--dry-run")
    assert tried.stdout.strip() == f"typed: would end at {day}: at the end of the period [4]"
    asked = run(live, "service", "cancel", "typed", "--why", "moves away")
    assert "nothing ends yet: it waits for the customer's confirmation [4]" in asked.stdout
    confirmed = run(live, "service", "cancel", "typed", "--why", "by mail", "--confirmed")
    assert confirmed.stdout.strip() == f"typed: ends at {day}: at the end of the period [4]"
    assert "customer, asked" in run(live, "service", "show", "typed").stdout
    assert "is kept" in run(live, "service", "keep", "typed").stdout
    given = run(live, "service", "cancel", "typed", "--why", "agreed", "--by-provider", "--on", "2099-01-01", "--json")
    assert json.loads(given.stdout)["effective_at"] == "2099-01-02T00:00:00Z"
    assert run(live, "service", "keep", "typed").returncode == 0


def test_the_command_line_refuses_with_a_sentence(live: Live) -> None:
    running(live, "mistyped")
    for arguments, code, words in (
        (("cancel", "mistyped"), 2, "--why"),
        (("cancel", "mistyped", "--why", "x", "--money-back", "--by-provider"), 2, "neither"),
        (("cancel", "mistyped", "--why", "x", "--money-back"), 4, "gives no money back"),
        (("cancel", "mistyped", "--why", "x", "--on", "soon"), 2, "soon"),
        (("forget", "mistyped", "--why", "x"), 2, "--yes-i-mean mistyped"),
        (("forget", "mistyped", "--why", "x", "--yes-i-mean", "other"), 2, "nothing was done"),
        (("forget", "mistyped", "--why", "x", "--yes-i-mean", "mistyped"), 4, "only what has ended"),
    ):
        result = run(live, "service", *arguments)
        assert (result.returncode, words in result.stderr, "Traceback" in result.stderr) == (code, True, False), result.stderr
