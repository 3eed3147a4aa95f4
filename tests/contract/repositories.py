"""What every driver of Repositories must do; a suite for one kind of place inherits this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import pytest

from orchestrator.domain.errors import AlreadyExists, NotFound, PermanentDriverError, TransientDriverError
from orchestrator.ports.repositories import (
    BackupFacts,
    BackupSpec,
    DirectorySource,
    Repositories,
    RepositoryAccess,
    RestoreSpec,
    VerifySpec,
)

LONG = 180.0
NOBODYS = "0" * 64
FILES = {"letters/one.txt": "the first letter", "letters/two.txt": "the second letter", "index.html": "<p>welcome</p>"}


class Node(Protocol):
    """The node whose directories are backed up, and what only a test does behind the port's back."""

    def put(self, directory: str, path: str, text: str) -> None: ...

    def drop(self, directory: str, path: str) -> None: ...

    def texts(self, directory: str) -> dict[str, str]: ...

    def damage(self, access: RepositoryAccess, snapshot: str) -> None:
        """Falsify a byte of what the snapshot needs, where the repository lies."""

    def leave_lock(self, access: RepositoryAccess, *, ours: bool) -> None:
        """The lock of a process that is dead: one that this node's agent started, or somebody else's."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """``access`` leads to where no repository is yet; ``keeper`` to the same place where deleting is allowed.

    ``home`` is a directory of the node with FILES in it, ``aside`` one beside it that is not there.
    """

    repositories: Repositories
    node: Node
    access: RepositoryAccess
    keeper: RepositoryAccess
    home: str
    aside: str
    plant: Callable[[], None] | None = None
    """Puts an empty repository there that is as one that was made, and opens more quickly."""

    def make(self) -> None:
        if self.plant is None:
            self.repositories.create(self.access, deadline=LONG)
        else:
            self.plant()

    def backup(self, job: str, *, directory: str = "", full: bool = False) -> BackupFacts:
        spec = BackupSpec(service_id="s1", job_id=job, source=DirectorySource(directory or self.home), full=full)
        return self.repositories.backup(self.access, spec, deadline=LONG)

    def ids(self) -> list[str]:
        return [each.id for each in self.repositories.snapshots(self.access, deadline=LONG)]


class RepositoriesContract:
    """A repository's life, wherever it lies. The fixture ``site`` is a node and a place for repositories."""

    def test_a_repository_is_made_once_and_opens_with_its_own_key_only(self, site: Site) -> None:
        made = site.repositories.create(site.access, deadline=LONG)
        assert made
        assert site.repositories.create(site.access, deadline=LONG) == made
        assert site.ids() == []
        stranger = replace(site.access, password="another key")
        with pytest.raises(AlreadyExists):
            site.repositories.create(stranger, deadline=LONG)
        with pytest.raises(PermanentDriverError, match="key"):
            site.repositories.snapshots(stranger, deadline=LONG)

    def test_a_snapshot_says_whose_it_is_and_which_job_made_it(self, site: Site) -> None:
        site.make()
        first = site.backup("j1")
        assert (first.whole, first.files, first.failed_count) == (True, len(FILES), 0)
        assert first.bytes == sum(len(text) for text in FILES.values())
        assert first.started_at <= first.ended_at
        second = site.backup("j2")
        assert second.files_changed == 0
        found = site.repositories.snapshots(site.access, deadline=LONG)
        assert [(each.id, each.service_id, each.job_id) for each in found] == [
            (first.snapshot, "s1", "j1"),
            (second.snapshot, "s1", "j2"),
        ]
        mine = site.repositories.snapshots(site.access, service_id="s1", job_id="j2", deadline=LONG)
        assert [each.id for each in mine] == [second.snapshot]
        assert site.repositories.snapshots(site.access, service_id="s10", deadline=LONG) == ()

    def test_what_is_restored_aside_is_what_was_there(self, site: Site) -> None:
        site.make()
        snapshot = site.backup("j1").snapshot
        site.node.put(site.home, "index.html", "defaced")
        facts = site.repositories.restore(site.access, RestoreSpec(snapshot=snapshot, directory=site.aside), deadline=LONG)
        assert facts.whole
        assert site.node.texts(site.aside) == FILES
        assert site.node.texts(site.home)["index.html"] == "defaced"

    def test_exactly_the_named_snapshots_are_forgotten(self, site: Site) -> None:
        site.make()
        first, second = site.backup("j1").snapshot, site.backup("j2").snapshot
        assert site.repositories.forget(site.keeper, (), prune=False, deadline=LONG) == (first, second)
        assert site.repositories.forget(site.keeper, (first,), prune=True, deadline=LONG) == (second,)
        assert site.repositories.forget(site.keeper, (first, NOBODYS), prune=False, deadline=LONG) == (second,)
        assert site.ids() == [second]

    def test_a_destroyed_repository_is_gone_and_destroying_it_again_is_harmless(self, site: Site) -> None:
        site.make()
        site.backup("j1")
        site.repositories.destroy(site.access, only_cache=True, deadline=LONG)
        assert len(site.ids()) == 1
        for _ in range(2):
            site.repositories.destroy(site.keeper, deadline=LONG)
            with pytest.raises(NotFound):
                site.ids()
        site.make()
        assert site.ids() == []


class RepositoryTroubleContract:
    """What is asked otherwise, is missing, damaged or locked; of restic, whichever way it goes. ``site`` as above."""

    def test_where_no_repository_is_nothing_is_made_by_the_way(self, site: Site) -> None:
        for _ in range(2):
            with pytest.raises(NotFound):
                site.repositories.snapshots(site.access, deadline=LONG)
            with pytest.raises(NotFound):
                site.backup("j1")

    def test_a_source_that_is_not_there_makes_no_empty_backup(self, site: Site) -> None:
        site.make()
        with pytest.raises(NotFound, match="no directory"):
            site.backup("j1", directory=site.aside)
        assert site.ids() == []

    def test_only_what_changed_is_read_unless_all_is_asked_for(self, site: Site) -> None:
        site.make()
        site.backup("j1")
        site.node.put(site.home, "index.html", "<p>welcome back</p>")
        assert site.backup("j2").files_changed == 1
        assert site.backup("j3", full=True).files_changed == len(FILES)

    def test_in_place_what_is_newer_stays_or_goes_as_asked(self, site: Site) -> None:
        site.make()
        snapshot = site.backup("j1").snapshot
        site.node.put(site.home, "index.html", "defaced")
        site.node.drop(site.home, "letters/one.txt")
        site.node.put(site.home, "letters/new.txt", "later")
        keeping = RestoreSpec(snapshot=snapshot, directory=site.home)
        site.repositories.restore(site.access, keeping, deadline=LONG)
        assert site.node.texts(site.home) == {**FILES, "letters/new.txt": "later"}
        gone = site.repositories.restore(site.access, replace(keeping, delete=True), deadline=LONG)
        assert gone.files_deleted == 1
        assert site.node.texts(site.home) == FILES

    def test_single_paths_are_restored_alone(self, site: Site) -> None:
        site.make()
        snapshot = site.backup("j1").snapshot
        spec = RestoreSpec(snapshot=snapshot, directory=site.aside, only=("/letters/one.txt",))
        site.repositories.restore(site.access, spec, deadline=LONG)
        assert site.node.texts(site.aside) == {"letters/one.txt": FILES["letters/one.txt"]}

    def test_what_a_snapshot_does_not_hold_is_told_by_its_path(self, site: Site) -> None:
        site.make()
        snapshot = site.backup("j1").snapshot
        there = ("/letters", "/letters/one.txt", "/index.html")
        gone = ("/letters/three.txt", "/none/at/all", "/letter", "/letters/one", "/*")
        assert site.repositories.lacks(site.access, snapshot, (*there, *gone), deadline=LONG) == gone
        assert site.repositories.lacks(site.access, snapshot, there, deadline=LONG) == ()
        with pytest.raises(NotFound):
            site.repositories.lacks(site.access, NOBODYS, there, deadline=LONG)

    def test_of_a_snapshot_that_is_not_there_nothing_is_restored_or_verified(self, site: Site) -> None:
        site.make()
        site.backup("j1")
        with pytest.raises(NotFound, match="no snapshot"):
            site.repositories.restore(site.access, RestoreSpec(snapshot=NOBODYS, directory=site.aside), deadline=LONG)
        assert site.node.texts(site.aside) == {}
        with pytest.raises(NotFound, match="no snapshot"):
            site.repositories.verify(site.access, VerifySpec(snapshot=NOBODYS), deadline=LONG)

    def test_a_snapshot_is_compared_with_what_nobody_touched_since(self, site: Site) -> None:
        site.make()
        snapshot = site.backup("j1").snapshot
        spec = VerifySpec(snapshot=snapshot, source=DirectorySource(site.home), samples=10, part=1, of=1)
        facts = site.repositories.verify(site.access, spec, deadline=LONG)
        assert (facts.sound, facts.errors, facts.compared, facts.differing) == (True, 0, len(FILES), ())
        assert facts.stored_bytes > 0
        site.node.put(site.home, "index.html", "defaced")
        later = site.repositories.verify(site.access, spec, deadline=LONG)
        assert (later.sound, later.differing) == (True, ())
        assert later.compared < len(FILES)

    def test_a_snapshot_that_holds_something_else_than_its_source_is_not_sound(self, site: Site) -> None:
        site.make()
        site.node.put(site.aside, "index.html", "another page")
        snapshot = site.backup("j1", directory=site.aside).snapshot
        spec = VerifySpec(snapshot=snapshot, source=DirectorySource(site.home), samples=10)
        facts = site.repositories.verify(site.access, spec, deadline=LONG)
        assert not facts.sound
        assert "index.html" in facts.differing

    def test_a_falsified_byte_is_found_and_is_no_error_of_the_driver(self, site: Site) -> None:
        site.make()
        snapshot = site.backup("j1").snapshot
        site.node.damage(site.access, snapshot)
        facts = site.repositories.verify(site.access, VerifySpec(snapshot=snapshot, part=1, of=1), deadline=LONG)
        assert not facts.sound
        assert facts.errors > 0
        assert facts.messages

    def test_a_falsified_byte_in_what_is_new_is_found_whichever_part_is_read(self, site: Site) -> None:
        site.make()
        assert site.repositories.verify(site.access, VerifySpec(snapshot=site.backup("j1").snapshot), deadline=LONG).sound
        site.node.put(site.home, "index.html", "a page that nobody has read back")
        snapshot = site.backup("j2").snapshot
        site.node.damage(site.access, snapshot)
        facts = site.repositories.verify(site.access, VerifySpec(snapshot=snapshot, part=0), deadline=LONG)
        assert (facts.sound, facts.errors > 0) == (False, True)

    def test_a_lock_of_ours_whose_owner_is_dead_is_removed_and_only_that(self, site: Site) -> None:
        site.make()
        snapshot = site.backup("j1").snapshot
        site.node.leave_lock(site.access, ours=True)
        with pytest.raises(TransientDriverError, match="locked by"):
            site.repositories.verify(site.access, VerifySpec(snapshot=snapshot), deadline=LONG)
        assert site.ids() == [snapshot], "looking needs no lock"
        (lock,) = site.repositories.unlock(site.access, deadline=LONG)
        assert (lock.ours, lock.removed) == (True, True)
        assert site.repositories.unlock(site.access, deadline=LONG) == ()
        site.node.leave_lock(site.access, ours=False)
        (lock,) = site.repositories.unlock(site.access, deadline=LONG)
        assert (lock.ours, lock.removed) == (False, False)
        assert len(site.repositories.unlock(site.access, deadline=LONG)) == 1
