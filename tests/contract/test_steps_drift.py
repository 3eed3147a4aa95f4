"""Looking for what was changed behind our back, on the simulated node; nothing may change by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.domain.errors import WrongState
from orchestrator.domain.plans import LIMITED_NETWORK
from orchestrator.drivers.fake.hypervisor import LIVE_MAIL
from tests.contract.stage import Stage, hold_by_hand, set_up

NODE = {"node": "n1"}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    built = set_up(tmp_path, with_guest=True)
    yield built
    built.close()


def drift(stage: Stage, holds: tuple[str, ...] = (), *, limited: bool = False) -> str:
    """What vps-check says; '' = nothing is needed. Nothing outside may change by it."""
    untouched = stage.snapshot(tokens=True)
    guest = stage.spec["guest"]
    path = stage.made["disk"]["volume"]["path"]
    found = [
        stage.run("node.check", {**NODE, "guest": guest})["drift"],
        stage.run("guest.check", {**NODE, "guest": guest, "disk_path": path, "holds": holds, "limited": limited})["drift"],
        stage.run("volume.check", NODE)["drift"],
    ]
    assert stage.snapshot(tokens=True) == untouched
    try:
        stage.run("drift.report", {"found": found})
    except WrongState as exc:
        return exc.message
    return ""


def test_a_service_that_is_as_it_was_sold_needs_nothing(stage: Stage) -> None:
    assert drift(stage) == ""


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        ("guest", "the guest is not on n1"),
        ("disk", "is gone"),
        ("key", "the key of"),
        ("template", "the template under"),
        ("reservation", "no capacity is promised"),
        ("lease", "holds no addresses"),
        ("stranger", "belongs to no guest"),
        ("held", "is held on its node"),
        ("mail", "outgoing mail (port 25) is open instead of closed"),
        ("mail-at-start", "outgoing mail (port 25) is open after its next start instead of closed"),
    ],
)
def test_what_was_changed_behind_our_back_is_needed(stage: Stage, spoil: str, sentence: str) -> None:
    with stage.world.change() as state:
        node = state["nodes"]["n1"]
        if spoil == "guest":
            del node["guests"]["orch.s1"]
        elif spoil == "disk":
            del node["volumes"]["orch.s1.disk.j1.qcow2"]
        elif spoil == "key":
            node["secrets"].clear()
        elif spoil == "template":
            del node["volumes"]["debian.qcow2"]
        elif spoil == "stranger":
            node["volumes"]["orch.s1.disk.jx.qcow2"] = dict(node["volumes"]["orch.s1.disk.j1.qcow2"])
        elif spoil == "held":
            node["guests"]["orch.s1"]["mark"]["holds"] = ["manual"]
        elif spoil.startswith("mail"):
            node["guests"]["orch.s1"]["definition"]["mail_out"] = True
            node["guests"]["orch.s1"].update({LIVE_MAIL: False} if spoil == "mail-at-start" else {})
    if spoil == "reservation":
        stage.ledger.release_reservation("s1")
    elif spoil == "lease":
        stage.addresses.release(service_id="s1", proof="test")
    assert sentence in drift(stage)


def test_findings_fail_the_look_itself_so_that_no_act_is_on_record_to_be_undone(stage: Stage) -> None:
    with pytest.raises(WrongState, match="needed: a; b; c") as caught:
        stage.check("drift.report", {"found": [["a"], [], ["b", "c"]]})
    assert caught.value.details["drift"] == ["a", "b", "c"]


@pytest.mark.parametrize("why", ["not held", "running", "autostart"])
def test_a_suspension_that_is_not_in_force_is_needed(stage: Stage, why: str) -> None:
    hold_by_hand(stage)
    with stage.world.change() as state:
        guest = state["nodes"]["n1"]["guests"]["orch.s1"]
        guest["power"] = "running" if why == "running" else "stopped"
        guest["autostart"] = why == "autostart"
        if why == "not held":
            guest["mark"]["holds"] = []
    expected = {"not held": "is not held", "running": "suspended and running", "autostart": "start with its host"}[why]
    assert expected in drift(stage, ("abuse",))


LIMIT = {**NODE, "reasons": ["abuse"], "bytes_per_second": LIMITED_NETWORK}


def test_a_guest_is_expected_to_be_limited_exactly_while_the_service_is(stage: Stage) -> None:
    assert "is not limited on its node, and should be" in drift(stage, limited=True)
    assert "100 Mbit/s of network instead of 1 Mbit/s" in drift(stage, limited=True)
    stage.run("guest.limit", LIMIT, job="j2")
    assert drift(stage, limited=True) == ""
    assert "is limited on its node for abuse, and not in our records" in drift(stage)
    assert "1 Mbit/s of network instead of 100 Mbit/s" in drift(stage)


def test_a_limit_that_was_loosened_or_would_end_with_another_rate_is_needed(stage: Stage) -> None:
    stage.run("guest.limit", LIMIT, job="j2")
    with stage.world.change() as state:
        state["nodes"]["n1"]["guests"]["orch.s1"]["definition"]["network_bytes_per_second"] = 0
    assert drift(stage, limited=True) == "needed: no limit of network instead of 1 Mbit/s"
    with stage.world.change() as state:
        state["nodes"]["n1"]["guests"]["orch.s1"]["live_rate"] = LIMITED_NETWORK
    assert drift(stage, limited=True) == "needed: no limit of network after its next start instead of 1 Mbit/s"
    with stage.world.change() as state:
        guest = state["nodes"]["n1"]["guests"]["orch.s1"]
        guest["definition"]["network_bytes_per_second"] = LIMITED_NETWORK
        del guest["live_rate"]
        guest["mark"]["network_before"] = 0
    assert drift(stage, limited=True) == "needed: no limit of network to come back instead of 100 Mbit/s"
