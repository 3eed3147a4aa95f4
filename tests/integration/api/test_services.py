"""Services, their acts, jobs and events over the API: real engine and store, simulated nodes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.api.answers import refused
from tests.live import CRYPT, PLAN, Live
from tests.served import command


def test_a_service_is_shown_with_its_node_addresses_and_no_secret(live: Live) -> None:
    live.send("order.created", "shown", client_id="c9", plan=PLAN, password_hash=CRYPT)
    live.provisioned("shown")
    shown = live.http.get("/v1/services/shown")
    service = shown.json()
    assert (service["state"], service["node"], service["nodes_ever"]) == ("active", "n1", ["n1"])
    assert (service["client_id"], service["plan"], service["password_set"]) == ("c9", PLAN, True)
    assert CRYPT not in shown.text + live.http.get("/v1/events").text
    lease = live.http.get("/v1/ips/leases/shown").json()
    assert lease["ipv4"][0].startswith("10.9.")
    assert lease["ipv6"][0].startswith("fd09::")
    assert lease in live.http.get("/v1/ips/leases", params={"limit": 500}).json()["items"]


def test_what_was_due_is_told_as_settled_once_it_is_paid_and_as_owed_when_it_is_due_again(live: Live) -> None:
    live.provisioned("owing")
    now = datetime.now(UTC)
    due = {"due_at": (now + timedelta(days=1)).isoformat()}
    for seconds, kind, settled in ((1, "invoice.overdue", False), (2, "invoice.paid", True), (3, "invoice.overdue", False)):
        said = (now + timedelta(seconds=seconds)).isoformat()
        live.send(kind, "owing", event_id=f"owing-{seconds}", said=said, invoice_id=f"i-{seconds}", **due)
        assert live.http.get("/v1/services/owing").json()["due_settled"] is settled
        shown = command("--socket", str(live.socket), "service", "show", "owing").stdout
        assert ("settled since" in shown) is settled


def test_explain_tells_why_this_node_and_why_not_the_others(live: Live) -> None:
    job_id = live.provisioned("placed")
    told = live.http.get("/v1/services/placed/explain").json()
    assert (told["node"], told["job_id"]) == ("n1", job_id)
    verdicts = {verdict["node"]: verdict for verdict in told["verdicts"]}
    assert verdicts["n1"]["fits"] is True
    assert verdicts["n2"]["fits"] is False
    assert any("maintenance" in reason for reason in verdicts["n2"]["reasons"])


def test_explain_of_a_service_that_was_never_placed_says_so(live: Live) -> None:
    live.send("order.created", "unplaced", client_id="c1", plan=PLAN)
    assert live.http.get("/v1/services/unplaced/explain").json()["job_id"] == ""


def test_stop_and_start_run_as_jobs(live: Live) -> None:
    live.provisioned("power")
    for action in ("stop", "start", "reboot", "check"):
        answer = live.http.post(f"/v1/services/power/{action}")
        assert answer.status_code == 202, answer.text
        assert live.wait(answer.json()["job_id"]).state == "done"


def test_suspend_names_its_hold_and_unsuspend_lifts_that_one(live: Live) -> None:
    live.provisioned("held")
    answer = live.http.post("/v1/services/held/suspend", json={"reason": "sends spam", "hold": "abuse"})
    live.wait(answer.json()["job_id"])
    (hold,) = live.http.get("/v1/services/held").json()["holds"]
    assert (hold["reason"], hold["effect"], hold["why"]) == ("abuse", "stop", "sends spam")
    assert hold["by"].startswith("unix:")
    refused(live.http.post("/v1/services/held/start"), 409, "refused")
    answer = live.http.post("/v1/services/held/unsuspend", json={"hold": "abuse"})
    assert live.wait(answer.json()["job_id"]).state == "done"
    assert live.http.get("/v1/services/held").json()["suspended"] is False


def test_limit_names_its_hold_and_the_service_runs_on_until_unlimit_lifts_that_one(live: Live) -> None:
    live.provisioned("slow")
    answer = live.http.post("/v1/services/slow/limit", json={"reason": "a copyright notice", "hold": "abuse"})
    assert live.wait(answer.json()["job_id"]).state == "done"
    shown = live.http.get("/v1/services/slow").json()
    (hold,) = shown["holds"]
    assert (hold["reason"], hold["effect"], hold["why"]) == ("abuse", "limit", "a copyright notice")
    assert (shown["limited"], shown["suspended"], shown["limited_proven_at"] is not None) == (True, False, True)
    assert [one["id"] for one in live.http.get("/v1/services?limited=true").json()["items"]] == ["slow"]
    assert live.wait(live.http.post("/v1/services/slow/reboot").json()["job_id"]).state == "done"
    refused(live.http.post("/v1/services/slow/unlimit"), 409, "refused")
    answer = live.http.post("/v1/services/slow/unlimit", json={"hold": "abuse"})
    assert live.wait(answer.json()["job_id"]).state == "done"
    assert live.http.get("/v1/services/slow").json()["limited"] is False
    assert live.http.get("/v1/services?limited=true").json()["items"] == []


@pytest.mark.parametrize("action", ["suspend", "limit", "terminate"])
def test_what_takes_something_away_needs_a_reason(live: Live, action: str) -> None:
    refused(live.http.post(f"/v1/services/whichever/{action}"), 400, "request-invalid")


def test_a_command_with_nothing_to_do_is_answered_200_and_why(live: Live) -> None:
    live.provisioned("calm")
    answer = live.http.post("/v1/services/calm/unsuspend")
    assert (answer.status_code, answer.json()["outcome"], answer.json()["job_id"]) == (200, "nothing", "")
    assert answer.json()["detail"]


def test_dry_run_answers_the_workflow_and_changes_nothing(live: Live) -> None:
    live.provisioned("dry")
    before = live.http.get("/v1/services/dry").json()
    answer = live.http.post("/v1/services/dry/terminate", params={"dry_run": "true"})
    assert answer.status_code == 200
    workflow = answer.json()["workflow"]
    assert (workflow["playbook"], workflow["service_id"]) == ("vps-terminate", "dry")
    assert any(call["destructive"] for call in workflow["calls"])
    assert live.http.get("/v1/services/dry").json() == before
    assert len(live.jobs("dry")) == 1


def test_terminate_leaves_a_certificate_that_verifies(live: Live) -> None:
    live.provisioned("ended")
    answer = live.http.post("/v1/services/ended/terminate", json={"reason": "asked by the customer"})
    assert live.wait(answer.json()["job_id"]).state == "done"
    assert live.http.get("/v1/services/ended").json()["state"] == "erased"
    (listed,) = live.http.get("/v1/certificates", params={"service_id": "ended"}).json()["items"]
    by_id = live.http.get(f"/v1/certificates/{listed['id']}").json()
    assert by_id == live.http.get("/v1/certificates/ended").json()
    assert by_id["certificate"]["service"] == "ended"
    refused(live.http.get("/v1/ips/leases/ended"), 404, "not-found")


def test_a_job_is_shown_with_its_steps(live: Live) -> None:
    job = live.http.get(f"/v1/jobs/{live.provisioned('steps')}").json()
    assert (job["state"], job["final"], job["exit_code"]) == ("done", True, 0)
    assert job["workflow"]["playbook"] == job["playbook"] == "vps-provision"
    assert [step["position"] for step in job["steps"]] == list(range(len(job["steps"])))
    assert {step["state"] for step in job["steps"]} <= {"done", "skipped"}


def test_a_dead_letter_is_replayed_after_its_cause_was_mended(live: Live) -> None:
    live.send("service.suspend", "early", version=7, reason="abuse")
    (event,) = live.http.get("/v1/events", params={"service_id": "early", "outcome": "refused"}).json()["items"]
    live.provisioned("early")
    answer = live.http.post(f"/v1/events/{event['seq']}/replay")
    assert (answer.status_code, answer.json()["outcome"]) == (202, "accepted")
    live.wait(answer.json()["job_id"])
    shown = live.http.get(f"/v1/events/{event['seq']}").json()
    assert (shown["outcome"], shown["replays"]) == ("accepted", 1)
    refused(live.http.post(f"/v1/events/{event['seq']}/replay"), 409, "wrong-state")


def test_doctor_tells_what_the_agent_found(live: Live) -> None:
    report = live.http.post("/v1/nodes/n1/doctor").json()
    assert report["ok"] is True
    assert report["requirements"]
    refused(live.http.post("/v1/nodes/n2/doctor"), 409, "wrong-state")


def test_a_key_gets_the_first_answer_and_does_nothing_more(live: Live) -> None:
    live.provisioned("keyed")
    first = live.http.post("/v1/services/keyed/check", headers={"Idempotency-Key": "k1"})
    second = live.http.post("/v1/services/keyed/check", headers={"Idempotency-Key": "k1"})
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    other = live.http.post("/v1/services/keyed/check", headers={"Idempotency-Key": "k2"})
    assert other.json()["job_id"] != first.json()["job_id"]


def test_a_key_of_one_request_is_refused_for_another(live: Live) -> None:
    live.provisioned("keys")
    live.http.post("/v1/services/keys/check", headers={"Idempotency-Key": "k3"})
    refused(live.http.post("/v1/services/keys/stop", headers={"Idempotency-Key": "k3"}), 409, "event-conflict")


def test_a_key_belongs_to_its_caller(live: Live) -> None:
    live.provisioned("mine")
    keys = {"Idempotency-Key": "k4"}
    mine = live.http.post("/v1/services/mine/check", headers=keys)
    theirs = live.tcp(live.tokens["operator"]).post("/v1/services/mine/check", headers=keys)
    assert mine.json()["job_id"] != theirs.json()["job_id"]


def test_a_refusal_is_not_kept_under_its_key(live: Live) -> None:
    keys = {"Idempotency-Key": "k5"}
    refused(live.http.post("/v1/services/afterwards/check", headers=keys), 404, "not-found")
    live.provisioned("afterwards")
    assert live.http.post("/v1/services/afterwards/check", headers=keys).status_code == 202
