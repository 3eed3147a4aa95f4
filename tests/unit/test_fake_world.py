"""The simulated world: what is changed stays changed whatever happens to the process; faults strike the call they are set for."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from orchestrator.domain.errors import NoCapacity, NotFound, RequestError, TransientDriverError, WrongState
from orchestrator.drivers.fake import FakeAgent, FakeHypervisor, FakeVolumes, FakeWorld
from orchestrator.ports.volumes import VolumeSpec

SPEC = VolumeSpec(name="orch.s1.root.j.qcow2", capacity_bytes=4 << 30, template="debian.qcow2")


@pytest.fixture
def world(tmp_path: Path) -> FakeWorld:
    made = FakeWorld(tmp_path / "world.json")
    made.add_node("n1")
    made.add_template("n1", "debian.qcow2")
    return made


def create_and_hang(path: Path) -> None:
    FakeVolumes(FakeWorld(path), "n1").create(SPEC, deadline=60)


def killed_while_creating(world: FakeWorld, tmp_path: Path) -> None:
    """Kill a process between the secret and the volume."""
    world.fault("volumes.create", where="during", hang=True)
    process = multiprocessing.get_context("spawn").Process(target=create_and_hang, args=(tmp_path / "world.json",))
    process.start()
    deadline = time.monotonic() + 30
    while SPEC.name not in world.node("n1")["secrets"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(timeout=10)


def test_a_link_leads_to_the_same_world_and_stays_one(world: FakeWorld, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    link = tmp_path / "other" / "world.json"
    link.symlink_to(tmp_path / "world.json")
    FakeVolumes(FakeWorld(link), "n1").create(SPEC, deadline=60)
    assert link.is_symlink()
    assert list(world.node("n1")["secrets"]) == [SPEC.name]
    assert sorted(path.name for path in link.parent.iterdir()) == ["world.json"], "lock and journal are beside the file itself"


def test_a_process_killed_halfway_leaves_what_it_had_done(world: FakeWorld, tmp_path: Path) -> None:
    killed_while_creating(world, tmp_path)
    volumes = FakeVolumes(FakeWorld(tmp_path / "world.json"), "n1")
    assert volumes.secrets(deadline=1) == (SPEC.name,)
    assert volumes.volume(SPEC.name, deadline=1) is None
    world.clear_faults()
    assert volumes.create(SPEC, deadline=1).secret_uuid


def test_the_nth_call_fails_and_the_others_do_not(world: FakeWorld) -> None:
    hypervisor = FakeHypervisor(world, "n1")
    world.fault("hypervisor.guest", nth=2, error=TransientDriverError("lost", retry_after=9))
    assert hypervisor.guest("x", deadline=1) is None
    with pytest.raises(TransientDriverError, match="lost"):
        hypervisor.guest("x", deadline=1)
    assert hypervisor.guest("x", deadline=1) is None


def test_a_fault_on_one_node_leaves_the_others_alone(world: FakeWorld) -> None:
    world.add_node("n2")
    world.fault("hypervisor.guests", nth=0, node="n2", error=NoCapacity("full"))
    assert FakeHypervisor(world, "n1").guests(deadline=1) == ()
    with pytest.raises(NoCapacity):
        FakeHypervisor(world, "n2").guests(deadline=1)


def test_an_answer_can_be_lost_after_the_act_took_effect(world: FakeWorld) -> None:
    volumes = FakeVolumes(world, "n1")
    world.fault("volumes.create", where="after", error=TransientDriverError("lost"))
    with pytest.raises(TransientDriverError):
        volumes.create(SPEC, deadline=1)
    assert volumes.volume(SPEC.name, deadline=1) is not None


def test_a_call_that_hangs_ends_at_its_deadline(world: FakeWorld) -> None:
    world.fault("hypervisor.guests", hang=True)
    began = time.monotonic()
    with pytest.raises(TransientDriverError):
        FakeHypervisor(world, "n1").guests(deadline=0.2)
    assert 0.2 <= time.monotonic() - began < 2


def test_an_unreachable_node_is_a_transient_error_and_an_unknown_one_is_none_of_ours(world: FakeWorld) -> None:
    world.set_node("n1", up=False)
    with pytest.raises(TransientDriverError):
        FakeHypervisor(world, "n1").guests(deadline=1)
    with pytest.raises(NotFound):
        FakeHypervisor(world, "n9").guests(deadline=1)


def test_a_refused_change_changes_nothing(world: FakeWorld) -> None:
    def change_and_refuse() -> None:
        with world.change() as state:
            state["nodes"]["n1"]["cpus"] = 0
            raise WrongState("no")

    before = world.read()
    with pytest.raises(WrongState):
        change_and_refuse()
    assert world.read() == before


def test_calls_are_kept_in_order(world: FakeWorld) -> None:
    FakeHypervisor(world, "n1").guest("orch.s1", deadline=1)
    FakeVolumes(world, "n1").volumes(deadline=1)
    assert [(call.method, call.subject) for call in world.journal()] == [("hypervisor.guest", "orch.s1"), ("volumes.volumes", "")]


def test_what_a_guest_wrote_in_the_clear_stays_on_the_medium_until_it_is_wiped(world: FakeWorld) -> None:
    volumes, agent = FakeVolumes(world, "n1"), FakeAgent(world, "n1")
    plain = VolumeSpec(name="orch.s2.root.j.qcow2", capacity_bytes=1 << 30, encrypted=False)
    for wiped in (False, True):
        made = volumes.create(plain, deadline=1)
        world.plant("n1", plain.name, f"marker {wiped}")
        if wiped:
            agent.call("volume-wipe", {"path": made.path, "method": "overwrite"}, deadline=1)
        volumes.delete(plain.name, deadline=1)
        assert world.on_medium("n1", f"marker {wiped}") is not wiped


def test_a_wipe_broken_off_is_seen_and_goes_on(world: FakeWorld) -> None:
    volumes, agent = FakeVolumes(world, "n1"), FakeAgent(world, "n1")
    path = volumes.create(SPEC, deadline=1).path
    wipe = {"path": path, "method": "crypto-erase", "samples": 2}
    world.fault("agent.volume-wipe", where="during", error=TransientDriverError("cut off"))
    with pytest.raises(TransientDriverError):
        agent.call("volume-wipe", wipe, deadline=1)
    assert agent.call("volume-state", {"path": path}, deadline=1)["state"] == "wiping"
    assert len(agent.call("volume-wipe", wipe, deadline=1)["samples"]) == 2
    assert agent.call("volume-state", {"path": path}, deadline=1)["state"] == "absent"


@pytest.mark.parametrize("request_", [{}, {"path": "/p/x", "extra": 1}])
def test_the_agent_takes_only_requests_of_the_right_shape(world: FakeWorld, request_: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        FakeAgent(world, "n1").call("volume-state", request_, deadline=1)
