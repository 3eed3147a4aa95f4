"""Volumes through libvirt where the contract cannot see: being made, broken off, made side by side."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.errors import AlreadyExists, OrchestratorError, TransientDriverError
from orchestrator.drivers.libvirt import Connection, LibvirtVolumes
from orchestrator.drivers.libvirt.volumes import making_name
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.ports.node_transport import NodeTransport, Progress
from orchestrator.ports.volumes import VolumeFacts, VolumeSpec
from tests.contract.nodes import LONG, MIB, LibvirtNode, sh
from tests.lab import daemons
from tests.lab.environment import Lab
from tests.lab.templates import Installed

SIZE = 128 * MIB
Request = Callable[[Mapping[str, Any]], None]


@pytest.fixture(scope="module")
def node(lab: Lab, tiny_template: Installed) -> Iterator[LibvirtNode]:
    made = LibvirtNode(lab, tiny_template)
    yield made
    made.connection.close()


@pytest.fixture
def bystander(lab: Lab, node: LibvirtNode) -> Iterator[LibvirtVolumes]:
    """Another controller process, as after a crash: a connection of its own."""
    connection = Connection(lab.uri, node="lab-node", clock=SystemClock())
    yield LibvirtVolumes(connection, agent=node.agent, pool=lab.pool, random=secrets.token_bytes)
    connection.close()


def test_a_volume_still_being_made_is_never_taken_for_a_finished_one(node: LibvirtNode, bystander: LibvirtVolumes) -> None:
    spec = VolumeSpec(name="orch.b1.root.job-1.qcow2", capacity_bytes=SIZE, template=node.boot.volume)
    made: list[VolumeFacts] = []
    maker = threading.Thread(target=lambda: made.append(node.volumes.create(spec, deadline=LONG)))
    bystander.volume(spec.name, deadline=LONG)
    maker.start()
    seen: list[VolumeFacts | None] = []
    begun = 0
    while maker.is_alive():
        begun += making(node, spec.name).exists()
        seen.append(bystander.volume(spec.name, deadline=LONG))
        time.sleep(0.05)
    assert begun > 3
    assert seen[:begun] == [None] * begun
    assert [facts for facts in seen if facts not in (None, made[0])] == []
    assert bystander.volume(spec.name, deadline=LONG) == made[0]
    node.volumes.delete(spec.name, deadline=LONG)


def making(node: LibvirtNode, name: str) -> Path:
    """Where the volume is while it is made."""
    return node.lab.pool_path / making_name(name)


def test_what_a_broken_off_creation_left_goes_with_the_volume(node: LibvirtNode) -> None:
    name = "orch.b2.root.job-1.qcow2"
    making(node, name).write_bytes(bytes(MIB))
    node.leave_secret(name)
    node.volumes.delete(name, deadline=LONG)
    assert not making(node, name).exists()
    assert name not in node.volumes.secrets(deadline=LONG)


def test_what_a_broken_off_creation_left_does_not_stand_in_the_way(node: LibvirtNode) -> None:
    spec = VolumeSpec(name="orch.b3.root.job-1.qcow2", capacity_bytes=SIZE, template=node.boot.volume)
    making(node, spec.name).write_bytes(bytes(MIB))
    node.leave_secret(spec.name)
    assert node.volumes.create(spec, deadline=LONG).secret_uuid
    assert not making(node, spec.name).exists()
    node.volumes.delete(spec.name, deadline=LONG)


def test_a_volume_that_libvirt_has_not_seen_yet_is_left_alone_with_its_key(node: LibvirtNode, tmp_path: Path) -> None:
    spec = VolumeSpec(name="orch.b4.root.job-1.qcow2", capacity_bytes=SIZE, template=node.boot.volume)
    made = node.volumes.create(spec, deadline=LONG)
    path = Path(made.path)
    path.rename(path.with_name("aside"))
    assert node.volumes.volume(spec.name, deadline=LONG) is None
    path.with_name("aside").rename(path)
    with pytest.raises(AlreadyExists):
        node.volumes.create(spec, deadline=LONG)
    assert node.volumes.volume(spec.name, deadline=LONG) == made
    assert opens(made, tmp_path)
    node.volumes.delete(spec.name, deadline=LONG)


class Around:
    """The node's agent, with something happening around the call that makes a volume."""

    def __init__(self, agent: NodeTransport, *, before: Request | None = None, after: Request | None = None) -> None:
        self._agent, self._before, self._after = agent, before, after

    def call(
        self, command: str, request: Mapping[str, Any], *, deadline: float, progress: Progress | None = None
    ) -> dict[str, Any]:
        if self._before is not None:
            self._before(request)
        answer = self._agent.call(command, request, deadline=deadline, progress=progress)
        if self._after is not None:
            self._after(request)
        return answer

    def close(self) -> None:
        self._agent.close()


def lost(_request: Mapping[str, Any]) -> None:
    raise TransientDriverError("the answer was lost")


def test_a_volume_whose_maker_was_lost_is_whole_and_opens_by_its_key(node: LibvirtNode, tmp_path: Path) -> None:
    spec = VolumeSpec(name="orch.l1.root.job-1.qcow2", capacity_bytes=SIZE, template=node.boot.volume)
    with pytest.raises(TransientDriverError, match="lost"):
        node.store(Around(node.agent, after=lost)).create(spec, deadline=LONG)
    made = node.volumes.volume(spec.name, deadline=LONG)
    assert made is not None
    assert opens(made, tmp_path)
    node.volumes.delete(spec.name, deadline=LONG)


def test_a_volume_that_an_earlier_call_makes_with_a_key_that_is_gone_is_made_anew(node: LibvirtNode, tmp_path: Path) -> None:
    spec = VolumeSpec(name="orch.l2.root.job-1.qcow2", capacity_bytes=SIZE, template=node.boot.volume)

    def earlier(request: Mapping[str, Any]) -> None:
        node.agent.call("volume-make", {**request, "passphrase": "an-older-key-of-the-same-volume"}, deadline=LONG)

    with pytest.raises(TransientDriverError, match="a key that is gone"):
        node.store(Around(node.agent, before=earlier)).create(spec, deadline=LONG)
    assert node.volumes.volume(spec.name, deadline=LONG) is None
    assert spec.name not in node.volumes.secrets(deadline=LONG)
    assert opens(node.volumes.create(spec, deadline=LONG), tmp_path)
    node.volumes.delete(spec.name, deadline=LONG)


def opens(volume: VolumeFacts, directory: Path) -> bool:
    """Whether the key that libvirt keeps for the volume opens it."""
    key = directory / "key"
    key.write_bytes(base64.b64decode(Path(f"/etc/libvirt/secrets/{volume.secret_uuid}.base64").read_text()))
    image = f"driver=qcow2,file.filename={volume.path},encrypt.key-secret=k"
    words = ["qemu-io", "--object", f"secret,id=k,file={key}", "--image-opts", image, "-c", "read 0 512"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode == 0 and "read 512/512" in done.stdout


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
    daemons.wait_until("the first to be begun", making(node, slow.name).exists, seconds=30)
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


def test_a_key_costs_little_to_derive(node: LibvirtNode) -> None:
    """The key is random. By default QEMU makes deriving it take seconds, at every start of the guest."""
    spec = VolumeSpec(name="orch.i1.root.job-1.qcow2", capacity_bytes=SIZE, template=node.boot.volume)
    made = node.volumes.create(spec, deadline=LONG)
    luks = json.loads(sh("qemu-img", "info", "--output=json", made.path))["format-specific"]["data"]["encrypt"]
    counts = [luks["master-key-iters"], *(slot["iters"] for slot in luks["slots"] if slot["active"])]
    assert [0 < count < 100_000 for count in counts] == [True, True]
    node.volumes.delete(spec.name, deadline=LONG)


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

    volumes = LibvirtVolumes(node.connection, agent=node.agent, pool=lab.pool, random=random)
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
