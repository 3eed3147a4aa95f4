"""Volumes through libvirt where the contract cannot see: being made, broken off, made side by side."""

from __future__ import annotations

import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from orchestrator.domain.errors import OrchestratorError, TransientDriverError
from orchestrator.drivers.libvirt import Connection, LibvirtVolumes
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.ports.volumes import VolumeFacts, VolumeSpec
from tests.contract.nodes import LONG, MIB, LibvirtNode, sh
from tests.lab import daemons
from tests.lab.environment import Lab
from tests.lab.templates import Installed

SIZE = 128 * MIB


@pytest.fixture(scope="module")
def node(lab: Lab, tiny_template: Installed) -> Iterator[LibvirtNode]:
    made = LibvirtNode(lab, tiny_template)
    yield made
    made.connection.close()


@pytest.fixture
def bystander(lab: Lab) -> Iterator[LibvirtVolumes]:
    """Another controller process, as after a crash: a connection of its own."""
    connection = Connection(lab.uri, node="lab-node", clock=SystemClock())
    yield LibvirtVolumes(connection, pool=lab.pool, random=secrets.token_bytes)
    connection.close()


def test_a_volume_still_being_made_is_never_taken_for_a_finished_one(node: LibvirtNode, bystander: LibvirtVolumes) -> None:
    spec = VolumeSpec(name="orch.b1.root.job-1.qcow2", capacity_bytes=SIZE, template=node.boot.volume)
    made: list[VolumeFacts] = []
    maker = threading.Thread(target=lambda: made.append(node.volumes.create(spec, deadline=LONG)))
    bystander.volume(spec.name, deadline=LONG)
    maker.start()
    seen: list[str] = []
    while maker.is_alive():
        try:
            facts = bystander.volume(spec.name, deadline=0.5)
        except TransientDriverError:
            seen.append("busy")
        else:
            seen.append("absent" if facts is None else "whole" if made or not maker.is_alive() else look_again(made, maker))
        time.sleep(0.05)
    assert "busy" in seen
    assert "half" not in seen
    assert bystander.volume(spec.name, deadline=LONG) == made[0]
    node.volumes.delete(spec.name, deadline=LONG)


def look_again(made: list[VolumeFacts], maker: threading.Thread) -> str:
    """The answer may have come just before the maker's own: give that a moment."""
    maker.join(timeout=1.0)
    return "whole" if made else "half"


def test_volumes_are_made_side_by_side(node: LibvirtNode) -> None:
    """An encrypted one takes seconds; the others do not wait for it."""
    slow = VolumeSpec(name="orch.p0.root.job-1.qcow2", capacity_bytes=SIZE, template=node.boot.volume)
    names = [f"orch.p{number}.root.job-1.qcow2" for number in range(1, 5)]
    results: list[VolumeFacts | OrchestratorError] = []

    def make(spec: VolumeSpec) -> None:
        try:
            results.append(node.volumes.create(spec, deadline=LONG))
        except OrchestratorError as error:
            results.append(error)

    first = threading.Thread(target=make, args=(slow,))
    first.start()
    daemons.wait_until("the first to be begun", (node.lab.pool_path / slow.name).exists, seconds=30)
    others = [threading.Thread(target=make, args=(replace(slow, name=name, encrypted=False),)) for name in names]
    for maker in others:
        maker.start()
    for maker in others:
        maker.join(timeout=LONG)
    assert {facts.name for facts in results if isinstance(facts, VolumeFacts)} == set(names)
    first.join(timeout=LONG)
    assert {facts.name for facts in results if isinstance(facts, VolumeFacts)} == {slow.name, *names}
    for name in (slow.name, *names):
        node.volumes.delete(name, deadline=LONG)


def test_a_torso_that_was_not_encrypted_yet_shows_no_secret(node: LibvirtNode) -> None:
    name = "orch.t1.root.job-1.qcow2"
    node.leave_secret(name)
    torso = node.lab.pool_path / name
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(torso), str(SIZE)], check=True, timeout=60)
    facts = node.volumes.volume(name, deadline=LONG)
    assert facts is not None
    assert facts.secret_uuid == ""
    node.volumes.delete(name, deadline=LONG)
    assert name not in node.volumes.secrets(deadline=LONG)
    assert not torso.exists()


def test_a_volume_whose_wipe_has_begun_still_shows_the_secret_that_opened_it(node: LibvirtNode) -> None:
    name = "orch.w1.root.job-1.qcow2"
    node.leave_secret(name)
    rest = node.lab.pool_path / f"{name}.wiping"
    rest.write_bytes(bytes(MIB))
    facts = next(facts for facts in node.volumes.volumes(deadline=LONG) if facts.name == rest.name)
    assert facts.secret_uuid
    rest.unlink()
    node.volumes.delete(name, deadline=LONG)
    assert name not in node.volumes.secrets(deadline=LONG)


def test_a_full_copy_can_be_encrypted_too(node: LibvirtNode) -> None:
    spec = VolumeSpec(name="orch.f1.root.job-1.qcow2", capacity_bytes=SIZE, template=node.boot.volume, full_copy=True)
    made = node.volumes.create(spec, deadline=LONG)
    assert (made.backing_path, made.capacity_bytes) == ("", SIZE)
    assert made.secret_uuid
    assert "format: luks" in sh("qemu-img", "info", made.path)
    assert node.volumes.volume(spec.name, deadline=LONG) == made
    node.volumes.delete(spec.name, deadline=LONG)


def test_a_fresh_key_is_asked_for_each_volume_and_never_seen_again(lab: Lab, node: LibvirtNode) -> None:
    asked: list[bytes] = []

    def random(count: int) -> bytes:
        asked.append(secrets.token_bytes(count))
        return asked[-1]

    volumes = LibvirtVolumes(node.connection, pool=lab.pool, random=random)
    spec = VolumeSpec(name="orch.k1.root.job-1.qcow2", capacity_bytes=SIZE, template=node.boot.volume)
    made = volumes.create(spec, deadline=LONG)
    assert [len(key) for key in asked] == [32]
    description = sh("virsh", "secret-dumpxml", made.secret_uuid)
    assert "private='yes'" in description
    assert "ephemeral='no'" in description
    assert f"{lab.pool}/{spec.name}" in description
    assert asked[0].hex() not in description
    volumes.delete(spec.name, deadline=LONG)


def test_a_pool_that_is_switched_off_is_a_transient_error(lab: Lab, node: LibvirtNode) -> None:
    sh("virsh", "pool-destroy", lab.pool)
    try:
        with pytest.raises(TransientDriverError, match="not active"):
            node.volumes.volumes(deadline=LONG)
        with pytest.raises(TransientDriverError, match="not active"):
            node.hypervisor.node_facts(deadline=LONG)
    finally:
        sh("virsh", "pool-start", lab.pool)
    assert node.volumes.volumes(deadline=LONG)
