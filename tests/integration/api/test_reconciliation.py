"""POST /v1/reconciliation: what a list changes, what it is answered, and who may send one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from orchestrator.api.billing_list import LIST_LIMIT
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.store import audit, services, settings
from tests.integration.api.answers import refused
from tests.live import BODY_LIMIT, Live

PATH = "/v1/reconciliation"
UNTIL = datetime(2030, 1, 1, tzinfo=UTC)


def text(*rows: tuple[str, str | None, str]) -> str:
    return json.dumps([{"service": service, "paid_until": until, "state": state} for service, until, state in rows])


def post(live: Live, body: str, *, key: str = "", **params: str) -> httpx.Response:
    return live.http.post(PATH, content=body, params=params, headers={"Idempotency-Key": key} if key else {})


def answered(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def service(live: Live, service_id: str) -> dict[str, Any]:
    found: dict[str, Any] = live.http.get(f"/v1/services/{service_id}").json()
    return found


def suspended(live: Live, service_id: str) -> None:
    live.provisioned(service_id)
    live.wait(live.send("service.suspend", service_id, version=1).json()["job_id"])


def of(found: dict[str, Any], service_id: str) -> list[dict[str, Any]]:
    return [one for one in found["differences"] if one["service_id"] == service_id]


def test_a_lost_payment_is_shown_then_counted_once(live: Live) -> None:
    suspended(live, "paid")
    body = text(("paid", UNTIL.isoformat(), "active"))
    looked = answered(post(live, body, dry_run="true"))
    assert (looked["dry_run"], looked["counts"]["paid-further"]) == (True, 1)
    assert [(one["kind"], one["outcome"]) for one in of(looked, "paid")] == [("paid-further", ""), ("state", "")]
    assert service(live, "paid")["suspended"]
    done = answered(post(live, body, source="export.json", key="once"))
    first = of(done, "paid")[0]
    assert first["outcome"] == "accepted"
    live.wait(first["job_id"])
    after = service(live, "paid")
    assert (after["suspended"], after["payments"]) == (False, 2)
    again = post(live, body, source="export.json", key="once")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == done
    assert of(answered(post(live, body, source="export.json")), "paid") == []
    assert service(live, "paid")["payments"] == 2


def test_what_is_only_told(live: Live) -> None:
    live.provisioned("ours")
    done = answered(post(live, text(("theirs", None, "active"))))
    assert [one["kind"] for one in of(done, "theirs")] == ["unknown-here"]
    assert [one["kind"] for one in of(done, "ours")] == ["not-in-list"]
    assert set(done["counts"]) == {"paid-further", "paid-less", "state", "unknown-here", "not-in-list"}
    assert service(live, "ours")["state"] == "active"


def test_the_audit_names_the_caller_the_list_and_its_digest(live: Live) -> None:
    live.provisioned("audited")
    done = answered(post(live, text(("audited", UNTIL.isoformat(), "active")), source="https://billing.example/list"))
    with live.db.read() as conn:
        rows, _ = audit.list_page(conn, limit=50, service_id="audited")
    (mended,) = [one for one in rows if one.what == "reconciled"]
    assert mended.who.startswith("unix:")
    assert (mended.facts["list"], mended.facts["sha256"]) == ("https://billing.example/list", done["sha256"])


def test_one_bad_row_and_nothing_of_the_list_is_applied(live: Live) -> None:
    live.provisioned("untouched")
    body = f"service,paid_until,state\nuntouched,{UNTIL.isoformat()},active\nother,soon,active\n"
    problem = refused(post(live, body), 400, "request-invalid")
    assert problem["details"]["problems"][0]["path"] == "line 3"
    assert service(live, "untouched")["payments"] == 1


def test_a_list_may_be_longer_than_an_event_and_not_without_end(live: Live) -> None:
    live.provisioned("long")
    rows = [("long", UNTIL.isoformat(), "active"), *((f"closed-{n}", None, "terminated") for n in range(1000))]
    body = text(*rows)
    assert len(body) > 3 * BODY_LIMIT
    assert answered(post(live, body))["services"] == 1001
    refused(post(live, " " * (LIST_LIMIT + 1)), 413, "body-too-large")
    refused(live.http.post("/v1/services/long/check", content=b" " * (BODY_LIMIT + 1)), 413, "body-too-large")


def test_of_very_many_differences_the_first_are_told_and_all_are_counted(live: Live) -> None:
    done = answered(post(live, text(*((f"strange-{n:04}", None, "active") for n in range(1203)))))
    assert (done["counts"]["unknown-here"], len(done["differences"])) == (1203, 1000)
    assert done["left_out"] >= 203


def test_terminations_that_wait_go_on_unless_somebody_or_a_gap_in_the_list_keeps_them(live: Live) -> None:
    live.provisioned("waits")
    now = SystemClock().now()
    with live.db.write() as conn:
        settings.put(conn, settings.TERMINATIONS_WAIT, {"why": "away", "since": now.isoformat()}, now=now)
        everything = [one.id for one in services.list_page(conn, limit=500)[0]]
    gap = text(("waits", None, "active"))
    whole = text(*((one, None, "active") for one in everything))
    live.provisioned("added")
    assert "says nothing of their payments" in answered(post(live, gap))["terminations"]
    assert "says nothing of their payments" in answered(post(live, whole))["terminations"]
    whole = text(*((one, None, "active") for one in [*everything, "added"]))
    assert "as was asked" in answered(post(live, whole, keep_waiting="true"))["terminations"]
    assert "would be released" in answered(post(live, whole, dry_run="true"))["terminations"]
    assert "are released" in answered(post(live, whole))["terminations"]
    assert answered(post(live, whole))["terminations"] == ""


@pytest.mark.parametrize(("role", "status"), [("readonly", 403), ("billing", 403), ("operator", 200), ("admin", 200)])
def test_operators_reconcile(live: Live, role: str, status: int) -> None:
    answer = live.tcp(live.tokens[role]).post(PATH, content=text(("closed", None, "terminated")), params={"dry_run": "true"})
    assert answer.status_code == status, answer.text


def test_a_misspelt_parameter_is_no_reconciliation(live: Live) -> None:
    problem = refused(post(live, text(("a", None, "active")), dryrun="true"), 400, "request-invalid")
    assert "did you mean 'dry_run'?" in problem["detail"]
