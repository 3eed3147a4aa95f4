"""What operators do with a hosting node: have packages installed when it is enrolled, and look for what others left on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.drivers.fake import FakeWorld
from orchestrator.store.account_uids import StoreAccountUids
from orchestrator.wiring.links import WORLD_FILE
from tests.integration.api.answers import refused
from tests.live import Live
from tests.served import Ran, command

NODE = "  - {name: h1, zone: z1, address: 192.0.2.21, driver: fake, kind: hosting}\n"
ENROL = {"fingerprint": "SHA256:simulated-h1", "identity": "/nowhere/operator"}


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Live]:
    live = Live(tmp_path, nodes=NODE)
    live.start()
    try:
        yield live
    finally:
        live.stop()


def world(live: Live) -> FakeWorld:
    return FakeWorld(live.config.settings.state_dir / WORLD_FILE)


def lacks(live: Live, *names: str) -> None:
    with world(live).change() as state:
        state["nodes"]["h1"]["missing"] = list(names)


def cli(live: Live, *words: str) -> Ran:
    return command("--socket", str(live.socket), *words)


def test_packages_are_installed_only_where_the_operator_says_so(hosted: Live) -> None:
    lacks(hosted, "at")
    named = hosted.http.post("/v1/nodes/h1/enrol", json=ENROL).json()
    assert (named["complete"], [row["name"] for row in named["requirements"] if not row["ok"]]) == (False, ["at"])
    assert world(hosted).node("h1")["missing"] == ["at"]
    words = ("node", "enrol", "h1", "--identity", "/nowhere", "--fingerprint", ENROL["fingerprint"])
    assert cli(hosted, *words).returncode == 3
    done = cli(hosted, *words, "--install")
    assert (done.returncode, "installing at" in done.stdout) == (0, True), done
    assert world(hosted).node("h1")["missing"] == []


def test_a_clean_node_is_said_to_be_clean(hosted: Live) -> None:
    hosted.enrol("h1")
    assert hosted.http.post("/v1/nodes/h1/residue").json() == {"clean": True, "accounts": [], "orphans": [], "unknown": []}
    done = cli(hosted, "node", "residue", "h1")
    assert (done.returncode, "nothing that others left is on h1" in done.stdout) == (0, True)


def test_what_others_left_is_shown_with_the_service_that_it_was_of(hosted: Live) -> None:
    hosted.enrol("h1")
    uid = StoreAccountUids(hosted.db, hosted.clock).give("shop-1")
    orphan = {"kind": "pool", "what": "/etc/php/8.2/fpm/pool.d/gone.conf", "says": "is of gone, who is not there"}
    with world(hosted).change() as state:
        state["nodes"]["h1"]["files"] += [f"/srv/h/h{uid}", f"/etc/nginx/orchestrator/h{uid}.conf", "/srv/h/h100777"]
        state["nodes"]["h1"]["orphans"] = [orphan]
    found: dict[str, Any] = hosted.http.post("/v1/nodes/h1/residue").json()
    assert (found["clean"], found["orphans"]) == (False, [orphan])
    assert [(each["user"], each["service_id"], len(each["found"])) for each in found["accounts"]] == [
        (f"h{uid}", "shop-1", 2),
        ("h100777", "", 1),
    ]
    done = cli(hosted, "node", "residue", "h1")
    assert done.returncode == 6
    for words in (f"h{uid} (shop-1)", "h100777 (no service of ours)", "/srv/h/h100777", orphan["what"], orphan["says"]):
        assert words in done.stdout
    assert json.loads(cli(hosted, "node", "residue", "h1", "--json").stdout) == found


def test_a_hypervisor_is_not_looked_through(hosted: Live) -> None:
    problem = refused(hosted.http.post("/v1/nodes/n1/residue"), 409, "wrong-state")
    assert "n1 is a hypervisor" in problem["detail"]
