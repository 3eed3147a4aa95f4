"""What is asked of a service whose node is lost: operators are told at once, what billing says is kept until it can be done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.errors import Unreachable
from tests.integration.api.answers import refused
from tests.integration.api.test_lost_nodes import LETTERS, NODES, WHY, burn, cli, disks, done, on_n1, restored, show, world
from tests.lab.daemons import wait_until
from tests.live import _FILES, KEY, Live

LARGE = _FILES["plans/small.yaml"].replace("name: small", "name: large").replace("vcpus: 1", "vcpus: 2")


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    live = Live(tmp_path, nodes=NODES, files={"plans/large.yaml": LARGE})
    live.start()
    live.enrol("n3")
    try:
        yield live
    finally:
        live.stop()


def guest(live: Live, node: str = "n3") -> dict[str, Any]:
    return dict(world(live).node(node)["guests"]["orch.s1"])


def told(live: Live, kind: str, **data: Any) -> str:
    """Its job, which waits."""
    answer = live.send(kind, "s1", **data).json()
    assert answer["outcome"] == "accepted", answer
    assert "its node is lost: n1, since " in answer["detail"], answer
    job = live.wait(answer["job_id"])
    assert (job.state, job.approval_reason.startswith("its node is lost: n1, since ")) == ("waiting_approval", True), job
    return str(answer["job_id"])


def test_an_operators_command_is_refused_with_what_to_do_and_nothing_is_written(live: Live) -> None:
    on_n1(live, "s1")
    burn(live)
    before, jobs = show(live, "s1"), len(live.jobs("s1"))
    more: dict[str, dict[str, Any]] = {
        "change-plan": {"plan": "large"},
        "set-mail": {"mail": "open"},
        "set-keys": {"ssh_keys": [KEY]},
    }
    for act in ("start", "stop", "reboot", "suspend", "limit", "backup", "check", *more):
        body = {"reason": "a test"} | more.get(act, {})
        problem = refused(live.http.post(f"/v1/services/s1/{act}", json=body), 409, "node-lost")
        assert "refused: its node is lost: n1, since" in problem["detail"], problem
    said = cli(live, "service", "stop", "s1", "--reason", "a test")
    assert (said.returncode, "orchestrator service restore s1 --to NODE" in said.stderr + said.stdout) == (3, True), said
    assert "orchestrator node found n1" in said.stderr + said.stdout
    assert cli(live, "service", "stop", "s1", "--reason", "a test", "--dry-run").returncode == 3
    assert (show(live, "s1"), len(live.jobs("s1"))) == (before, jobs)


def test_what_billing_suspends_meanwhile_comes_up_elsewhere_held_and_off_and_the_job_ends_well(live: Live) -> None:
    on_n1(live, "s1")
    burn(live)
    job_id = told(live, "service.suspend", version=1)
    assert [hold["reason"] for hold in show(live, "s1")["holds"]] == ["nonpayment"]
    problem = refused(live.http.post(f"/v1/jobs/{job_id}/approve", json={}), 409, "node-lost")
    assert "orchestrator service restore s1 --to NODE" in str(problem)
    assert "goes on when its service is brought up elsewhere" in cli(live, "job", "watch", job_id).stderr
    restored(live, "s1")
    assert live.wait(job_id).state in ("done", "queued", "running")
    done(live, job_id)
    assert (guest(live)["power"], guest(live)["mark"]["holds"]) == ("stopped", ["nonpayment"])
    assert show(live, "s1")["suspension_proven_at"]


def test_what_was_paid_before_it_is_brought_up_runs_there(live: Live) -> None:
    on_n1(live, "s1")
    burn(live)
    suspends = told(live, "service.suspend", version=1)
    live.send("invoice.paid", "s1", invoice_id="i1", paid_until="2027-12-01T00:00:00Z")
    assert (live.wait(suspends).state, show(live, "s1")["holds"]) == ("cancelled", [])
    restored(live, "s1")
    assert guest(live)["power"] == "running"


def test_a_change_of_plan_is_done_where_it_comes_up(live: Live) -> None:
    on_n1(live, "s1")
    burn(live)
    job_id = told(live, "service.change_plan", version=1, plan="large")
    assert live.send("service.change_plan", "s1", version=1, plan="large").json()["outcome"] != "refused"
    assert show(live, "s1")["plan"] == "small"
    restored(live, "s1")
    done(live, job_id)
    assert (show(live, "s1")["plan"], guest(live)["definition"]["vcpus"]) == ("large", 2)


def test_where_its_node_is_found_what_waited_is_done_there(live: Live) -> None:
    on_n1(live, "s1")
    burn(live)
    job_id = told(live, "service.suspend", version=1)
    world(live).set_node("n1", up=True)
    assert live.http.post("/v1/nodes/n1/found", json=WHY).status_code == 200
    done(live, job_id)
    assert (guest(live, "n1")["power"], guest(live, "n1")["mark"]["holds"]) == ("stopped", ["nonpayment"])
    assert disks(live, "n1", "s1") == [[LETTERS, "written since"]]


def test_billing_ends_such_a_service_and_what_waited_for_it_goes(live: Live) -> None:
    on_n1(live, "s1")
    burn(live)
    waits = told(live, "service.change_plan", version=1, plan="large")
    ended = live.send("service.terminate", "s1", version=2).json()
    done(live, ended["job_id"])
    assert show(live, "s1")["state"] == "erased"
    live.controller.engine.fall_due()
    gone = live.wait(waits)
    assert (gone.state, gone.error) == ("failed", "the service is erased")
    certificate = live.http.get("/v1/certificates/s1").json()["certificate"]
    assert certificate["residue"]["clean"] is False


def test_what_waits_for_a_node_that_does_not_answer_ends_at_once_when_that_is_lost(live: Live) -> None:
    on_n1(live, "s1")
    world(live).fault("hypervisor.guest", node="n1", nth=0, error=Unreachable("it does not answer", retry_after=0.01))
    job_id = live.http.post("/v1/services/s1/stop", json={"reason": "a test"}).json()["job_id"]
    wait_until("it waits", lambda: live.http.get(f"/v1/jobs/{job_id}").json()["waits_for"])
    assert live.http.get("/v1/services/s1").json()["jobs"][0]["waits"].startswith("for n1 since")
    said = cli(live, "job", "list", "--state", "queued").stdout
    assert "waits for n1 since" in said, said
    burn(live)
    job = live.wait(job_id)
    assert (job.state, job.error_code) == ("failed", "node-lost"), job
