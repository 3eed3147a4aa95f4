"""The steps that make a guest, each on the simulated node: looked at, applied, applied again, undone, undone again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.errors import (
    AlreadyExists,
    NoCapacity,
    NotFound,
    OrchestratorError,
    PermanentDriverError,
    Stopped,
    TransientDriverError,
    UndoFailed,
)
from orchestrator.domain.placement import Reservation
from orchestrator.drivers.fake import FakeHypervisor, FakeVolumes
from orchestrator.ports.hypervisor import GuestMark
from orchestrator.ports.volumes import VolumeSpec
from orchestrator.steps.arguments import parse
from orchestrator.steps.base import Done, Facts, Needed
from orchestrator.steps.registry import STEPS
from orchestrator.store import nodes
from tests.contract.stage import JOB, PLAN, PROVISION, TEMPLATE, Stage, set_up

MAKING = [(step_id, name) for step_id, name in PROVISION if step_id not in ("template", "wait", "verify")]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    built = set_up(tmp_path)
    yield built
    built.close()


def before(stage: Stage, step_id: str) -> tuple[str, Facts]:
    """Carry out every step before ``step_id``; its name and arguments."""
    made: dict[str, Facts] = {}
    for each, name in PROVISION:
        args = stage.provision_args(each, made)
        if each == step_id:
            return name, args
        made[each] = stage.run(name, args)
    raise AssertionError(step_id)


@pytest.mark.parametrize("step_id", [step_id for step_id, _ in MAKING])
def test_a_making_step_is_needed_then_done_by_this_job_and_undone_without_a_trace(stage: Stage, step_id: str) -> None:
    name, args = before(stage, step_id)
    untouched = stage.snapshot(tokens=True)
    assert isinstance(stage.check(name, args), Needed)
    facts = stage.apply(name, args)
    found = stage.check(name, args)
    assert isinstance(found, Done)
    assert (found.made_by, found.facts) == (JOB, facts)
    made = stage.snapshot()
    assert stage.apply(name, args) == facts
    assert stage.snapshot() == made
    stage.undo(name, args)
    assert stage.snapshot(tokens=True) == untouched
    stage.undo(name, args)
    assert stage.snapshot(tokens=True) == untouched


@pytest.mark.parametrize("step_id", [step_id for step_id, _ in MAKING])
def test_undoing_what_another_job_made_touches_nothing(stage: Stage, step_id: str) -> None:
    name, args = before(stage, step_id)
    stage.apply(name, args)
    made = stage.snapshot(tokens=True)
    stage.undo(name, args, job="j2")
    assert stage.snapshot(tokens=True) == made


# Each act, and the places where its call can be cut off.
CUTS = [
    ("disk", "volumes.create", "during"),
    ("disk", "volumes.create", "after"),
    ("seed", "volumes.put", "after"),
    ("define", "hypervisor.define", "after"),
    ("start", "hypervisor.mark", "during"),
    ("start", "hypervisor.power.start", "before"),
    ("start", "hypervisor.power.start", "after"),
]


@pytest.mark.parametrize(("step_id", "method", "where"), CUTS)
def test_an_act_whose_answer_was_lost_is_carried_to_the_same_end(stage: Stage, step_id: str, method: str, where: str) -> None:
    name, args = before(stage, step_id)
    stage.fails(method, TransientDriverError("cut off"), where=where)
    with pytest.raises(TransientDriverError):
        stage.apply(name, args)
    stage.run(name, args)
    assert isinstance(stage.check(name, args), Done)
    assert len(stage.world.node("n1")["secrets"]) == 1


@pytest.mark.parametrize(("step_id", "method", "where"), CUTS)
def test_an_act_that_was_cut_off_is_undone_whole(stage: Stage, step_id: str, method: str, where: str) -> None:
    name, args = before(stage, step_id)
    untouched = stage.snapshot(tokens=True)
    stage.fails(method, TransientDriverError("cut off"), where=where)
    with pytest.raises(TransientDriverError):
        stage.apply(name, args)
    stage.undo(name, args)
    assert stage.snapshot(tokens=True) == untouched


def test_everything_made_is_what_was_sold_and_all_of_it_can_be_undone(stage: Stage) -> None:
    empty = stage.snapshot()
    made = stage.make()
    assert made["verify"]["verified"]["vcpus"] == PLAN.vcpus
    assert made["wait"]["ready"].startswith("ssh 10.9.")
    steps = dict(PROVISION)
    for step_id in reversed(steps):
        stage.undo(steps[step_id], stage.provision_args(step_id, made))
    assert stage.snapshot() == empty


# -- placement ---------------------------------------------------------------------------------


def test_the_place_is_explained_node_by_node_also_when_it_is_looked_up_again(stage: Stage) -> None:
    name, args = before(stage, "place")
    facts = stage.apply(name, args)
    assert [v["node"] for v in facts["verdicts"]] == ["n1", "n2"]
    assert all(v["reasons"] for v in facts["verdicts"])
    found = stage.check(name, args)
    assert isinstance(found, Done)
    assert found.facts == facts


def test_a_node_that_another_job_fills_meanwhile_is_chosen_again(stage: Stage, tmp_path: Path) -> None:
    """Between choosing and promising somebody else takes the rest of n1: the ledger refuses, and n2 is taken."""
    ledger = stage.ledger
    everything = Reservation(service_id="other", job_id="jx", node="n1", vcpus=64, memory_bytes=1, disk_bytes=1)

    class Racing:
        raced = False

        def __getattr__(self, name: str) -> Any:
            return getattr(ledger, name)

        def reserve(self, reservation: Reservation, *, limit: Any, moving: bool = False) -> None:
            if not self.raced:
                self.raced = True
                ledger.reserve(everything, limit=limit)
            ledger.reserve(reservation, limit=limit, moving=moving)

    stage.ports = replace(stage.ports, ledger=Racing())
    assert stage.apply("node.reserve", {"guest": stage.spec["guest"]})["node"] == "n2"


def test_no_room_anywhere_is_said_with_every_nodes_reason(stage: Stage) -> None:
    guest = {**stage.spec["guest"], "vcpus": 10_000}
    with pytest.raises(NoCapacity, match=r"n1: .*n2: "):
        stage.apply("node.reserve", {"guest": guest})


def test_a_node_that_is_down_is_waited_for_where_no_other_takes_the_guest(stage: Stage) -> None:
    guest = stage.spec["guest"]
    with stage.db.write() as conn:
        nodes.set_unreachable(conn, "n1", "no answer")
    assert stage.apply("node.reserve", {"guest": guest})["node"] == "n2"
    stage.undo("node.reserve", {"guest": guest})
    with stage.db.write() as conn:
        nodes.set_unreachable(conn, "n2", "no answer")
    with pytest.raises(TransientDriverError, match=r"n1 would take the guest, and is down"):
        stage.apply("node.reserve", {"guest": guest})
    with pytest.raises(NoCapacity):
        stage.apply("node.reserve", {"guest": {**guest, "vcpus": 10_000}})


def test_addresses_are_not_given_back_while_the_guest_stands(stage: Stage) -> None:
    made = stage.make()
    with pytest.raises(UndoFailed):
        stage.undo("address.allocate", stage.provision_args("addresses", made))
    assert stage.addresses.lease("s1") is not None


# -- template and disk -----------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["debian.qcow2", "debian.vmlinuz", "debian.initrd"])
def test_a_template_with_a_missing_file_is_named(stage: Stage, missing: str) -> None:
    name, args = before(stage, "template")
    FakeVolumes(stage.world, "n1").delete(missing, deadline=5)
    with pytest.raises(NotFound, match=missing):
        stage.check(name, args)


def test_a_template_with_another_hash_is_refused(stage: Stage) -> None:
    name, args = before(stage, "template")
    stage.world.add_template("n1", TEMPLATE.volume, sha256=args["sha256"], corrupt=True)
    with pytest.raises(PermanentDriverError, match="not the declared one"):
        stage.check(name, args)


def test_a_disk_of_the_same_service_from_another_job_is_never_doubled(stage: Stage) -> None:
    name, args = before(stage, "disk")
    stage.apply(name, args, job="j0")
    with pytest.raises(AlreadyExists, match="another job"):
        stage.check(name, args)


def test_a_disk_that_is_not_encrypted_is_not_taken_for_one_that_should_be(stage: Stage) -> None:
    name, args = before(stage, "disk")
    plain = VolumeSpec(name=f"orch.s1.disk.{JOB}.qcow2", capacity_bytes=args["capacity_bytes"], encrypted=False)
    FakeVolumes(stage.world, "n1").create(plain, deadline=5)
    with pytest.raises(PermanentDriverError, match="not encrypted"):
        stage.check(name, args)


def test_a_full_pool_leaves_neither_volume_nor_key(stage: Stage) -> None:
    name, args = before(stage, "disk")
    untouched = stage.snapshot()
    stage.world.set_node("n1", pool_bytes=0)
    with pytest.raises(NoCapacity):
        stage.apply(name, args)
    assert stage.snapshot() == untouched


def test_half_a_seed_is_needed_again(stage: Stage) -> None:
    name, args = before(stage, "seed")
    volume = stage.apply(name, args)["volume"]
    FakeVolumes(stage.world, "n1").put(volume["name"], bytes(volume["capacity_bytes"]), deadline=5)
    assert isinstance(stage.check(name, args), Needed)
    stage.apply(name, args)
    assert isinstance(stage.check(name, args), Done)


# -- the guest ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", [None, "s2"])
@pytest.mark.parametrize("step_id", ["define", "start", "verify"])
def test_a_guest_of_that_name_that_is_not_ours_is_left_alone(stage: Stage, owner: str | None, step_id: str) -> None:
    made = stage.make()
    with stage.world.change() as state:
        mark = state["nodes"]["n1"]["guests"]["orch.s1"]["mark"]
        state["nodes"]["n1"]["guests"]["orch.s1"]["mark"] = None if owner is None else {**mark, "service_id": owner}
    foreign = stage.snapshot(tokens=True)
    name, args = dict(PROVISION)[step_id], stage.provision_args(step_id, made)
    with pytest.raises(AlreadyExists):
        stage.check(name, args)
    with pytest.raises(OrchestratorError):
        stage.apply(name, args)
    if step_id != "verify":
        with pytest.raises(AlreadyExists):
            stage.undo(name, args)
    assert stage.snapshot(tokens=True) == foreign


def test_a_guest_that_an_earlier_job_made_is_not_defined_over(stage: Stage) -> None:
    made = stage.make()
    with pytest.raises(AlreadyExists, match="made by job j1"):
        stage.check("guest.define", stage.provision_args("define", made), job="j2")


def test_the_definition_carries_limits_filter_signature_and_boot_files(stage: Stage) -> None:
    stage.make()
    guest = stage.guest()
    definition, mark = guest["definition"], guest["mark"]
    assert (definition["vcpus"], definition["cpu_percent"], definition["network_bytes_per_second"]) == (2, 50, 12_500_000)
    disk, seed = definition["disks"]
    assert (disk["bytes_per_second"], disk["iops"], bool(disk["secret_uuid"])) == (50_000_000, 500, True)
    assert seed["read_only"]
    assert definition["kernel"].endswith("/debian.vmlinuz")
    assert mark["spec_digest"] == stage.spec["digest"]
    assert definition["lease"]["ipv4"] == ["10.9.0.10/16"]


def test_a_template_without_cloud_init_gets_no_seed(tmp_path: Path) -> None:
    stage = Stage(tmp_path, template=replace(TEMPLATE, cloud_init=False))
    made: dict[str, Facts] = {}
    for step_id, name in PROVISION:
        if step_id != "seed":
            made[step_id] = stage.run(name, stage.provision_args(step_id, made))
    assert [d["read_only"] for d in stage.guest()["definition"]["disks"]] == [False]
    stage.close()


@pytest.mark.parametrize("ready", ["ssh", "agent", "running"])
def test_a_guest_that_runs_answers_in_each_way(stage: Stage, ready: str) -> None:
    made = stage.make()
    args = {**stage.provision_args("wait", made), "ready": ready}
    found = stage.check("guest.wait", args)
    assert isinstance(found, Done)
    assert found.facts["ready"].startswith(ready)


def test_waiting_ends_at_the_deadline_and_at_once_where_the_guest_dies(stage: Stage) -> None:
    made = stage.make()
    args = {**stage.provision_args("wait", made), "addresses": ["192.0.2.99"]}
    step = STEPS["guest.wait"]
    began = stage.clock.monotonic()
    with pytest.raises(TransientDriverError, match="did not answer within 30 s"):
        step.apply(stage.context(deadline=30), parse(step.args, args))
    assert 30 <= stage.clock.monotonic() - began < 35
    with stage.world.change() as state:
        state["nodes"]["n1"]["guests"]["orch.s1"]["power"] = "crashed"
    with pytest.raises(PermanentDriverError, match="does not run"):
        stage.apply("guest.wait", args)


def test_waiting_ends_when_the_job_is_asked_to_stop(stage: Stage) -> None:
    made = stage.make()
    stage.stop_asked = True
    with pytest.raises(Stopped, match="asked to stop"):
        stage.apply("guest.wait", {**stage.provision_args("wait", made), "addresses": ["192.0.2.99"]})


def _change(stage: Stage, **values: object) -> None:
    with stage.world.change() as state:
        state["nodes"]["n1"]["guests"]["orch.s1"]["definition"].update(values)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"vcpus": 1}, "1 vCPUs instead of 2"),
    ({"memory_bytes": 1}, "of memory"),
    ({"cpu_percent": 100}, "per cent of a core"),
    ({"network_bytes_per_second": 0}, "of network"),
    ({"bridge": "br9"}, "as bridge"),
]


@pytest.mark.parametrize(("rate", "agrees"), [(12_500_400, True), (12_499_600, True), (12_501_000, False), (0, False)])
def test_a_rate_agrees_to_the_kilobyte(stage: Stage, rate: int, agrees: bool) -> None:
    made = stage.make()
    _change(stage, network_bytes_per_second=rate)
    assert isinstance(stage.check("guest.verify", stage.provision_args("verify", made)), Done) is agrees


@pytest.mark.parametrize(("values", "sentence"), WRONG)
def test_a_guest_that_is_not_what_was_sold_is_not_called_done(stage: Stage, values: dict[str, Any], sentence: str) -> None:
    made = stage.make()
    _change(stage, **values)
    args = stage.provision_args("verify", made)
    found = stage.check("guest.verify", args)
    assert isinstance(found, Needed)
    assert sentence in found.why
    with pytest.raises(PermanentDriverError, match=sentence):
        stage.apply("guest.verify", args)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"bytes_per_second": 0}, "MB/s"),
        ({"iops": 0}, "disk operations"),
        ({"secret_uuid": ""}, "not encrypted"),
        ({"path": "/var/lib/orchestrator/pool/debian.qcow2"}, "as disk"),
    ],
)
def test_a_disk_that_is_not_what_was_sold_is_not_called_done(stage: Stage, change: dict[str, Any], sentence: str) -> None:
    made = stage.make()
    disk, seed = stage.guest()["definition"]["disks"]
    _change(stage, disks=[{**disk, **change}, seed])
    found = stage.check("guest.verify", stage.provision_args("verify", made))
    assert isinstance(found, Needed)
    assert sentence in found.why


def test_a_filter_that_lets_a_foreign_address_through_is_not_called_done(stage: Stage) -> None:
    made = stage.make()
    lease = stage.guest()["definition"]["lease"]
    _change(stage, lease={**lease, "ipv4": ["10.9.0.77/16"], "ipv6": [*lease["ipv6"], "fe80::1/64"]})
    found = stage.check("guest.verify", stage.provision_args("verify", made))
    assert isinstance(found, Needed)
    assert "does not let 10.9.0.10 through" in found.why
    assert "lets 10.9.0.77 through" in found.why
    assert "fe80" not in found.why


def test_a_spec_whose_signature_does_not_hold_is_not_called_done(stage: Stage) -> None:
    made = stage.make()
    hypervisor = FakeHypervisor(stage.world, "n1")
    facts = hypervisor.guest("orch.s1", deadline=5)
    assert facts is not None
    assert facts.mark is not None
    forged: GuestMark = replace(facts.mark, spec_digest="f" * 64)
    hypervisor.mark("orch.s1", forged, autostart=True, deadline=5)
    found = stage.check("guest.verify", stage.provision_args("verify", made))
    assert isinstance(found, Needed)
    assert "signature" in found.why


def test_every_step_of_the_registry_is_named_as_it_is_called() -> None:
    assert all(name == step.name for name, step in STEPS.items())
