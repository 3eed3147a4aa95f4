"""Taking a node out of placement, by hand and by its watermarks, over HTTP and by the command line, on simulated nodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.drivers.fake import FakeWorld
from orchestrator.wiring.links import WORLD_FILE
from tests.integration.api.answers import refused
from tests.live import Live
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
