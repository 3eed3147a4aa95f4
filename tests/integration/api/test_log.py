"""The log of a controller in a process of its own: one paid order is followed from its webhook to the calls to its node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.lab.daemons import wait_until
from tests.served import Served

OTHER = "whsec_" + "AAAA" * 8
EVENT = "shop/msg-order.paid-followed-0"


def lines(served: Served, **wanted: str) -> list[dict[str, Any]]:
    """Those of the log that have these fields."""
    said = [json.loads(line) for line in served.log.splitlines()]
    return [line for line in said if all(line.get(name) == value for name, value in wanted.items())]


def test_one_paid_order_is_followed_from_its_webhook_to_the_calls_to_its_node(served: Served, tmp_path: Path) -> None:
    job_id = served.order("followed")
    done = {"job_id": job_id, "state": "done"}
    wait_until("the end of the job", lambda: bool(lines(served, **done)), seconds=60)
    story = lines(served, event_id=EVENT)
    assert {line["job_id"] for line in story} == {job_id}
    assert lines(served, job_id=job_id) == story
    assert {line["service_id"] for line in story if line is not story[0]} == {"followed"}
    assert story[0]["message"] == "webhook of shop: accepted"
    assert story[1]["message"] == f"job {job_id}: vps-provision begins"
    (rests,) = [line for line in story if line.get("state")]
    assert rests["intent"] == "provision"

    steps = [line for line in story if line["message"].startswith("step ")]
    shown = served.http.get(f"/v1/jobs/{job_id}").json()["steps"]
    assert [line["step"] for line in steps] == [step["id"] for step in shown if step["state"] == "done"]
    assert {(line["outcome"], line["attempt"]) for line in steps} == {("done", 1)}

    calls = [line for line in story if line["logger"] == "orchestrator.calls"]
    assert {line["node"] for line in calls} == {"n1"}
    assert {line["step"] for line in calls} <= {line["step"] for line in steps}
    assert any(line["call"] == "hypervisor.define" and line["code"] == "" for line in calls), [line["call"] for line in calls]


def test_a_webhook_that_is_not_authentic_is_told_with_the_id_that_it_claims(served: Served) -> None:
    for event_id, status, outcome in (("claimed", 401, "signature-invalid"), ("m" * 300, 400, "request-invalid")):
        answer = served.send("order.paid", "forged", client_id="c1", plan="small", event_id=event_id, secret=OTHER)
        assert answer.status_code == status
        wait_until("its line", lambda: bool(lines(served, outcome=outcome)), seconds=30)  # noqa: B023 - waited for here
        (line,) = lines(served, outcome=outcome)
        assert (line["event_id"], line["level"], line["job_id"]) == (f"shop/{event_id[:200]}", "warning", "")


def test_a_request_is_told_with_its_caller(served: Served) -> None:
    made = served.run("token", "create", "panel", "--role", "readonly", "--json")
    token = json.loads(made.stdout)["token"]
    assert served.http.get("/v1/plans", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert served.http.get("/healthz").status_code == 200
    wait_until("both lines", lambda: bool(lines(served, path="/v1/plans") and lines(served, path="/healthz")), seconds=30)
    assert [line["caller"] for line in lines(served, path="/v1/plans")] == ["token:panel"]
    assert lines(served, path="/healthz")[0]["caller"] == ""
    assert token not in served.log


def test_no_call_is_told_that_no_job_makes(served: Served) -> None:
    assert [line for line in lines(served, logger="orchestrator.calls") if not line.get("job_id")] == []
