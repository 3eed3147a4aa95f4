"""Charges and disputes over the API: real engine and store, simulated nodes."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.cli.main import run
from orchestrator.domain.charges import Charge, ChargeKind
from orchestrator.store import charges
from tests.integration.api.answers import refused
from tests.live import Live


def charged(live: Live, service_id: str, number: int = 1, kind: ChargeKind = ChargeKind.TRAFFIC) -> str:
    """A charge of a provisioned service, as the engine makes it."""
    charge = Charge(
        id=f"{service_id}.{kind.value}.{number}",
        service_id=service_id,
        kind=kind,
        amount=5_000 * number,
        quantity=number,
        reason="over the plan's traffic",
        clause="7.3.8",
        policy="zettagrid",
    )
    with live.db.write() as conn:
        charges.make(conn, charge, job_id="", now=live.clock.now())
    return charge.id


def items(live: Live, **filters: Any) -> list[str]:
    answer = live.http.get("/v1/charges", params=filters)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


def test_charges_are_listed_and_filtered(live: Live) -> None:
    live.provisioned("owes")
    one, two = charged(live, "owes"), charged(live, "owes", 2, ChargeKind.HOURS)
    assert items(live, service_id="owes") == sorted([one, two])
    assert items(live, service_id="owes", kind="hours") == [two]
    assert items(live, service_id="owes", since="2100-01-01T00:00:00Z") == []
    assert items(live, service_id="owes", since="2020-01-01T00:00:00+07:00", open="false") == []
    page = live.http.get("/v1/charges", params={"service_id": "owes", "limit": 1}).json()
    assert items(live, service_id="owes", after=page["next"]) == [max(one, two)]
    refused(live.http.get("/v1/charges", params={"kind": "late-fee"}), 400, "request-invalid")
    refused(live.http.get("/v1/charges", params={"since": "2026-11-01T00:00:00"}), 400, "request-invalid")


def test_a_charge_is_shown_with_its_clause_and_beside_its_service(live: Live) -> None:
    live.provisioned("shows")
    charge_id = charged(live, "shows")
    shown = live.http.get(f"/v1/charges/{charge_id}").json()
    assert (shown["amount"], shown["policy"], shown["clause"], shown["open"]) == (5_000, "zettagrid", "7.3.8", True)
    (noted,) = live.http.get("/v1/services/shows").json()["charges"]
    assert (noted["id"], noted["amount"], noted["open"]) == (charge_id, 5_000, True)
    refused(live.http.get("/v1/charges/nobody.traffic.1"), 404, "not-found")


def test_a_charge_is_taken_back_once_with_a_reason_that_billing_hears(live: Live) -> None:
    live.provisioned("forgiven")
    charge_id = charged(live, "forgiven")
    refused(live.http.post(f"/v1/charges/{charge_id}/take-back", json={}), 400, "request-invalid")
    taken = live.http.post(
        f"/v1/charges/{charge_id}/take-back", json={"why": "our fault"}, headers={"Idempotency-Key": "forgive-1"}
    )
    assert (taken.status_code, taken.json()["open"], taken.json()["why_taken_back"]) == (200, False, "our fault")
    again = live.http.post(
        f"/v1/charges/{charge_id}/take-back", json={"why": "our fault"}, headers={"Idempotency-Key": "forgive-1"}
    )
    assert again.headers["Idempotent-Replayed"] == "true"
    refused(live.http.post(f"/v1/charges/{charge_id}/take-back", json={"why": "once more"}), 409, "wrong-state")
    assert items(live, service_id="forgiven", open="true") == []
    rows = live.http.get("/v1/audit", params={"service_id": "forgiven"}).json()["items"]
    assert [row["facts"]["why"] for row in rows if row["what"] == "charge taken back"] == ["our fault"]


def test_the_metrics_have_what_stands_by_kind_and_plan(live: Live) -> None:
    live.provisioned("measured")
    charged(live, "measured", 3, ChargeKind.RESTORE)
    exposed = live.http.get("/metrics").text
    assert 'orchestrator_charges{kind="restore",plan="small"} 1.0' in exposed
    assert 'orchestrator_charges_rupiah{kind="restore",plan="small"} 15000.0' in exposed


def test_an_operator_notes_a_dispute_and_its_verdict(live: Live) -> None:
    live.provisioned("argues")
    said = live.http.post("/v1/services/argues/dispute", json={"invoice_id": "i1", "why": "billed twice"})
    assert (said.status_code, said.json()["outcome"]) == (200, "nothing")
    assert said.json()["detail"] == "invoice i1 is disputed: the clock of nonpayment stands"
    (hold,) = live.http.get("/v1/services/argues").json()["holds"]
    assert (hold["reason"], hold["effect"], hold["why"]) == ("dispute", "none", "billed twice")
    verdict = live.http.post("/v1/services/argues/settle", json={"invoice_id": "i1", "upheld": False})
    assert "settled against the customer" in verdict.json()["detail"]
    shown = live.http.get("/v1/services/argues").json()
    assert (shown["holds"], [d["upheld"] for d in shown["disputes"]]) == ([], [False])


@pytest.mark.parametrize("body", [{}, {"invoice_id": "i1"}, {"invoice_id": "", "why": "x"}, {"why": "x"}])
def test_a_dispute_needs_an_invoice_and_a_reason(live: Live, body: dict[str, Any]) -> None:
    refused(live.http.post("/v1/services/whichever/dispute", json=body), 400, "request-invalid")


@pytest.mark.parametrize("issued_at", ["9999-12-31T23:00:00Z", "0001-01-01T00:00:00Z", "2026-01-01T00:00:00"])
def test_a_dispute_of_an_invoice_of_no_time_is_refused(live: Live, issued_at: str) -> None:
    body = {"invoice_id": "i1", "why": "x", "issued_at": issued_at}
    refused(live.http.post("/v1/services/whichever/dispute", json=body), 400, "request-invalid")


def test_a_dispute_of_no_service_is_not_found(live: Live) -> None:
    refused(live.http.post("/v1/services/nobody/dispute", json={"invoice_id": "i1", "why": "x"}), 404, "not-found")


def typed(live: Live, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """What the command line says and ends with."""
    code = run(["--socket", str(live.socket), *words])
    said = capsys.readouterr()
    return code, said.out + said.err


def test_charges_can_be_seen_and_taken_back_on_the_command_line(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    live.provisioned("typed")
    charge_id = charged(live, "typed", 20)
    assert "Rp 100,000" in typed(live, capsys, "charge", "list", "--service", "typed", "--open")[1]
    assert "no charges" in typed(live, capsys, "charge", "list", "--service", "typed", "--taken-back")[1]
    code, shown = typed(live, capsys, "charge", "show", charge_id)
    assert (code, "7.3.8" in shown, "zettagrid" in shown) == (0, True, True)
    assert "Rp 100,000: over the plan's traffic" in typed(live, capsys, "service", "show", "typed")[1]
    assert typed(live, capsys, "charge", "take-back", charge_id, "--why", "x") == (0, f"{charge_id}: Rp 100,000 taken back\n")
    code, said = typed(live, capsys, "charge", "take-back", charge_id, "--why", "x")
    assert (code, "was taken back before: x" in said, "Traceback" in said) == (3, True, False)
    assert "Rp 100,000 (taken back)" in typed(live, capsys, "service", "show", "typed")[1]


def test_a_dispute_is_noted_and_settled_on_the_command_line(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    live.provisioned("disputes")
    noted = typed(live, capsys, "service", "dispute", "disputes", "--invoice", "i1", "--why", "billed twice")
    assert noted == (0, "disputes: invoice i1 is disputed: the clock of nonpayment stands\n")
    assert "open" in typed(live, capsys, "service", "show", "disputes")[1]
    assert typed(live, capsys, "service", "settle", "disputes", "--invoice", "i1")[0] == 2
    code, settled = typed(live, capsys, "service", "settle", "disputes", "--invoice", "i1", "--upheld")
    assert (code, settled) == (0, "disputes: invoice i1: settled for the customer, what was disputed is not due\n")
    assert "settled for the customer" in typed(live, capsys, "service", "show", "disputes")[1]
