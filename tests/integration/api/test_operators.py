"""What operators do, each on a controller of its own: brakes, failures, freeze, enrolment, metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.errors import OUTCOMES
from orchestrator.domain.plans import Node
from orchestrator.drivers.fake import FakeWorld
from orchestrator.wiring.links import WORLD_FILE
from tests.integration.api.answers import refused
from tests.lab import daemons
from tests.live import PLAN, Live, replaced
from tests.served import command


def test_lists_are_filtered_and_paged_without_gaps(own: Live) -> None:
    for number in range(7):
        own.send("order.created", f"p-{number}", client_id=f"c{number % 2}", plan=PLAN)
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = own.http.get("/v1/services", params={"limit": 3, "after": after}).json()
        seen += [service["id"] for service in page["items"]]
        after = page["next"]
    assert seen == [f"p-{number}" for number in range(7)]
    odd = own.http.get("/v1/services", params={"client_id": "c1"}).json()["items"]
    assert [service["id"] for service in odd] == ["p-1", "p-3", "p-5"]
    assert own.http.get("/v1/services", params={"state": "active"}).json()["items"] == []
    events = own.http.get("/v1/events", params={"limit": 5}).json()
    rest = own.http.get("/v1/events", params={"limit": 5, "after": events["next"]}).json()
    assert [event["seq"] for event in events["items"] + rest["items"]] == [7, 6, 5, 4, 3, 2, 1]
    assert rest["next"] is None
    assert "provisioned when it is paid" in own.http.get("/v1/events/7").json()["detail"]


def test_a_braked_job_waits_until_it_is_approved(tmp_path: Path) -> None:
    live = Live(tmp_path / "c", brakes="{suspensions_per_hour: 0, terminations_per_hour: 0}")
    live.start()
    try:
        live.provisioned("braked")
        answer = live.http.post("/v1/services/braked/suspend", json={"reason": "test"}).json()
        assert answer["waits"]
        waiting = live.http.get("/v1/jobs", params={"state": "waiting_approval"}).json()["items"]
        assert [(job["id"], job["approval_reason"], job["exit_code"]) for job in waiting] == [
            (answer["job_id"], answer["waits"], OUTCOMES["refused"].exit_code)
        ]
        assert live.http.post(f"/v1/jobs/{answer['job_id']}/approve").status_code == 200
        assert live.wait(answer["job_id"]).approved_by.startswith("unix:")
        refused(live.http.post(f"/v1/jobs/{answer['job_id']}/approve"), 409, "wrong-state")
        other = live.http.post("/v1/services/braked/terminate", json={"reason": "test"}).json()
        shown = live.http.get("/v1/services/braked").json()
        told = {"id": other["job_id"], "intent": "terminate", "state": "waiting_approval", "waits": other["waits"]}
        assert (shown["state"], shown["jobs"]) == ("active", [told]), "it is not terminating before the job begins"
        cancelled = live.http.post(f"/v1/jobs/{other['job_id']}/cancel", json={"why": "billing meant another"}).json()
        assert cancelled["state"] == "cancelled"
        assert cancelled["exit_code"] == OUTCOMES["wrong-state"].exit_code
        (row,) = live.http.get("/v1/audit", params={"limit": 1}).json()["items"]
        assert (row["what"], row["facts"]["why"]) == ("job cancelled", "billing meant another")
    finally:
        live.stop()


def test_a_failed_job_tells_its_error_and_can_be_retried(own: Live) -> None:
    """The second node is in maintenance and the first is too small: there is nowhere to go."""
    with own.db.write() as conn:
        conn.exec_driver_sql("UPDATE nodes SET facts = json_set(facts, '$.memory_bytes', 1)")
    job_id = own.order("homeless")
    own.wait(job_id)
    failed = own.http.get(f"/v1/jobs/{job_id}").json()
    assert (failed["state"], failed["error_code"], failed["exit_code"]) == ("failed", "no-capacity", 3)
    assert own.http.get("/v1/services/homeless").json()["failed_job"] == job_id
    shown = command("--socket", str(own.socket), "service", "show", "homeless").stdout
    assert f"orchestrator job show {job_id}" in shown
    own.controller.watch.once()
    assert own.http.post(f"/v1/jobs/{job_id}/retry").status_code == 200
    assert own.wait(job_id).state == "done"


def test_a_job_that_waits_for_its_guest_is_cancelled_and_undone_when_it_is_asked_to_stop(tmp_path: Path) -> None:
    template = f'{{name: debian, volume: debian.qcow2, sha256: "{"1" * 64}", size: 2 GiB, ready: agent}}'
    live = Live(tmp_path / "c", files={"templates.yaml": f"templates: [{template}]\n"})
    live.start()
    world = FakeWorld(live.config.settings.state_dir / WORLD_FILE)
    world.fault("hypervisor.power.start", delay=2.0)
    try:
        job_id = live.order("silent")
        path = f"/v1/jobs/{job_id}"
        daemons.wait_until("it is defined", lambda: bool(world.node("n1")["guests"]), seconds=15)
        with world.change() as state:  # whatever starts, no agent of it answers
            state["nodes"]["n1"]["guests"]["orch.silent"]["definition"]["agent"] = False

        def waits() -> bool:
            steps = {step["id"]: step["state"] for step in live.http.get(path).json()["steps"]}
            return steps.get("wait") == "running"

        daemons.wait_until("it waits for the guest", waits, seconds=15)
        assert live.http.post(f"{path}/cancel", json={"why": "the wrong plan"}).status_code == 200
        job = live.wait(job_id)
        assert (job.state, job.error_code, "stopped" in job.error) == ("cancelled", "", True), job.error
        service = live.http.get("/v1/services/silent").json()
        assert (service["state"], service["node"]) == ("failed", "")
        assert world.node("n1")["guests"] == {}
    finally:
        live.stop()


def test_a_freeze_holds_what_suspends_until_it_is_lifted(own: Live) -> None:
    own.provisioned("frozen")
    frozen = own.http.put("/v1/freeze", json={"why": "migration of billing"}).json()
    assert (frozen["frozen"], frozen["why"]) == (True, "migration of billing")
    answer = own.http.post("/v1/services/frozen/suspend", json={"reason": "test"}).json()
    assert answer["waits"]
    refused(own.http.post(f"/v1/jobs/{answer['job_id']}/approve"), 409, "frozen")
    lifted = own.http.delete("/v1/freeze").json()
    assert (lifted["frozen"], lifted["since"]) == (False, None)
    assert lifted["released"] == [{"id": answer["job_id"], "intent": "suspend", "service_id": "frozen"}]
    assert own.http.get("/v1/freeze").json()["released"] == []
    assert own.wait(answer["job_id"]).state == "done"


def test_the_audit_can_be_verified_against_a_hash_noted_before(own: Live) -> None:
    own.send("order.created", "noted", client_id="c1", plan=PLAN)
    head = own.http.get("/v1/audit/verify").json()["head"]
    own.send("order.created", "more", client_id="c1", plan=PLAN)
    assert own.http.get("/v1/audit/verify", params={"head": head}).json()["ok"] is True
    assert own.http.get("/v1/audit/verify", params={"head": "0" * 64}).json()["ok"] is False


def test_enrolling_pins_the_key_that_was_confirmed_and_no_other(own: Live) -> None:
    body = {"fingerprint": "SHA256:of-somebody-else", "identity": "/root/.ssh/id_ed25519"}
    problem = refused(own.http.post("/v1/nodes/n2/enrol", json=body), 409, "precondition-failed")
    assert problem["details"]["presented"] == ["SHA256:simulated-n2"]
    assert own.http.get("/v1/nodes/n2").json()["enrolled"] is False
    report = own.http.post("/v1/nodes/n2/enrol", json=body | {"fingerprint": "SHA256:simulated-n2"}).json()
    assert report["complete"] is True
    node = own.http.get("/v1/nodes/n2").json()
    assert (node["enrolled"], node["host_key"]) == (True, report["host_key"]["line"])
    assert own.http.get("/v1/audit", params={"limit": 1}).json()["items"][0]["what"] == "node enrolled"


def test_promises_are_shown_on_their_node(own: Live) -> None:
    own.provisioned("promised")
    nodes = {node["name"]: node for node in own.http.get("/v1/nodes").json()["items"]}
    assert (nodes["n1"]["guests"], nodes["n1"]["promised_vcpus"], nodes["n1"]["promised_memory_bytes"]) == (1, 1, 1 << 30)
    assert (nodes["n2"]["guests"], nodes["n2"]["maintenance"], nodes["n2"]["cpus"]) == (0, True, None)


def test_an_unknown_error_is_an_incident_and_not_a_traceback(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_node: Node) -> dict[str, Any]:
        raise RuntimeError("the secret reason")

    live = Live(tmp_path / "c", change=replaced(doctor=broken))
    live.start()
    try:
        problem = refused(live.http.post("/v1/nodes/n1/doctor"), 500, "internal-error")
    finally:
        live.stop()
    assert "secret reason" not in str(problem)
    assert problem["incident"] in [getattr(record, "incident", "") for record in caplog.records]


def test_not_ready_while_something_keeps_the_engine_from_working(tmp_path: Path) -> None:
    live = Live(tmp_path / "c", change=replaced(problems=lambda: ("the engine has stopped",)))
    live.start()
    try:
        assert live.http.get("/readyz").status_code == 503
    finally:
        live.stop()


def test_the_state_of_the_store_is_scraped(own: Live) -> None:
    own.provisioned("scraped")
    own.http.put("/v1/freeze", json={"why": "test"})
    answer = own.http.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = set(answer.text.splitlines())
    for line in (
        'orchestrator_services{plan="small",state="active"} 1.0',
        'orchestrator_jobs{playbook="vps-provision",state="done"} 1.0',
        'orchestrator_node_up{node="n1",zone="z1"} 1.0',
        'orchestrator_node_up{node="n2",zone="z1"} 0.0',
        'orchestrator_node_guests{node="n1",zone="z1"} 1.0',
        'orchestrator_addresses_used{family="ipv4",range="v4",zone="z1"} 1.0',
        "orchestrator_queue_jobs 0.0",
        "orchestrator_frozen 1.0",
    ):
        assert line in lines
    assert 'orchestrator_step_duration_seconds_count{outcome="done",step="guest.define"} 1.0' in lines
    single = own.http.get("/metrics/services").text
    assert 'orchestrator_service_info{node="n1",plan="small",service="scraped",state="active"} 1.0' in single
