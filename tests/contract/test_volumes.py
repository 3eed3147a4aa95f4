"""The contract of VolumeStore, on the simulated node and on libvirt."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.domain.errors import AlreadyExists, NoCapacity, NotFound, PermanentDriverError
from orchestrator.ports.volumes import VolumeFacts, VolumeSpec, VolumeStore
from tests.contract.nodes import LONG, MIB, NodeUnderTest

SIZE = 256 * MIB


def names(store: VolumeStore) -> set[str]:
    return {volume.name for volume in store.volumes(deadline=LONG)}


@pytest.fixture(scope="module")
def encrypted(node: NodeUnderTest) -> Iterator[VolumeFacts]:
    """One encrypted overlay for all tests: making one takes seconds."""
    spec = VolumeSpec(name="orch.v1.root.job-1.qcow2", capacity_bytes=SIZE, template=node.boot.volume)
    yield node.volumes.create(spec, deadline=LONG)
    node.volumes.delete(spec.name, deadline=LONG)


def plain(name: str, *, template: str = "", full_copy: bool = False, capacity_bytes: int = SIZE) -> VolumeSpec:
    return VolumeSpec(name=name, capacity_bytes=capacity_bytes, template=template, full_copy=full_copy, encrypted=False)


def test_an_overlay_lies_on_its_template_and_has_a_secret(node: NodeUnderTest, encrypted: VolumeFacts) -> None:
    assert encrypted.name == "orch.v1.root.job-1.qcow2"
    assert encrypted.path == node.boot.path.replace(node.boot.volume, encrypted.name)
    assert (encrypted.format, encrypted.capacity_bytes) == ("qcow2", SIZE)
    assert encrypted.backing_path == node.boot.path
    assert encrypted.secret_uuid
    assert encrypted.name in node.volumes.secrets(deadline=LONG)


def test_what_was_made_is_read_back_the_same(node: NodeUnderTest, encrypted: VolumeFacts) -> None:
    read = node.volumes.volume(encrypted.name, deadline=LONG)
    assert read == encrypted
    assert read in node.volumes.volumes(deadline=LONG)


def test_a_second_volume_of_a_name_is_refused_and_the_first_stays(node: NodeUnderTest, encrypted: VolumeFacts) -> None:
    spec = VolumeSpec(name=encrypted.name, capacity_bytes=SIZE, template=node.boot.volume)
    with pytest.raises(AlreadyExists):
        node.volumes.create(spec, deadline=LONG)
    assert node.volumes.volume(encrypted.name, deadline=LONG) == encrypted


def test_a_plain_overlay_has_no_secret(node: NodeUnderTest) -> None:
    made = node.volumes.create(plain("orch.v2.root.job-1.qcow2", template=node.boot.volume), deadline=LONG)
    assert (made.backing_path, made.secret_uuid) == (node.boot.path, "")
    assert made.name not in node.volumes.secrets(deadline=LONG)
    node.volumes.delete(made.name, deadline=LONG)


def test_a_full_copy_stands_alone_and_has_the_size_that_was_asked_for(node: NodeUnderTest) -> None:
    made = node.volumes.create(plain("orch.v3.root.job-1.qcow2", template=node.boot.volume, full_copy=True), deadline=LONG)
    assert (made.backing_path, made.format, made.capacity_bytes) == ("", "qcow2", SIZE)
    assert node.volumes.volume(made.name, deadline=LONG) == made
    node.volumes.delete(made.name, deadline=LONG)


def test_a_missing_template_is_told_apart_and_leaves_nothing(node: NodeUnderTest) -> None:
    spec = VolumeSpec(name="orch.v4.root.job-1.qcow2", capacity_bytes=SIZE, template="nowhere.qcow2")
    with pytest.raises(NotFound, match=r"nowhere\.qcow2"):
        node.volumes.create(spec, deadline=LONG)
    assert node.volumes.volume(spec.name, deadline=LONG) is None
    assert spec.name not in node.volumes.secrets(deadline=LONG)


@pytest.mark.parametrize("full_copy", [False, True])
def test_a_template_that_is_no_image_is_refused_and_leaves_nothing(node: NodeUnderTest, full_copy: bool) -> None:
    template = node.corrupt_template()
    spec = VolumeSpec(name="orch.v5.root.job-1.qcow2", capacity_bytes=SIZE, template=template, full_copy=full_copy)
    with pytest.raises(PermanentDriverError, match=template):
        node.volumes.create(spec, deadline=LONG)
    assert node.volumes.volume(spec.name, deadline=LONG) is None
    assert spec.name not in node.volumes.secrets(deadline=LONG)


def test_a_volume_smaller_than_its_template_is_refused(node: NodeUnderTest) -> None:
    spec = plain("orch.v6.root.job-1.qcow2", template=node.boot.volume, capacity_bytes=node.boot.size_bytes - MIB)
    with pytest.raises(PermanentDriverError, match="smaller"):
        node.volumes.create(spec, deadline=LONG)
    assert node.volumes.volume(spec.name, deadline=LONG) is None


@pytest.mark.parametrize("full_copy", [False, True])
def test_a_full_pool_takes_nothing_and_keeps_nothing(node: NodeUnderTest, full_copy: bool) -> None:
    before = names(node.full)
    spec = VolumeSpec(name="orch.v7.root.job-1.qcow2", capacity_bytes=SIZE, template=node.boot.volume, full_copy=full_copy)
    with pytest.raises(NoCapacity):
        node.full.create(spec, deadline=LONG)
    with pytest.raises(NoCapacity):
        node.full.put("orch.v7.seed.job-1.iso", bytes(2 * MIB), deadline=LONG)
    assert names(node.full) == before
    assert node.full.secrets(deadline=LONG) == ()


def test_deleting_removes_volume_and_secret_and_may_be_repeated(node: NodeUnderTest) -> None:
    spec = VolumeSpec(name="orch.v8.root.job-1.qcow2", capacity_bytes=SIZE, template=node.boot.volume)
    node.volumes.create(spec, deadline=LONG)
    for _ in range(2):
        node.volumes.delete(spec.name, deadline=LONG)
        assert node.volumes.volume(spec.name, deadline=LONG) is None
        assert spec.name not in node.volumes.secrets(deadline=LONG)


def test_a_secret_that_a_broken_creation_left_is_seen_and_does_not_stand_in_the_way(node: NodeUnderTest) -> None:
    spec = VolumeSpec(name="orch.v9.root.job-1.qcow2", capacity_bytes=SIZE, template=node.boot.volume)
    node.leave_secret(spec.name)
    assert spec.name in node.volumes.secrets(deadline=LONG)
    made = node.volumes.create(spec, deadline=LONG)
    assert made.secret_uuid
    assert node.volumes.secrets(deadline=LONG).count(spec.name) == 1
    node.volumes.delete(spec.name, deadline=LONG)


def test_deleting_takes_the_secret_also_where_the_volume_is_gone_already(node: NodeUnderTest) -> None:
    node.leave_secret("orch.v10.root.job-1.qcow2")
    node.volumes.delete("orch.v10.root.job-1.qcow2", deadline=LONG)
    assert "orch.v10.root.job-1.qcow2" not in node.volumes.secrets(deadline=LONG)


def test_a_file_deleted_behind_our_back_is_positively_absent(node: NodeUnderTest) -> None:
    made = node.volumes.create(plain("orch.v11.root.job-1.qcow2"), deadline=LONG)
    node.delete_behind_our_back(made)
    assert node.volumes.volume(made.name, deadline=LONG) is None
    assert made.name not in names(node.volumes)
    node.volumes.delete(made.name, deadline=LONG)


def test_content_is_written_whole_and_replaced_whole(node: NodeUnderTest) -> None:
    for content in (b"first " * 200_000, b"second"):
        facts = node.volumes.put("orch.v12.seed.job-1.iso", content, deadline=LONG)
        assert (facts.format, facts.capacity_bytes) == ("raw", len(content))
        assert node.content(facts) == content
    node.volumes.delete("orch.v12.seed.job-1.iso", deadline=LONG)


@pytest.mark.parametrize("name", ["../escape.qcow2", "a/b.qcow2"])
def test_a_name_that_leaves_the_pool_is_refused(node: NodeUnderTest, name: str) -> None:
    with pytest.raises(PermanentDriverError):
        node.volumes.create(plain(name), deadline=LONG)
    with pytest.raises(PermanentDriverError):
        node.volumes.put(name, b"content", deadline=LONG)
