"""A guest's disk into a real restic repository and back: running and stopped, encrypted, in full and what changed."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.build import zipapp
from agents.node.disk.segments import SEGMENT_BYTES
from orchestrator.domain.errors import NoCapacity, PermanentDriverError, Refused, TransientDriverError
from orchestrator.drivers.libvirt.exports import LibvirtExports
from orchestrator.ports.disk_exports import Export
from orchestrator.ports.hypervisor import PowerAction
from orchestrator.ports.volumes import VolumeFacts, VolumeSpec
from tests.contract.nodes import LONG, MIB, LibvirtNode
from tests.integration.libvirt_guests import Running, running_guest
from tests.lab import tiny
from tests.lab.environment import Lab
from tests.lab.templates import Installed
from tests.local_agent import LocalAgent
from tests.restic_keys import plant

pytestmark = [pytest.mark.lab, pytest.mark.guest]

SIZE = 128 * MIB
SEGMENTS = SIZE // SEGMENT_BYTES
PLACE = 20 * MIB


@pytest.fixture(scope="module")
def node(lab: Lab, tiny_template: Installed) -> Iterator[LibvirtNode]:
    made = LibvirtNode(lab, tiny_template)
    yield made
    made.connection.close()


@pytest.fixture(scope="module")
def agent(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> LocalAgent:
    """As it is shipped, with libvirt's own directory of keys."""
    built = tmp_path_factory.mktemp("agent") / "agent.pyz"
    built.write_bytes(zipapp())
    root = lab.directory / "disk-agent"
    keys = root / "etc/libvirt/secrets"
    keys.parent.mkdir(parents=True)
    keys.symlink_to("/etc/libvirt/secrets")
    return LocalAgent(root, [lab.pool_path], zipapp=built)


@pytest.fixture(scope="module")
def guest(node: LibvirtNode) -> Iterator[Running]:
    with running_guest(node, 26, encrypted=True) as running:
        yield running


@pytest.fixture
def exports(node: LibvirtNode, guest: Running) -> Iterator[LibvirtExports]:
    made = LibvirtExports(node.connection, volumes=node.store(node.agent))
    yield made
    made.end(guest.definition.name, deadline=LONG)


@pytest.fixture
def repository(agent: LocalAgent, tmp_path: Path) -> dict[str, str]:
    made = {"location": str(tmp_path / "s26.1"), "password": "a key that nobody guesses"}
    plant(tmp_path / "s26.1", made["password"])
    return made


def backup(agent: LocalAgent, repository: dict[str, str], **source: Any) -> dict[str, Any]:
    asked = {"repository": repository, "seconds": 120, "host": "s26", "tags": ["service=s26"], **source}
    return agent.call("disk-backup", asked, deadline=150)


def of(export: Export) -> dict[str, str]:
    return {"socket": export.socket, "export": export.name, **({"bitmap": export.bitmap} if export.bitmap else {})}


def content(volume: VolumeFacts) -> str:
    """The SHA-256 of all that the volume shows to its guest."""
    key = Path(f"/etc/libvirt/secrets/{volume.secret_uuid}.base64")
    secret = f"secret,id=key,format=base64,file={key}"
    image = f"driver=qcow2,encrypt.key-secret=key,file.driver=file,file.filename={volume.path}"
    raw = Path(volume.path).with_suffix(".raw")
    convert = ["qemu-img", "convert", "-U", "--object", secret, "--image-opts", image, "-O", "raw", str(raw)]
    subprocess.run(convert, check=True, timeout=120)
    try:
        with raw.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    finally:
        raw.unlink()


def new_volume(node: LibvirtNode, name: str, size: int = SIZE) -> VolumeFacts:
    return node.volumes.create(VolumeSpec(name=name, capacity_bytes=size), deadline=LONG)


def test_the_second_backup_of_a_running_guest_reads_what_changed_and_either_can_be_restored(
    node: LibvirtNode, guest: Running, exports: LibvirtExports, agent: LocalAgent, repository: dict[str, str]
) -> None:
    name = guest.definition.name
    tiny.plant(guest.address, PLACE, b"before", copies=1000)
    first = backup(agent, repository, **of(exports.begin(name, checkpoint="orch.one", since="", deadline=LONG)))
    exports.end(name, deadline=LONG)
    assert (first["whole"], first["size"], first["segments"], first["dirty"]) == (True, SIZE, SEGMENTS, SEGMENTS)
    assert (first["compared"] > 0, first["differing"]) == (True, [])

    tiny.plant(guest.address, PLACE + 3 * SEGMENT_BYTES, b"later", copies=1000)
    export = exports.begin(name, checkpoint="orch.two", since="orch.one", deadline=LONG)
    second = backup(agent, repository, parent=first["snapshot"], **of(export))
    exports.end(name, deadline=LONG)
    assert (second["whole"], second["files"], second["dirty"], second["differing"]) == (True, SEGMENTS, 1, [])
    assert second["files_changed"] + second["files_new"] == 1
    assert second["bytes_read"] <= SEGMENT_BYTES

    guest.node.hypervisor.power(name, PowerAction.DESTROY, deadline=LONG)
    volume = node.volumes.volume(guest.definition.disks[0].path.rpartition("/")[2], deadline=LONG)
    assert volume is not None
    stopped = backup(agent, repository, path=volume.path, secret_uuid=volume.secret_uuid)
    assert (stopped["whole"], stopped["dirty"]) == (True, SEGMENTS)

    target = new_volume(node, "orch.s26.root.job-2.qcow2")
    try:
        asked = {"repository": repository, "seconds": 120, "path": target.path, "secret_uuid": target.secret_uuid}
        told = agent.call("disk-restore", {**asked, "snapshot": stopped["snapshot"]}, deadline=150)
        assert told["bytes"] == SIZE
        assert content(target) == content(volume)
        with pytest.raises(Refused, match="not empty"):
            agent.call("disk-restore", {**asked, "snapshot": second["snapshot"]}, deadline=150)
    finally:
        node.volumes.delete(target.name, deadline=LONG)


def test_a_volume_that_is_too_small_takes_nothing(
    node: LibvirtNode, guest: Running, agent: LocalAgent, repository: dict[str, str]
) -> None:
    large, small = new_volume(node, "orch.s26.root.job-3.qcow2"), new_volume(node, "orch.s26.root.job-4.qcow2", SIZE // 2)
    try:
        made = backup(agent, repository, path=large.path, secret_uuid=large.secret_uuid)
        assert made["bytes_read"] == 0  # it holds nothing: nothing of it is read
        asked = {"repository": repository, "seconds": 60, "path": small.path, "secret_uuid": small.secret_uuid}
        with pytest.raises(NoCapacity, match="the disk was of"):
            agent.call("disk-restore", {**asked, "snapshot": made["snapshot"]}, deadline=90)
    finally:
        for volume in (large, small):
            node.volumes.delete(volume.name, deadline=LONG)


def test_a_volume_that_a_guest_has_open_is_not_read_behind_its_back(
    node: LibvirtNode, guest: Running, agent: LocalAgent, repository: dict[str, str]
) -> None:
    disk = guest.definition.disks[0]
    node.hypervisor.power(guest.definition.name, PowerAction.START, deadline=LONG)
    with pytest.raises(TransientDriverError, match="lock"):
        backup(agent, repository, path=disk.path, secret_uuid=disk.secret_uuid)
    node.hypervisor.power(guest.definition.name, PowerAction.DESTROY, deadline=LONG)


def test_a_snapshot_that_is_of_no_disk_is_restored_onto_none(
    node: LibvirtNode, agent: LocalAgent, repository: dict[str, str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    (home / "000000").mkdir(parents=True)
    (home / "index.html").write_text("hello")
    asked = {"repository": repository, "seconds": 60, "host": "s26", "path": str(home)}
    made = agent.call("directory-backup", asked, deadline=90)
    target = new_volume(node, "orch.s26.root.job-5.qcow2")
    try:
        wanted = {"repository": repository, "seconds": 60, "path": target.path, "secret_uuid": target.secret_uuid}
        with pytest.raises(PermanentDriverError, match="is of no disk"):
            agent.call("disk-restore", {**wanted, "snapshot": made["snapshot"]}, deadline=90)
    finally:
        node.volumes.delete(target.name, deadline=LONG)


def test_what_is_not_a_guests_export_is_not_read(agent: LocalAgent, repository: dict[str, str]) -> None:
    with pytest.raises(Refused, match="not where a guest's disk is exported"):
        backup(agent, repository, socket="/run/docker.sock")
