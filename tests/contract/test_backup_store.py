"""The contract of BackupStore, on the simulated store; and what the store says of a node that has none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.domain.errors import NotFound, OrchestratorError, PermanentDriverError, Refused, TransientDriverError
from orchestrator.drivers.fake import FakeBackupStore, FakeClock, FakeVolumes, FakeWorld
from orchestrator.drivers.fake.backup_store import digest
from orchestrator.drivers.local.no_backups import NoBackups
from orchestrator.ports.backup_store import ArchiveSpec, BackupStore
from orchestrator.ports.volumes import VolumeSpec

LONG = 60.0
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DISK = "orch.s1.disk.j1.qcow2"
NEW = "orch.s1.disk.j3.qcow2"
SPEC = ArchiveSpec(id="orch.s1.archive.j2", service_id="s1", job_id="j2", volumes=(DISK,), until=NOW + timedelta(days=5))
OTHER = ArchiveSpec(id="orch.s10.archive.j2", service_id="s10", job_id="j2", volumes=(DISK,))


@dataclass(frozen=True)
class Site:
    """Two nodes that reach one store, and what only a test may do to them behind the port's back."""

    store: BackupStore
    elsewhere: BackupStore
    make: Callable[[str, str, int], None]  # a volume on a node
    write: Callable[[str, str, str], None]  # into a volume, as its guest would
    content: Callable[[str, str], str]  # the digest of what a volume holds
    use: Callable[[str, str], None]  # a guest runs on it
    spoil: Callable[[str, OrchestratorError, str], None]  # the next call of a method is broken off


@pytest.fixture(params=["fake"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    world = FakeWorld(tmp_path / "world.json")
    for node in ("n1", "n2"):
        world.add_node(node)

    def make(node: str, name: str, capacity: int) -> None:
        FakeVolumes(world, node).create(VolumeSpec(name=name, capacity_bytes=capacity, encrypted=False), deadline=LONG)

    def use(node: str, name: str) -> None:
        with world.change() as state:
            there = state["nodes"][node]
            disks = [{"path": f"{there['pool_path']}/{name}"}]
            there["guests"]["orch.s1"] = {"power": "running", "definition": {"disks": disks}}

    def spoil(method: str, error: OrchestratorError, where: str) -> None:
        world.fault(f"backups.{method}", error=error, where=where)  # type: ignore[arg-type]  # one of three words

    made = Site(
        store=FakeBackupStore(world, "n1", clock=FakeClock(NOW)),
        elsewhere=FakeBackupStore(world, "n2", clock=FakeClock(NOW)),
        make=make,
        write=world.plant,
        content=lambda node, name: digest(world.node(node)["volumes"][name]),
        use=use,
        spoil=spoil,
    )
    make("n1", DISK, 10 << 20)
    made.write("n1", DISK, "the customer's letters")
    return made


def test_an_archive_holds_what_the_volume_held_and_says_whose_it_is(site: Site) -> None:
    kept = site.store.keep(SPEC, deadline=LONG)
    assert (kept.id, kept.service_id, kept.job_id, kept.whole) == (SPEC.id, "s1", "j2", True)
    assert (kept.kept_at, kept.until) == (NOW, SPEC.until)
    (volume,) = kept.volumes
    assert (volume.name, volume.capacity_bytes, volume.sha256) == (DISK, 10 << 20, site.content("n1", DISK))
    assert kept.bytes > 0
    assert site.store.archives("s1", deadline=LONG) == (kept,)


def test_it_is_reached_from_every_node_and_belongs_to_its_service_alone(site: Site) -> None:
    kept = site.store.keep(SPEC, deadline=LONG)
    site.store.keep(OTHER, deadline=LONG)
    assert site.elsewhere.archives("s1", deadline=LONG) == (kept,)
    assert [archive.id for archive in site.store.archives("s10", deadline=LONG)] == [OTHER.id]
    assert site.store.archives("s2", deadline=LONG) == ()


def test_keeping_it_again_keeps_the_first_which_later_writing_does_not_change(site: Site) -> None:
    kept = site.store.keep(SPEC, deadline=LONG)
    site.write("n1", DISK, "later")
    assert site.store.keep(SPEC, deadline=LONG) == kept


def test_of_a_missing_volume_nothing_is_kept(site: Site) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        site.store.keep(replace(SPEC, volumes=(DISK, "nowhere")), deadline=LONG)
    assert site.store.archives("s1", deadline=LONG) == ()


def test_a_volume_that_is_in_use_is_not_copied(site: Site) -> None:
    site.use("n1", DISK)
    with pytest.raises(TransientDriverError):
        site.store.keep(SPEC, deadline=LONG)
    assert site.store.archives("s1", deadline=LONG) == ()


def test_a_keeping_that_is_broken_off_leaves_what_is_not_whole_and_is_made_good(site: Site) -> None:
    site.spoil("keep", TransientDriverError("gone"), "during")
    with pytest.raises(TransientDriverError):
        site.store.keep(SPEC, deadline=LONG)
    assert [archive.whole for archive in site.store.archives("s1", deadline=LONG)] == [False]
    site.write("n1", DISK, "more")
    kept = site.store.keep(SPEC, deadline=LONG)
    assert kept.volumes[0].sha256 == site.content("n1", DISK)
    assert [archive.whole for archive in site.store.archives("s1", deadline=LONG)] == [True]


def test_what_is_restored_is_what_was_kept_on_another_node_too(site: Site) -> None:
    kept = site.store.keep(SPEC, deadline=LONG)
    site.make("n2", NEW, 20 << 20)
    assert site.content("n2", NEW) != kept.volumes[0].sha256
    assert site.elsewhere.restored(NEW, deadline=LONG) == ""
    site.elsewhere.restore(SPEC.id, source=DISK, volume=NEW, deadline=LONG)
    assert site.content("n2", NEW) == kept.volumes[0].sha256
    assert site.elsewhere.restored(NEW, deadline=LONG) == SPEC.id
    assert site.store.archives("s1", deadline=LONG) == (kept,), "it stays"


def test_that_it_was_restored_is_known_whatever_is_written_later_and_restoring_again_is_the_same(site: Site) -> None:
    kept = site.store.keep(SPEC, deadline=LONG)
    site.make("n1", NEW, 10 << 20)
    site.store.restore(SPEC.id, source=DISK, volume=NEW, deadline=LONG)
    site.write("n1", NEW, "a new letter")
    assert site.store.restored(NEW, deadline=LONG) == SPEC.id
    site.store.restore(SPEC.id, source=DISK, volume=NEW, deadline=LONG)
    assert site.content("n1", NEW) == kept.volumes[0].sha256


def test_a_restoring_that_is_broken_off_is_not_taken_for_one(site: Site) -> None:
    site.store.keep(SPEC, deadline=LONG)
    site.make("n1", NEW, 10 << 20)
    site.spoil("restore", TransientDriverError("gone"), "during")
    with pytest.raises(TransientDriverError):
        site.store.restore(SPEC.id, source=DISK, volume=NEW, deadline=LONG)
    assert site.store.restored(NEW, deadline=LONG) == ""
    site.store.restore(SPEC.id, source=DISK, volume=NEW, deadline=LONG)
    assert site.content("n1", NEW) == site.content("n1", DISK)


def test_a_restoring_that_cannot_be_is_refused_before_the_volume_is_touched(site: Site) -> None:
    site.store.keep(SPEC, deadline=LONG)
    site.make("n1", NEW, 1 << 20)
    site.write("n1", NEW, "mine")
    before = site.content("n1", NEW)
    with pytest.raises(PermanentDriverError, match="smaller"):
        site.store.restore(SPEC.id, source=DISK, volume=NEW, deadline=LONG)
    for archive, source in (("orch.s1.archive.j9", DISK), (SPEC.id, "orch.s1.disk.j9.qcow2")):
        with pytest.raises(NotFound):
            site.store.restore(archive, source=source, volume=NEW, deadline=LONG)
    assert site.content("n1", NEW) == before
    with pytest.raises(NotFound):
        site.store.restore(SPEC.id, source=DISK, volume="orch.s1.disk.j9.qcow2", deadline=LONG)


def test_a_guest_that_runs_does_not_have_its_disk_written_over(site: Site) -> None:
    site.store.keep(SPEC, deadline=LONG)
    site.make("n1", NEW, 10 << 20)
    site.use("n1", NEW)
    with pytest.raises(TransientDriverError):
        site.store.restore(SPEC.id, source=DISK, volume=NEW, deadline=LONG)


def test_a_destroyed_archive_is_gone_for_every_node_and_absent_is_success(site: Site) -> None:
    site.store.keep(SPEC, deadline=LONG)
    site.store.keep(OTHER, deadline=LONG)
    for _ in range(2):
        site.elsewhere.destroy(SPEC.id, deadline=LONG)
    assert site.store.archives("s1", deadline=LONG) == ()
    assert len(site.store.archives("s10", deadline=LONG)) == 1
    site.make("n1", NEW, 10 << 20)
    with pytest.raises(NotFound):
        site.store.restore(SPEC.id, source=DISK, volume=NEW, deadline=LONG)


def test_a_destruction_that_is_broken_off_leaves_nothing_that_could_be_restored(site: Site) -> None:
    site.store.keep(SPEC, deadline=LONG)
    site.spoil("destroy", TransientDriverError("gone"), "during")
    with pytest.raises(TransientDriverError):
        site.store.destroy(SPEC.id, deadline=LONG)
    assert [archive.whole for archive in site.store.archives("s1", deadline=LONG)] == [False]
    site.make("n1", NEW, 10 << 20)
    with pytest.raises(NotFound):
        site.store.restore(SPEC.id, source=DISK, volume=NEW, deadline=LONG)
    site.store.destroy(SPEC.id, deadline=LONG)
    assert site.store.archives("s1", deadline=LONG) == ()


def test_a_node_without_a_store_says_so_before_anything_is_destroyed() -> None:
    store: BackupStore = NoBackups("hv1")
    with pytest.raises(Refused, match="the policy promises an archive of s1, and no backup store is configured for node hv1"):
        store.keep(SPEC, deadline=LONG)
    with pytest.raises(NotFound, match="hv1"):
        store.restore(SPEC.id, source=DISK, volume=NEW, deadline=LONG)
    assert (store.archives("s1", deadline=LONG), store.restored(NEW, deadline=LONG)) == ((), "")
    store.destroy(SPEC.id, deadline=LONG)
    store.close()
