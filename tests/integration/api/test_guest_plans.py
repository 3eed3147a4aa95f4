"""Another plan for a guest, over the API, the CLI and billing's webhook."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from orchestrator.cli.main import run
from tests import live as lives
from tests.integration.api.answers import refused
from tests.live import Live

FILES = {
    "plans/large.yaml": lives._FILES["plans/small.yaml"].replace("small", "large").replace("vcpus: 1", "vcpus: 2"),
    "plans/tight.yaml": lives._FILES["plans/small.yaml"].replace("small", "tight").replace("disk: 10 GiB", "disk: 8 GiB"),
}
SMALLER = "its disk has 10 GiB, and the plan's has 8 GiB"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    controller = Live(tmp_path_factory.mktemp("plans"), files=FILES)
    controller.start()
    yield controller
    controller.stop()


def bought(live: Live, service_id: str) -> str:
    answer = live.send("order.paid", service_id, client_id="c1", plan="small", order_id=f"o-{service_id}")
    job = live.wait(str(answer.json()["job_id"]))
    assert job.state == "done", job.error
    return f"/v1/services/{service_id}"


def plan(live: Live, place: str) -> str:
    return str(live.http.get(place).json()["plan"])


def test_an_operator_moves_a_guest_to_another_plan_for_a_reason(live: Live) -> None:
    service = bought(live, "moved")
    place = f"{service}/change-plan"
    refused(live.http.post(place, json={"plan": "large"}), 400, "request-invalid")
    refused(live.http.post(place, json={"plan": "none", "reason": "x"}), 404, "not-found")
    refused(live.http.post(place, json={"plan": "large", "reason": "x", "restart": "soon"}), 400, "request-invalid")
    assert SMALLER in live.http.post(place, json={"plan": "tight", "reason": "x"}).json()["detail"]
    with live.tcp(live.tokens["readonly"]) as readonly:
        refused(readonly.post(place, json={"plan": "large", "reason": "x"}), 403, "forbidden")
    would = live.http.post(place, params={"dry_run": "true"}, json={"plan": "large", "restart": "now"}).json()
    steps = [call["step"] for call in would["workflow"]["calls"]]
    assert steps[3:] == ["guest.resize", "guest.mail", "guest.restart", "volume.grow", "guest.verify-size"]
    assert plan(live, service) == "small"
    job = live.wait(live.http.post(place, json={"plan": "large", "reason": "more of it", "restart": "now"}).json()["job_id"])
    assert (job.state, job.error, plan(live, service)) == ("done", "", "large")
    check = live.wait(live.http.post(f"{service}/check", json={}).json()["job_id"])
    assert (check.state, check.error) == ("done", "")


def test_a_window_that_its_node_has_not_is_refused_and_what_is_not_planned_is_not_called_off(live: Live) -> None:
    service = bought(live, "nightly")
    answer = live.http.post(f"{service}/change-plan", json={"plan": "large", "reason": "x", "restart": "window"})
    refused(answer, 409, "refused")
    assert "its node n1 has no window in which a restart could end" in answer.json()["detail"]
    said = live.http.post(f"{service}/cancel-restart", json={"reason": "x"})
    assert (said.status_code, said.json()["detail"]) == (200, "no restart is planned")
    assert run(["--socket", str(live.socket), "service", "cancel-restart", "nightly", "--reason", "x"]) == 0


def test_the_cli_moves_it_and_says_why_a_smaller_disk_is_refused(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    service = bought(live, "typed")
    words = ["--socket", str(live.socket), "service", "change-plan", "typed"]
    assert run([*words, "large", "--dry-run"]) == 0
    assert "guest.resize" in capsys.readouterr().out
    assert run([*words, "tight", "--why", "less"]) != 0
    assert SMALLER in " ".join(capsys.readouterr().err.split())
    assert run([*words, "large", "--why", "more", "--watch"]) == 0
    assert plan(live, service) == "large"
    capsys.readouterr()
    assert run([*words, "large", "--why", "again", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["detail"].startswith("its plan is large already: what its node")


def test_billing_is_told_why_a_smaller_disk_is_refused(live: Live) -> None:
    bought(live, "told")
    answer = live.send("service.change_plan", "told", version=2, plan="tight").json()
    assert (answer["outcome"], SMALLER in answer["detail"]) == ("refused", True)
    moved = live.send("service.change_plan", "told", version=3, plan="large").json()
    assert live.wait(moved["job_id"]).state == "done"
