"""Taking a node out of placement, by hand and by its watermarks, over HTTP and by the command line, on simulated nodes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from orchestrator.domain.errors import PermanentDriverError, TransientDriverError
from orchestrator.drivers.fake import FakeWorld
from orchestrator.wiring.links import WORLD_FILE
from tests.integration.api.answers import refused
from tests.lab.daemons import wait_until
from tests.live import Live
from tests.proxy import AWAY, PAGE, proxy
from tests.receiver import answer
from tests.served import Ran, command

NODES = "  - {name: n3, zone: z1, address: 192.0.2.13, driver: fake, backups: main, backups_on_own_node: true}\n"
WHY = {"why": "new disks"}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    live = Live(tmp_path_factory.mktemp("nodes"), nodes=NODES)
    live.start()
    live.enrol("n1")
    live.enrol("n3")
    try:
        yield live
    finally:
        live.stop()


def world(live: Live) -> FakeWorld:
    return FakeWorld(live.config.settings.state_dir / WORLD_FILE)


def cli(live: Live, *words: str) -> Ran:
    return command("--socket", str(live.socket), *words)


def reasons(live: Live, service: str) -> dict[str, str]:
    verdicts = live.http.get(f"/v1/services/{service}/explain").json()["verdicts"]
    return {each["node"]: "; ".join(each["reasons"]) for each in verdicts}


def test_nothing_new_is_placed_on_a_drained_node_and_explain_says_why(live: Live) -> None:
    told = live.http.post("/v1/nodes/n1/drain", json=WHY).json()
    assert (told["drained"], told["takes_nothing_new"]) == (True, ["it is drained (new disks)"])
    try:
        live.provisioned("d1")
        assert live.http.get("/v1/services/d1").json()["node"] == "n3"
        assert reasons(live, "d1")["n1"] == "it is drained (new disks)"
        assert 'orchestrator_node_drained{node="n1",zone="z1"} 1.0' in live.http.get("/metrics").text
    finally:
        live.http.post("/v1/nodes/n1/drain", json=WHY | {"on": False})
    shown = live.http.get("/v1/nodes/n1").json()
    assert (shown["drained"], shown["drained_at"], shown["takes_nothing_new"]) == (False, None, [])


def test_a_drain_is_in_the_audit_once_and_keeps_its_first_reason(live: Live) -> None:
    live.http.post("/v1/nodes/n1/drain", json={"why": "the first"})
    assert live.http.post("/v1/nodes/n1/drain", json={"why": "the second"}).json()["drained_why"] == "the first"
    ended = cli(live, "node", "undrain", "n1", "--why", "done")
    assert (ended.returncode, ended.stdout.strip()) == (0, "n1 takes services"), ended
    rows = live.http.get("/v1/audit", params={"limit": 500}).json()["items"]
    told = [(row["what"], row["facts"].get("why")) for row in rows if row["facts"].get("node") == "n1"]
    assert ("node drained", "the first") in told
    assert ("node takes services again", "done") in told
    assert ("node drained", "the second") not in told


def test_the_command_line_drains_and_shows_why(live: Live) -> None:
    done = cli(live, "node", "drain", "n3", "--why", "it moves")
    try:
        assert done.returncode == 0, done
        assert "n3 takes nothing new: it is drained (it moves)" in done.stdout
        assert "drained" in cli(live, "node", "list").stdout
        shown = cli(live, "node", "show", "n3").stdout
        assert "it is drained (it moves)" in shown
        assert "data 0 % of 90 %, metadata 1 % of 80 %" in shown
    finally:
        cli(live, "node", "undrain", "n3", "--why", "a test")


def test_only_operators_drain_and_only_what_is_declared(live: Live) -> None:
    refused(live.http.post("/v1/nodes/n9/drain", json=WHY), 404, "not-found")
    refused(live.tcp(live.tokens["readonly"]).post("/v1/nodes/n1/drain", json=WHY), 403, "forbidden")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"metadata_percent": 83.0}, "the metadata of its pool is 83 % full, from 80 % on it takes nothing new"),
        ({"pool_bytes": 560_000_000}, "its pool is 9"),
    ],
    ids=["metadata", "data"],
)
def test_nothing_new_is_placed_on_a_node_whose_pool_is_over_a_watermark(live: Live, change: dict[str, object], says: str) -> None:
    before = {name: world(live).node("n1")[name] for name in change}
    world(live).set_node("n1", **change)
    service = "w-" + "-".join(change).replace("_", "-")
    try:
        live.context.look("n1")
        live.provisioned(service)
        assert live.http.get(f"/v1/services/{service}").json()["node"] == "n3"
        assert says in reasons(live, service)["n1"]
        assert 'orchestrator_node_over_watermark{node="n1",zone="z1"} 1.0' in live.http.get("/metrics").text
    finally:
        world(live).set_node("n1", **before)
        live.context.look("n1")


def moved(live: Live, service: str, **body: str) -> str:
    answer = live.http.post(f"/v1/services/{service}/move", json={"reason": "a test", **body})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


def on(live: Live, service: str, node: str) -> None:
    """A new service, on the node."""
    for other in {"n1", "n3"} - {node}:
        live.http.post(f"/v1/nodes/{other}/drain", json=WHY)
    live.provisioned(service)
    for other in {"n1", "n3"} - {node}:
        live.http.post(f"/v1/nodes/{other}/drain", json=WHY | {"on": False})


def whole(live: Live, service: str) -> tuple[dict[str, object], str]:
    shown = live.http.get(f"/v1/services/{service}").json()
    return shown["facts"]["addresses"], shown["node"]


def test_a_guest_moves_with_its_addresses_and_back_again(live: Live) -> None:
    on(live, "m1", "n1")
    addresses, node = whole(live, "m1")
    before = world(live).node("n1")["guests"]["orch.m1"]
    assert live.wait(moved(live, "m1", to="n3")).state == "done"
    assert (whole(live, "m1"), node) == ((addresses, "n3"), "n1")
    after = world(live).node("n3")["guests"]["orch.m1"]
    assert (after["definition"]["uuid"], after["definition"]["lease"]) == (
        before["definition"]["uuid"],
        before["definition"]["lease"],
    )
    assert (after["power"], after["autostart"], "orch.m1" in world(live).node("n1")["guests"]) == ("running", True, False)
    assert not [name for name in world(live).node("n1")["volumes"] if name.startswith("orch.m1.")]
    job = live.http.post("/v1/services/m1/check", json={}).json()["job_id"]
    assert live.wait(job).state == "done"
    assert live.wait(moved(live, "m1", to="n1")).state == "done"
    assert whole(live, "m1") == (addresses, "n1")
    instance = live.http.get("/v1/services/m1").json()["facts"]["seed"]["instance"]
    assert instance == f"m1-{live.jobs('m1')[-1].id}", "cloud-init takes it for the system that it was when it was made"


def test_a_suspended_guest_moves_as_it_is_and_comes_back_where_it_moved_to(live: Live) -> None:
    on(live, "m2", "n1")
    for act in ("suspend", "move"):
        assert live.wait(live.http.post(f"/v1/services/m2/{act}", json={"reason": "a test"}).json()["job_id"]).state == "done"
    guest = world(live).node("n3")["guests"]["orch.m2"]
    assert (guest["power"], guest["mark"]["holds"], guest["autostart"]) == ("stopped", ["manual"], False)
    assert live.wait(live.http.post("/v1/services/m2/unsuspend", json={}).json()["job_id"]).state == "done"
    guest = world(live).node("n3")["guests"]["orch.m2"]
    assert (guest["power"], guest["mark"]["holds"], guest["autostart"]) == ("running", [], True)


def test_disks_that_differ_are_not_gone_on_with_and_the_guest_stays_where_it_was(live: Live) -> None:
    """What was written over there is changed before it is compared."""
    on(live, "m3", "n1")
    (disk,) = (name for name in world(live).node("n1")["volumes"] if name.startswith("orch.m3.disk."))
    world(live).plant("n1", disk, "the letters")
    world(live).fault("agent.disk-digest", node="n3", error=TransientDriverError("wait"), delay=0.5)
    job_id = moved(live, "m3", to="n3")
    wait_until("the copy", lambda: any(n.startswith("orch.m3.disk.") for n in world(live).node("n3")["volumes"]), seconds=15)
    wait_until("its content", lambda: "the letters" in str(world(live).node("n3")["volumes"]), seconds=15)
    with world(live).change() as state:
        (copy,) = (v for n, v in state["nodes"]["n3"]["volumes"].items() if n.startswith("orch.m3.disk."))
        copy["markers"] = ["other letters"]
    job = live.wait(job_id, seconds=60)
    assert (job.state, "does not hold what the one on n1 does" in job.error) == ("failed", True), job
    guest = world(live).node("n1")["guests"]["orch.m3"]
    assert (guest["power"], guest["mark"]["holds"], whole(live, "m3")[1]) == ("running", [], "n1")
    assert not [name for name in world(live).node("n3")["volumes"] if name.startswith("orch.m3.")]


def test_where_it_cannot_go_is_said_before_anything_is_done(live: Live) -> None:
    on(live, "m4", "n1")
    job = live.wait(moved(live, "m4", to="n2"))
    assert (job.state, "n2: it is in maintenance" in job.error) == ("failed", True), job
    assert world(live).node("n1")["guests"]["orch.m4"]["power"] == "running"
    refused(live.http.post("/v1/services/m4/move", json={}), 400, "request-invalid")
    for to, status, code in (("nowhere", 404, "not-found"), ("n1", 409, "wrong-state")):
        refused(live.http.post("/v1/services/m4/move", json={"reason": "a test", "to": to}), status, code)
    hold = {"reason": "legal", "effect": "no-erase", "why": "a court"}
    assert live.http.post("/v1/services/m4/holds", json=hold).status_code in (200, 202)
    refused(live.http.post("/v1/services/m4/move", json={"reason": "a test"}), 409, "refused")


def test_a_guest_whose_move_failed_is_not_switched_off_again_by_the_evacuation_until_somebody_has_looked(live: Live) -> None:
    on(live, "f1", "n1")
    live.http.post("/v1/nodes/n1/drain", json=WHY)
    world(live).fault("agent.disk-digest", node="n1", error=PermanentDriverError("the disk cannot be read"), nth=0)
    try:
        # With nobody else there only this one is on the move.
        first = cli(live, "node", "evacuate", "n1", "--why", "new disks", "--at-once", "64", "--watch")
        assert (first.returncode, "f1: NOT moved, its job is failed" in first.stdout) == (4, True), first
        jobs = [job.id for job in live.jobs("f1")]
        again = live.http.post("/v1/nodes/n1/evacuate", json=WHY).json()
        (stays,) = (each["why"] for each in again["staying"] if each["service_id"] == "f1")
        assert (again["moving"], "the disk cannot be read" in stays, f"job retry {jobs[0]}" in stays) == ([], True, True)
        assert [job.id for job in live.jobs("f1")] == jobs
        world(live).clear_faults()
        live.http.post(f"/v1/jobs/{jobs[0]}/retry", json={})
        assert live.wait(jobs[0]).state == "done"
    finally:
        world(live).clear_faults()
        live.http.post("/v1/nodes/n1/drain", json=WHY | {"on": False})


def test_a_drained_node_is_evacuated_so_many_at_a_time_and_what_stays_is_named(live: Live) -> None:
    refused(live.http.post("/v1/nodes/n1/evacuate", json=WHY), 409, "wrong-state")
    for number in range(3):
        on(live, f"e{number}", "n1")
    live.http.post("/v1/nodes/n1/drain", json=WHY)
    try:
        first = live.http.post("/v1/nodes/n1/evacuate", json=WHY | {"at_once": 1}).json()
        assert (first["begun"], len(first["moving"])) == (1, 1)
        done = cli(live, "node", "evacuate", "n1", "--why", "new disks", "--watch")
        assert (done.returncode, "e1: moved" in done.stdout, "m4 stays" in done.stdout) == (4, True, True), done
        there = live.http.get("/v1/services", params={"node": "n1"}).json()["items"]
        assert [each["id"] for each in there if not each["holds"]] == []
    finally:
        live.http.post("/v1/nodes/n1/drain", json=WHY | {"on": False})


def test_who_empties_a_node_waits_for_a_controller_that_goes_away_meanwhile(live: Live) -> None:
    for number in range(2):
        on(live, f"w{number}", "n1")
    words = ("node", "evacuate", "n1", "--at-once", "1", "--watch", "--why", "a new disk")
    live.http.post("/v1/nodes/n1/drain", json=WHY)
    try:
        with proxy(live.http, answer(502, PAGE)) as url:  # nothing has begun: it is said at once
            assert command("--url", url, *words).returncode == 5
        with proxy(live.http, None, answer(502, PAGE), None, answer(503, AWAY)) as url:
            done = command("--url", url, *words)
        assert ("w0: moved" in done.stdout, "w1: moved" in done.stdout) == (True, True), done
        assert done.stderr.count("the controller went away") == 2
    finally:
        live.http.post("/v1/nodes/n1/drain", json=WHY | {"on": False})


def test_maintenance_is_announced_shown_and_called_off(live: Live) -> None:
    soon = (live.clock.now() + timedelta(hours=5)).isoformat()
    place, body = "/v1/nodes/n1/maintenance", {"why": "a new kernel", "at": soon, "minutes": 90}
    for lacking in ({"why": "x"}, body | {"minutes": 0}, body | {"cancel": True}, body | {"at": "2026-12-01T02:00"}):
        refused(live.http.post(place, json=lacking), 400, "request-invalid")
    with live.tcp(live.tokens["billing"]) as billing:
        refused(billing.post(place, json=body), 403, "forbidden")
    said = cli(live, "node", "maintenance", "n1", "--at", soon, "--for", "2h", "--why", "a new kernel")
    assert (said.returncode, "is announced from" in said.stdout) == (0, True)
    refused(live.http.post(place, json=body), 409, "wrong-state")
    assert live.http.get("/v1/nodes/n1").json()["announced"]["why"] == "a new kernel"
    assert "maintenance from" in cli(live, "node", "list").stdout
    assert 'orchestrator_node_maintenance_announced{node="n1",zone="z1"} 1.0' in live.http.get("/metrics").text
    assert cli(live, "node", "maintenance", "n1", "--cancel", "--why", "not needed").returncode == 0
    assert live.http.get("/v1/nodes/n1").json()["announced"] is None
    assert cli(live, "node", "maintenance", "n1", "--cancel", "--why", "x").returncode == 3
    for words in (("--at", soon), ("--for", "2h"), ("--cancel", "--for", "2h"), ("--at", soon, "--for", "2 hours"), ()):
        assert cli(live, "node", "maintenance", "n1", *words, "--why", "x").returncode == 2
