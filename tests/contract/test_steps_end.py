"""Ending a service on the simulated node: what can be taken back, what decides, and what is left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.certificates import verify
from orchestrator.domain.errors import (
    FenceClosed,
    Frozen,
    OrchestratorError,
    PermanentDriverError,
    TransientDriverError,
    UndoFailed,
)
from orchestrator.domain.intents import IntentKind
from orchestrator.drivers.fake import FakeVolumes
from orchestrator.drivers.local.certificates import signature_holds
from orchestrator.ports.volumes import VolumeSpec
from orchestrator.steps.base import Done, Facts, Needed
from orchestrator.store import settings
from tests.contract.stage import NOW, PLAN, Stage, hold_by_hand, set_up

NODE = {"node": "n1"}
JOB = "j5"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A running guest made by j1, to be ended by j5."""
    built = set_up(tmp_path, with_guest=True)
    built.job(IntentKind.TERMINATE, JOB)
    yield built
    built.close()


def known(stage: Stage) -> Facts:
    """The service's facts, as the engine hands them over as $facts."""
    return {"node": "n1", "nodes_ever": ["n1"], **stage.made}


def steps_of(stage: Stage, given: dict[str, Facts]) -> list[tuple[str, str, Facts]]:
    """The playbook vps-terminate as far as its arguments are known."""
    record, wipe, residue = (given.get(k, {}) for k in ("record", "wipe", "residue"))
    return [
        ("hold", "guest.hold", {**NODE, "holds": ["terminating"]}),
        ("stop", "guest.stop", NODE),
        ("record", "guest.record", {**NODE, "known": known(stage)}),
        (
            "undefine",
            "guest.undefine",
            {**NODE, "definition": record.get("definition"), "autostart": record.get("autostart", False)},
        ),
        ("wipe", "volume.wipe", {**NODE, "volumes": record.get("volumes", [])}),
        ("residue", "residue.prove", {}),
        (
            "certificate",
            "certificate.issue",
            {
                "provider": "Example Hosting",
                "client_id": "c1",
                "asked_by": "event shop/e1",
                "reason": "cancelled",
                "approved_by": "anna",
                "wiped": wipe.get("wiped", []),
                "keys_destroyed": wipe.get("keys_destroyed", []),
                "checks": residue.get("checks", []),
            },
        ),
        ("capacity", "node.release", {"proof": residue.get("proof", "")}),
        ("addresses", "address.release", {"proof": residue.get("proof", "")}),
    ]


def run_until(stage: Stage, last: str, *, job: str = JOB) -> dict[str, Facts]:
    """Carry the steps out up to and with ``last`` ('' = none)."""
    given: dict[str, Facts] = {}
    for at in range(9 if last else 0):
        step_id, name, args = steps_of(stage, given)[at]
        given[step_id] = stage.run(name, args, job=job)
        if step_id == last:
            break
    return given


def args_of(stage: Stage, given: dict[str, Facts], step_id: str) -> tuple[str, Facts]:
    return next((name, args) for each, name, args in steps_of(stage, given) if each == step_id)


def undo_all(stage: Stage, given: dict[str, Facts]) -> None:
    for _, name, args in reversed(steps_of(stage, given)[: len(given)]):
        stage.undo(name, args, job=JOB)
        stage.undo(name, args, job=JOB)


# -- before the point of no return --------------------------------------------------------------------------


@pytest.mark.parametrize("last", ["hold", "stop", "record", "undefine"])
def test_until_the_wipe_begins_the_guest_comes_back_as_it_was(stage: Stage, last: str) -> None:
    untouched = stage.snapshot()
    given = run_until(stage, last)
    assert stage.service().point_of_no_return is None
    undo_all(stage, given)
    assert stage.snapshot() == untouched


@pytest.mark.parametrize("last", ["hold", "stop", "record", "undefine"])
def test_a_suspended_guest_comes_back_suspended(stage: Stage, last: str) -> None:
    for name, args in (("guest.hold", {**NODE, "holds": ["abuse"]}), ("guest.stop", NODE)):
        stage.run(name, args, job=JOB + "-earlier") if name == "guest.stop" else hold_by_hand(stage)
    untouched = stage.snapshot()
    given = run_until(stage, last)
    undo_all(stage, given)
    assert stage.snapshot() == untouched
    assert stage.guest()["mark"]["holds"] == ["abuse"]


@pytest.mark.parametrize("step_id", ["hold", "undefine", "wipe"])
def test_each_destructive_act_is_refused_when_it_was_paid_an_instant_before(stage: Stage, step_id: str) -> None:
    steps = [s for s, _, _ in steps_of(stage, {})]
    given = run_until(stage, steps[steps.index(step_id) - 1] if step_id != "hold" else "")
    reached = stage.snapshot(tokens=True)
    stage.pay()
    name, args = args_of(stage, given, step_id)
    with pytest.raises(FenceClosed, match="paid"):
        stage.apply(name, args, job=JOB)
    assert stage.snapshot(tokens=True) == reached
    assert stage.service().point_of_no_return is None


@pytest.mark.parametrize("step_id", ["hold", "undefine", "wipe"])
def test_each_destructive_act_is_held_back_by_a_freeze(stage: Stage, step_id: str) -> None:
    steps = [s for s, _, _ in steps_of(stage, {})]
    given = run_until(stage, steps[steps.index(step_id) - 1] if step_id != "hold" else "")
    with stage.db.write() as conn:
        settings.set_freeze(conn, by="anna", why="wrong invoices", now=NOW)
    name, args = args_of(stage, given, step_id)
    with pytest.raises(Frozen):
        stage.apply(name, args, job=JOB)
    assert stage.service().point_of_no_return is None


def test_paid_after_the_fence_let_the_wipe_through_and_before_it_began(stage: Stage) -> None:
    """The controller dies between the fence and the node: nothing was destroyed, so the payment wins."""
    given = run_until(stage, "undefine")
    name, args = args_of(stage, given, "wipe")
    stage.ports.fence.require(service_id="s1", job_id=JOB, act="wipe")
    assert stage.service().point_of_no_return is not None
    stage.pay()
    with pytest.raises(FenceClosed):
        stage.apply(name, args, job=JOB)
    assert stage.service().point_of_no_return is None
    undo_all(stage, given)
    assert stage.guest()["power"] == "running"


def test_a_wipe_that_could_not_begin_leaves_no_point_of_no_return(stage: Stage) -> None:
    given = run_until(stage, "undefine")
    name, args = args_of(stage, given, "wipe")
    stage.fails("agent.volume-wipe", PermanentDriverError("no such device"))
    with pytest.raises(PermanentDriverError):
        stage.apply(name, args, job=JOB)
    assert stage.service().point_of_no_return is None
    undo_all(stage, given)
    assert stage.guest()["power"] == "running"


def test_where_nobody_can_tell_whether_it_began_the_point_of_no_return_stays(stage: Stage) -> None:
    given = run_until(stage, "undefine")
    name, args = args_of(stage, given, "wipe")
    stage.fails("agent.volume-wipe", PermanentDriverError("cut off"), where="during")
    stage.fails("agent.volume-state", PermanentDriverError("the node is gone"), nth=len(args["volumes"]) + 1)
    with pytest.raises(PermanentDriverError):
        stage.apply(name, args, job=JOB)
    assert stage.service().point_of_no_return is not None


def test_a_guest_whose_disk_is_gone_is_not_defined_again(stage: Stage) -> None:
    given = run_until(stage, "undefine")
    FakeVolumes(stage.world, "n1").delete(given["record"]["volumes"][0]["name"], deadline=5)
    name, args = args_of(stage, given, "undefine")
    with pytest.raises(UndoFailed, match="is gone"):
        stage.undo(name, args, job=JOB)


@pytest.mark.parametrize("step_id", ["hold", "stop", "undefine"])
def test_after_a_crash_an_act_is_known_to_be_this_jobs_and_no_others(stage: Stage, step_id: str) -> None:
    given = run_until(stage, step_id)
    name, args = args_of(stage, given, step_id)
    if step_id == "undefine":  # the guest was there when this job wrote it down
        found = stage.check(name, args, job=JOB)
        unseen = stage.check(name, {**args, "definition": None}, job=JOB)
    else:
        found, unseen = stage.check(name, args, job=JOB), stage.check(name, args, job="j9")
    assert isinstance(found, Done)
    assert isinstance(unseen, Done)
    assert (found.made_by, unseen.made_by) == (JOB, "")


# -- past it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["agent.volume-wipe", "agent.secret-wipe", "volumes.delete"])
@pytest.mark.parametrize("where", ["before", "during", "after"])
@pytest.mark.parametrize("nth", [1, 2])
def test_once_begun_the_wipe_is_carried_to_its_end_whoever_pays(stage: Stage, method: str, where: str, nth: int) -> None:
    given = run_until(stage, "undefine")
    name, args = args_of(stage, given, "wipe")
    stage.fails(method, TransientDriverError("cut off"), where=where, nth=nth)
    cut = (method, nth) != ("agent.secret-wipe", 2) and (method, where) != ("agent.secret-wipe", "during")
    if cut:
        with pytest.raises(TransientDriverError):
            stage.apply(name, args, job=JOB)
    else:
        stage.apply(name, args, job=JOB)
    begun = any(v.endswith(".wiping") or "orch.s1" not in v for v in stage.world.node("n1")["volumes"]) and not (
        method == "agent.volume-wipe" and where == "before" and nth == 1
    )
    stage.world.clear_faults()
    if not begun:
        return
    stage.pay()
    facts = stage.run(name, args, job=JOB)
    node = stage.world.node("n1")
    assert [v for v in node["volumes"] if v.startswith("orch.s1")] == []
    assert node["secrets"] == {}
    assert [w["report"]["method"] for w in facts["wiped"]] == ["crypto-erase", "overwrite"]
    assert stage.service().point_of_no_return is not None
    with pytest.raises(UndoFailed, match="point of no return"):
        stage.undo(name, args, job=JOB)


def test_a_plain_disk_is_overwritten_and_its_marker_is_gone_from_the_medium(tmp_path: Path) -> None:
    stage = Stage(tmp_path, plan=replace(PLAN, encrypted=False))
    stage.made = stage.make()
    stage.job(IntentKind.TERMINATE, JOB)
    stage.world.plant("n1", "orch.s1.disk.j1.qcow2", "secret marker")
    assert stage.world.on_medium("n1", "secret marker")
    given = run_until(stage, "wipe")
    assert not stage.world.on_medium("n1", "secret marker")
    assert {w["report"]["method"] for w in given["wipe"]["wiped"]} == {"overwrite"}
    assert given["wipe"]["keys_destroyed"] == []
    stage.close()


def test_a_volume_of_the_service_that_nobody_recorded_is_wiped_too(stage: Stage) -> None:
    extra = VolumeSpec(name="orch.s1.scratch.jx.qcow2", capacity_bytes=1 << 20, encrypted=False)
    FakeVolumes(stage.world, "n1").create(extra, deadline=5)
    foreign = replace(extra, name="orch.s10.disk.jx.qcow2")
    FakeVolumes(stage.world, "n1").create(foreign, deadline=5)
    given = run_until(stage, "addresses")
    assert "orch.s1.scratch.jx.qcow2" in [w["name"] for w in given["wipe"]["wiped"]]
    assert sorted(stage.world.node("n1")["volumes"]) == [
        "debian.initrd",
        "debian.qcow2",
        "debian.vmlinuz",
        "orch.s10.disk.jx.qcow2",
    ]


def test_a_key_whose_volume_was_never_made_goes_too(stage: Stage) -> None:
    name = "orch.s1.disk.jx.qcow2"
    FakeVolumes(stage.world, "n1").create(VolumeSpec(name=name, capacity_bytes=1, encrypted=True), deadline=5)
    with stage.world.change() as state:
        del state["nodes"]["n1"]["volumes"][name]
    run_until(stage, "addresses")
    assert stage.world.node("n1")["secrets"] == {}
    assert stage.addresses.lease("s1") is None


def test_a_disk_that_was_gone_before_is_certified_as_not_verified(stage: Stage) -> None:
    FakeVolumes(stage.world, "n1").delete("orch.s1.disk.j1.qcow2", deadline=5)
    given = run_until(stage, "certificate")
    kept = stage.ledger.certificate("s1")
    assert kept is not None
    disk = next(v for v in kept["volumes"] if "disk" in v["name"])
    assert (disk["method"], disk["verified"]) == ("none", False)
    assert given["certificate"] == {"certificate": kept["id"]}


# -- the end ---------------------------------------------------------------------------------------------------


def test_nothing_is_left_and_a_certificate_says_so(stage: Stage) -> None:
    given = run_until(stage, "addresses")
    node = stage.world.node("n1")
    assert (node["guests"], node["secrets"], node["files"]) == ({}, {}, [])
    assert [v for v in node["volumes"] if v.startswith("orch.")] == []
    assert stage.addresses.lease("s1") is None
    assert stage.ledger.reservation("s1") is None
    kept = stage.ledger.certificate("s1")
    assert kept is not None
    verdict = verify(kept, signature_holds, pinned_key=stage.secrets.public_key())
    assert verdict.ok, verdict.sentences
    assert kept["residue"]["clean"]
    assert (kept["provider"], kept["client"], kept["approved_by"]) == ("Example Hosting", "c1", "anna")
    assert [v["method"] for v in kept["volumes"]] == ["crypto-erase", "overwrite"]
    assert "absent from n1" in given["residue"]["proof"]


def test_every_step_of_the_end_is_done_when_it_is_looked_at_again(stage: Stage) -> None:
    given = run_until(stage, "addresses")
    for _, name, args in steps_of(stage, given):
        if name != "guest.record":
            assert isinstance(stage.check(name, args, job=JOB), Done), name


@pytest.mark.parametrize("left", ["guest", "volume", "key"])
def test_something_left_behind_is_named_and_keeps_the_addresses(stage: Stage, left: str) -> None:
    given = run_until(stage, "wipe")
    if left == "guest":
        with stage.world.change() as state:
            state["nodes"]["n1"]["guests"]["orch.s1"] = state["nodes"]["n1"]["guests"].get("orch.s1") or _bare_guest()
    else:
        encrypted = left == "key"
        FakeVolumes(stage.world, "n1").create(
            VolumeSpec(name="orch.s1.disk.jx.qcow2", capacity_bytes=1, encrypted=encrypted), deadline=5
        )
        if encrypted:
            with stage.world.change() as state:
                del state["nodes"]["n1"]["volumes"]["orch.s1.disk.jx.qcow2"]
    name, args = args_of(stage, given, "residue")
    assert isinstance(stage.check(name, args, job=JOB), Needed)
    with pytest.raises(PermanentDriverError, match=left):
        stage.apply(name, args, job=JOB)
    # The record of the wipe is still on the node, for the certificate to come.
    assert stage.world.node("n1")["wipes"]


def _bare_guest() -> dict[str, Any]:
    lease = {"service_id": "s1", "job_id": "jx", "mac": "52:54:00:00:00:01", "ipv4": [], "ipv6": [], "dns": []}
    definition = {
        "name": "orch.s1",
        "uuid": "u",
        "mark": {"service_id": "s1", "job_id": "jx"},
        "vcpus": 1,
        "memory_bytes": 1,
        "cpu_percent": 100,
        "disks": [],
        "bridge": "br0",
        "lease": {**lease, "gateway4": None, "gateway6": None},
    }
    return {"definition": definition, "mark": None, "power": "running", "autostart": False, "managed_save": False, "boots": 1}


def test_a_node_that_does_not_answer_proves_nothing(stage: Stage) -> None:
    given = run_until(stage, "wipe")
    stage.world.set_node("n1", up=False)
    name, args = args_of(stage, given, "residue")
    with pytest.raises(TransientDriverError):
        stage.apply(name, args, job=JOB)
    assert stage.addresses.lease("s1") is not None


def test_logs_and_records_of_the_wipe_go_with_the_proof(stage: Stage) -> None:
    given = run_until(stage, "residue")
    assert stage.world.node("n1")["wipes"] == {}
    removed = given["residue"]["checks"][0]["removed"]
    assert any(path.endswith("/orch.s1.log") for path in removed)


def test_errors_of_the_end_are_all_ours(stage: Stage) -> None:
    """An act on a node that never was ends in an error with a code, never in a bare exception."""
    for _, name, args in steps_of(stage, {}):
        if "node" in args:
            with pytest.raises(OrchestratorError):
                stage.apply(name, {**args, "node": "n9", **({"volumes": [_ref()]} if name == "volume.wipe" else {})}, job=JOB)


def _ref() -> Facts:
    return {"name": "orch.s1.disk.j1.qcow2", "path": "/pool/orch.s1.disk.j1.qcow2"}
