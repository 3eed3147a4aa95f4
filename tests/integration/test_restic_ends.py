"""However a run of restic ends: nothing of it is left, nothing false is answered, and what was there can still be restored."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from agents.build import zipapp
from orchestrator.domain.errors import (
    NoCapacity,
    NotFound,
    OrchestratorError,
    PermanentDriverError,
    Refused,
    TransientDriverError,
)
from orchestrator.drivers.local.agent import LocalTransport
from orchestrator.drivers.restic import ResticRepositories
from orchestrator.ports.repositories import RepositoryAccess, VerifySpec
from tests.disk import Disk, disk
from tests.integration.restic_ground import LONG, Ground, ground, processes
from tests.lab.daemons import wait_until
from tests.lab.environment import Lab
from tests.local_agent import words
from tests.rest_server import SECRET, USER, free_port, serving
from tests.restic_runs import SLOW, flip, in_background, locks_in, running, slow_source

__all__ = ["ground"]  # a fixture


def request(ground: Ground, source: Path) -> bytes:
    repository = {"location": ground.access.location, "password": ground.access.password, "ssh_key": "THE KEY"}
    asked = {"repository": repository, "seconds": 120, "path": str(source), "host": "s1", "limits": {"upload_kib": 50}}
    return json.dumps(asked).encode()


@pytest.fixture
def slow(ground: Ground, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An agent in the middle of a backup that takes long, with its lock in the repository."""
    ground.make()
    process = subprocess.Popen(words(ground.agent.place, "directory-backup"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdin is not None
        process.stdin.write(request(ground, slow_source(tmp_path)))
        process.stdin.close()
        wait_until("a lock", lambda: bool(locks_in(ground.repository)))
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def secret_files(ground: Ground) -> list[Path]:
    return list((ground.agent.place.locks / "restic").rglob("key"))


def test_restic_dies_with_its_agent_and_what_that_left_goes_with_the_next_call(
    ground: Ground, slow: subprocess.Popen[bytes]
) -> None:
    (pid,) = running(ground.agent)
    assert ground.processes() == [pid]
    assert len(secret_files(ground)) == 1
    os.kill(pid, signal.SIGSTOP)  # it cannot notice by itself that nobody reads its output any more
    slow.kill()
    wait_until("the end of restic", lambda: not ground.processes(), seconds=10)
    assert ground.repositories.snapshots(ground.access, deadline=LONG) == ()
    assert secret_files(ground) == []
    assert list((ground.agent.place.state / "restic/scratch").iterdir()) == []
    (lock,) = ground.repositories.unlock(ground.access, deadline=LONG)
    assert (lock.pid, lock.ours, lock.removed) == (pid, True, True)
    assert locks_in(ground.repository) == set()
    assert running(ground.agent) == []


def test_where_nobody_listens_any_more_restic_ends_and_takes_its_lock_away(ground: Ground, slow: subprocess.Popen[bytes]) -> None:
    assert slow.stdout is not None
    slow.stdout.close()
    assert slow.wait(30) != 0
    assert ground.processes() == []
    assert locks_in(ground.repository) == set()
    assert secret_files(ground) == []


def test_no_secret_stands_in_the_words_of_any_process(ground: Ground, slow: subprocess.Popen[bytes]) -> None:
    secrets = (ground.access.password.encode(), b"THE KEY")
    assert processes(lambda found: any(secret in word for secret in secrets for word in found)) == []


def test_the_lock_of_a_run_that_goes_on_is_left_alone(ground: Ground, slow: subprocess.Popen[bytes]) -> None:
    with pytest.raises(TransientDriverError, match="another call still works"):
        ground.repositories.unlock(ground.access, deadline=LONG)
    assert len(ground.processes()) == len(locks_in(ground.repository)) == 1


def test_the_time_that_a_call_has_is_kept_and_nothing_is_left(ground: Ground, tmp_path: Path) -> None:
    ground.make()
    with pytest.raises(TransientDriverError, match="did not end in time"):
        ground.backup(slow_source(tmp_path), limits=SLOW, deadline=24)
    assert ground.processes() == []
    assert ground.repositories.unlock(ground.access, deadline=LONG) == ()


def test_a_full_disk_is_told_as_one_and_the_snapshot_before_stays(ground: Ground, small: Disk) -> None:
    cramped = replace(ground, access=replace(ground.access, location=f"{small.pool}/s1.1"), repository=small.pool / "s1.1")
    cramped.make()
    (ground.home / "letters").write_text("the first")
    first = cramped.backup()
    (ground.home / "much").write_bytes(os.urandom(60 << 20))
    with pytest.raises(NoCapacity):
        again(cramped)
    assert [each.id for each in cramped.repositories.snapshots(cramped.access, deadline=LONG)] == [first.snapshot]
    cramped.restore(first.snapshot)
    assert (cramped.aside / "letters").read_text() == "the first"
    assert cramped.repositories.unlock(cramped.access, deadline=LONG) == ()


def again(ground: Ground, *, times: int = 3) -> None:
    """As a job does: restic was seen to stand still on a disk that fills up, until its time was over."""
    for _ in range(times - 1):
        with suppress(TransientDriverError):
            ground.backup(deadline=60)
        ground.repositories.unlock(ground.access, deadline=LONG)
    ground.backup()


@pytest.fixture
def small(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    with disk(tmp_path_factory.mktemp("small"), megabytes=40) as made:
        yield made


def test_a_flipped_byte_and_a_lost_pack_are_found(ground: Ground) -> None:
    (ground.home / "file").write_bytes(os.urandom(200_000))
    ground.make()
    snapshot = ground.backup().snapshot
    packs = sorted(ground.repository.glob("data/*/*"), key=lambda path: path.stat().st_size)
    whole = {path: path.read_bytes() for path in packs}
    assert ground.verify(snapshot, part=0).sound, "what is new is read, whichever part is asked for"
    flip(packs[-1], 1000)
    assert ground.verify(snapshot, part=0).sound, "the structure does not tell, and what was read once is read in its turn"
    found = ground.verify(snapshot)
    assert (found.sound, found.errors > 0) == (False, True)
    for path, content in whole.items():
        path.write_bytes(content)
    assert ground.verify(snapshot).sound
    packs[-1].unlink()
    lost = ground.verify(snapshot, part=0)
    assert (lost.sound, lost.errors > 0) == (False, True)
    assert lost.messages


def test_each_pack_is_read_within_the_stated_number_of_runs(ground: Ground) -> None:
    (ground.home / "file").write_bytes(os.urandom(200_000))
    ground.make()
    snapshot = ground.backup().snapshot
    assert ground.verify(snapshot, part=0).sound
    for pack in ground.repository.glob("data/*/*"):
        if pack.stat().st_size > 100_000:
            flip(pack, 1000)
    assert [ground.verify(snapshot, part=part, of=3).sound for part in (1, 2, 3)].count(False) == 1


def test_what_nobody_has_read_yet_is_read_whichever_part_is_asked_for(ground: Ground) -> None:
    """Also what runs have left that were broken off, and all of it where the node does not know any more what it has read."""
    (ground.home / "file").write_bytes(os.urandom(200_000))
    ground.make()
    assert ground.verify(ground.backup().snapshot, part=0).sound
    old = set(ground.repository.glob("data/*/*"))
    (ground.home / "another").write_bytes(os.urandom(200_000))
    snapshot = ground.backup().snapshot
    new = max(set(ground.repository.glob("data/*/*")) - old, key=lambda path: path.stat().st_size)
    flip(new, 1000)
    found = ground.verify(snapshot, part=0)
    assert (found.sound, found.broken_packs) == (False, (new.name,))
    flip(new, 1000)
    assert ground.verify(snapshot, part=0).sound
    flip(max(old, key=lambda path: path.stat().st_size), 1000)  # not what tells of directories: each check reads that
    assert ground.verify(snapshot, part=0).sound
    shutil.rmtree(ground.agent.place.state / "restic/read")
    assert not ground.verify(snapshot, part=0).sound


def test_a_backup_on_a_damaged_parent_is_damage_and_no_partial_one(ground: Ground) -> None:
    """restic calls it a source that could not be read, and the next run would be told the same, for ever."""
    (ground.home / "file").write_bytes(os.urandom(200_000))
    ground.make()
    ground.backup()
    for pack in sorted(ground.repository.glob("data/*/*"), key=lambda path: path.stat().st_size)[:1]:
        flip(pack, 100)
    shutil.rmtree(ground.agent.place.state / "restic/cache")
    with pytest.raises(PermanentDriverError) as raised:
        ground.backup()
    assert raised.value.details["reason"] == "damaged"


@pytest.mark.parametrize("kind", ["index", "snapshots", "config"])
def test_a_repository_that_cannot_even_be_read_is_never_sound(ground: Ground, kind: str) -> None:
    (ground.home / "file").write_text("x")
    ground.make()
    snapshot = ground.backup().snapshot
    place = ground.repository / kind
    flip(place if place.is_file() else next(place.iterdir()))
    try:
        assert not ground.verify(snapshot).sound
    except OrchestratorError as exc:
        assert isinstance(exc, PermanentDriverError | NotFound)  # noqa: PT017 - both are right: an error, or not sound


def test_a_making_that_was_broken_off_is_begun_anew_and_a_damaged_repository_is_not(ground: Ground) -> None:
    ground.repositories.create(ground.access, deadline=LONG)
    (ground.repository / "config").unlink()
    ground.repositories.create(ground.access, deadline=LONG)
    (ground.home / "file").write_text("x")
    ground.backup()
    (ground.repository / "config").unlink()
    keys = list((ground.repository / "keys").iterdir())
    with pytest.raises(Refused, match="config is missing"):
        ground.repositories.create(ground.access, deadline=LONG)
    assert list((ground.repository / "keys").iterdir()) == keys


def test_a_directory_with_anything_that_is_not_restics_is_not_destroyed(ground: Ground) -> None:
    ground.make()
    (ground.repository / "notes.txt").write_text("the operator's")
    with pytest.raises(Refused, match=r"notes\.txt"):
        ground.repositories.destroy(ground.access, deadline=LONG)
    assert ground.repositories.snapshots(ground.access, deadline=LONG) == ()
    (ground.repository / "notes.txt").unlink()
    ground.repositories.destroy(ground.access, deadline=LONG)
    assert not ground.repository.exists()
    assert list((ground.agent.place.state / "restic/cache").iterdir()) == []


def test_a_disk_that_is_not_mounted_is_not_taken_for_a_destroyed_repository(ground: Ground) -> None:
    away = replace(ground.access, location=f"{ground.repository.parent}/disk/s1.1")
    with pytest.raises(OrchestratorError, match="mounted"):
        ground.repositories.destroy(away, deadline=LONG)


def test_a_backup_goes_on_when_the_server_comes_back(ground: Ground, tmp_path: Path) -> None:
    kept, users, port = tmp_path / "served", tmp_path / "users", free_port()
    kept.mkdir()
    users.write_text("")
    options = ("--no-auth",)
    access = RepositoryAccess(location=f"rest:http://127.0.0.1:{port}/s1.1/", password="key", user=USER, secret=SECRET)
    remote = replace(ground, access=access, repository=kept / "s1.1")
    (ground.home / "much").write_bytes(os.urandom(3 << 20))
    made: list[object] = []
    with serving(kept, users, tmp_path / "log", *options, port=port):
        remote.make()
        limits = replace(SLOW, upload_kib=800)
        thread = threading.Thread(target=lambda: made.append(remote.backup(limits=limits)))
        thread.start()
        wait_until("a lock", lambda: bool(locks_in(kept / "s1.1")))
    with serving(kept, users, tmp_path / "log", *options, port=port):
        thread.join(120)
        (facts,) = made
        assert getattr(facts, "whole", False)
        spec = VerifySpec(snapshot=remote.repositories.snapshots(access, deadline=LONG)[0].id, part=1)
        assert remote.repositories.verify(access, spec, deadline=LONG).sound


def test_the_controllers_own_agent_forgets_and_prunes_and_leaves_nothing(ground: Ground, tmp_path: Path) -> None:
    own = LocalTransport(zipapp=zipapp(), root=tmp_path / "controller")
    try:
        repositories = ResticRepositories(own)
        ground.make()
        (ground.home / "file").write_text("x")
        first, second = ground.backup().snapshot, ground.backup().snapshot
        assert repositories.forget(ground.access, (first,), prune=True, deadline=LONG) == (second,)
        heard: list[str] = []
        asked = json.loads(request(ground, slow_source(tmp_path)))
        with pytest.raises(TransientDriverError, match="did not end in time"):
            own.call("directory-backup", asked, deadline=4, progress=lambda _fraction, said: heard.append(said))
        assert heard
        assert ground.processes() == []
        assert repositories.unlock(ground.access, deadline=LONG) == ()
        with pytest.raises(PermanentDriverError, match="unknown command"):
            own.call("no-such-command", {}, deadline=LONG)
    finally:
        own.close()


@pytest.mark.rare
def test_two_calls_on_one_repository_come_one_after_the_other(ground: Ground, tmp_path: Path) -> None:
    """The second is told so, and may be tried again."""
    ground.make()
    source = slow_source(tmp_path)
    first = in_background(lambda: ground.backup(source, limits=SLOW, deadline=40))
    wait_until("a lock", lambda: bool(locks_in(ground.repository)))
    with pytest.raises(TransientDriverError, match="another call still works"):
        ground.backup()
    for pid in running(ground.agent):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    first.join()
