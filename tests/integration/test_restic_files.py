"""What a customer's directory may hold, measured, backed up and restored: all of it as it was, and nothing outside it."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agents.node.protocol import AgentError
from agents.node.restic.measure import Walk
from orchestrator.domain.errors import Refused
from orchestrator.ports.repositories import BackupFacts, DirectoryFacts, RunLimits
from tests.disk import Disk, disk, tool
from tests.integration.restic_ground import LONG, Ground, ground
from tests.lab.daemons import wait_until
from tests.lab.environment import Lab

__all__ = ["ground"]  # a fixture

ODD = b"caf\xe9 \xff\n*[a-z]?.txt"
MEGABYTE = 1 << 20
# An access control list as the kernel takes it (linux/posix_acl_xattr.h): version 2, then tag, permissions and id of each entry.
_UNDEFINED = 0xFFFFFFFF
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((1, 6, _UNDEFINED), (2, 4, 4711), (4, 4, _UNDEFINED), (16, 4, _UNDEFINED), (32, 0, _UNDEFINED))
)


def furnish(home: Path) -> None:
    """One of everything that a directory may hold."""
    (home / "site").mkdir(mode=0o750)
    (home / "site/index.html").write_text("<p>welcome</p>")
    os.link(home / "site/index.html", home / "site/copy.html")
    (home / "site/link").symlink_to("index.html")
    (home / "outside").symlink_to("/etc/passwd")
    (home / "dangling").symlink_to("nowhere")
    os.mkfifo(home / "pipe", 0o620)
    with (home / "sparse").open("wb") as file:
        file.seek(64 * MEGABYTE)
        file.write(b"end")
    (home / os.fsdecode(ODD)).write_bytes(os.urandom(5000))
    (home / os.fsdecode(b"dir\xfe")).mkdir(mode=0o700)
    (home / os.fsdecode(b"dir\xfe") / "inside").write_text("x")
    program = home / "program"
    program.write_text("#!/bin/sh\n")
    os.chown(program, 4711, 4712)
    program.chmod(0o4711)
    os.setxattr(program, "user.colour", b"\x00\xffblue")
    os.setxattr(home / "site/index.html", "system.posix_acl_access", ACL)
    os.utime(home / "site/index.html", ns=(1, 987654321_123456789))
    os.mknod(home / "socket", stat.S_IFSOCK | 0o600)  # not bound: the lab's directories are too deep for its path
    (home / "empty").mkdir()


def everything(top: Path) -> dict[bytes, tuple[Any, ...]]:
    """All that can be known of what is below, sockets left out, by name."""
    found: dict[bytes, tuple[Any, ...]] = {}
    links: dict[int, bytes] = {}
    for directory, names, files in os.walk(os.fsencode(top)):
        for name in sorted((*names, *files)):
            path = os.path.join(directory, name)  # noqa: PTH118 - names are bytes here
            status = os.lstat(path)
            if stat.S_ISSOCK(status.st_mode):
                continue
            content: object = b""
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:  # noqa: PTH123 - as above
                    content = file.read()
            elif stat.S_ISLNK(status.st_mode):
                content = Path(os.fsdecode(path)).readlink()
            attributes = {
                each: os.getxattr(path, each, follow_symlinks=False) for each in os.listxattr(path, follow_symlinks=False)
            }
            first = links.setdefault(status.st_ino, path) if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode) else path
            found[os.path.relpath(path, os.fsencode(top))] = (
                status.st_mode,
                (status.st_uid, status.st_gid),
                status.st_mtime_ns,
                content,
                attributes,
                os.path.relpath(first, os.fsencode(top)),
            )
    return found


def test_everything_comes_back_as_it_was(ground: Ground) -> None:
    furnish(ground.home)
    before = everything(ground.home)
    numbers = DirectoryFacts.from_report(ground.measure())
    ground.make()
    made = ground.backup()
    assert made.whole
    assert made.files == numbers.files
    assert made.bytes == numbers.file_bytes
    assert ground.restore(made.snapshot).whole
    assert everything(ground.aside) == before
    assert (ground.aside / "sparse").stat().st_blocks * 512 < MEGABYTE, "its holes are holes again"
    assert everything(ground.home) == before, "a backup changes nothing"
    facts = ground.verify(made.snapshot, samples=50)
    assert facts.sound
    assert facts.compared == numbers.files


def test_a_single_file_with_a_name_that_is_no_text_is_restored(ground: Ground) -> None:
    """In a request, too, it is written as it is: a path is any bytes but NUL."""
    (ground.home / "a*b [1]?.txt").write_text("this one")
    (ground.home / "axb 1x.txt").write_text("not this")
    ground.make()
    snapshot = ground.backup().snapshot
    ground.restore(snapshot, only=("/a*b [1]?.txt",))
    assert [path.name for path in ground.aside.iterdir()] == ["a*b [1]?.txt"]


def test_a_measure_counts_what_a_quota_counts(ground: Ground) -> None:
    furnish(ground.home)
    told = ground.measure()
    every = list(ground.home.rglob("*"))
    assert told["inodes"] == len({path.lstat().st_ino for path in every}) + 1
    regular = [path.lstat() for path in every if stat.S_ISREG(path.lstat().st_mode)]
    assert told["bytes"] == sum({status.st_ino: status.st_size for status in regular}.values())
    assert (told["files"], told["directories"], told["links"], told["sockets"], told["others"]) == (len(regular), 3, 3, 1, 1)
    assert told["file_bytes"] == sum(status.st_size for status in regular)
    assert told["unreadable"] == 0
    biggest = {row["path"]: (row["bytes"], row["inodes"]) for row in told["largest"]}
    assert biggest == {"site": (14, 2), "dir\\xfe": (1, 1), "empty": (0, 0)}


def test_directories_are_told_with_all_that_lies_below_them(ground: Ground) -> None:
    for number in range(12):
        (ground.home / f"d{number}/a/b").mkdir(parents=True)
        (ground.home / f"d{number}/a/b/file").write_bytes(b"x" * (number + 1))
    (ground.home / "d0/many").mkdir()
    for number in range(50):
        (ground.home / f"d0/many/{number}").touch()
    told = ground.measure()
    assert {row["path"] for row in told["largest"][:3]} == {"d11", "d11/a", "d11/a/b"}
    assert len(told["largest"]) == 10
    assert told["fullest"][0] == {"path": "d0", "bytes": 1, "inodes": 54}
    assert told["fullest"][1] == {"path": "d0/many", "bytes": 0, "inodes": 50}


def test_what_another_file_system_holds_is_neither_measured_nor_backed_up(ground: Ground, tmp_path: Path) -> None:
    (ground.home / "mine").write_text("mine")
    (ground.home / "mounted").mkdir()
    tool("mount", "-t", "tmpfs", "none", ground.home / "mounted")
    try:
        (ground.home / "mounted/theirs").write_text("theirs")
        told = ground.measure()
        assert (told["files"], told["elsewhere"], told["inodes"]) == (1, 1, 3)
        ground.make()
        ground.restore(ground.backup().snapshot)
    finally:
        tool("umount", ground.home / "mounted")
    assert sorted(path.name for path in ground.aside.rglob("*")) == ["mine", "mounted"]


def test_a_measure_that_takes_too_long_is_broken_off(ground: Ground) -> None:
    """The time is looked at between directories: so many that it is looked at after a second."""
    for number in range(3):
        (ground.home / f"{number}").mkdir()
    fd = os.open(ground.home, os.O_RDONLY)
    try:
        with pytest.raises(AgentError, match="did not end in time"):
            Walk(fd, "/home/s1", say=lambda _fraction, _said: None, end=time.monotonic() - 1).run()
    finally:
        os.close(fd)


def test_a_home_that_was_moved_is_not_read_anew(ground: Ground) -> None:
    (ground.home / "file").write_bytes(os.urandom(100_000))
    ground.make()
    ground.backup()
    moved = ground.home.with_name("moved")
    ground.home.rename(moved)
    assert ground.backup(moved).files_changed == 0


@pytest.mark.parametrize("command", ["directory-measure", "directory-backup", "directory-restore"])
def test_a_directory_that_leads_through_a_link_is_refused(ground: Ground, command: str) -> None:
    link = ground.home.with_name("link")
    link.symlink_to(ground.home)
    (ground.home / "sub").mkdir()
    request: dict[str, Any] = {"path": f"{link}/sub", "seconds": 60}
    repository = {"location": ground.access.location, "password": ground.access.password}
    if command == "directory-backup":
        request |= {"repository": repository, "host": "s1"}
    if command == "directory-restore":
        request |= {"repository": repository, "snapshot": "0" * 64}
    with pytest.raises(Refused, match="leads through a link"):
        ground.agent.call(command, request, deadline=LONG)


INSIDE = """
import os, sys
from pathlib import Path
from agents.node.restic.view import View, identity, open_directory
fd = open_directory(sys.argv[1])
View(directory=sys.argv[1], place=sys.argv[2], identity=identity(fd), write=sys.argv[3] == "write").enter()
assert os.getcwd() == sys.argv[2]
for attempt in ("swapped/secret", "swapped/new"):
    try:
        print(attempt, open(attempt, "a" if attempt.endswith("new") else "r").read())
    except OSError as exc:
        print(attempt, exc.strerror)
try:
    Path("written").write_text("x")
    print("written")
except OSError as exc:
    print(exc.strerror)
"""


@pytest.mark.parametrize(("mode", "writing"), [("read", "Read-only file system"), ("write", "written")])
def test_a_link_in_the_place_of_a_directory_leads_nowhere(ground: Ground, tmp_path: Path, mode: str, writing: str) -> None:
    """What a customer does who waits for the moment between restic's looking and its opening."""
    outside, place = tmp_path / "outside", tmp_path / "view"
    outside.mkdir()
    place.mkdir()
    (outside / "secret").write_text("the node's own")
    (ground.home / "swapped").symlink_to(outside)
    done = subprocess.run(
        [sys.executable, "-c", INSIDE, str(ground.home), str(place), mode],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    loop = "Too many levels of symbolic links"
    assert done.stdout.splitlines() == [f"swapped/secret {loop}", f"swapped/new {loop}", writing], done.stderr
    assert not (outside / "new").exists()
    assert list(place.iterdir()) == [], "nobody else sees the mount"
    assert (ground.home / "written").exists() == (mode == "write")


def test_a_restore_does_not_write_through_a_link_that_took_a_directorys_place(ground: Ground, tmp_path: Path) -> None:
    (ground.home / "letters").mkdir()
    (ground.home / "letters/one").write_text("mine")
    ground.make()
    snapshot = ground.backup().snapshot
    outside = tmp_path / "outside"
    outside.mkdir()
    ground.aside.mkdir()
    (ground.aside / "letters").symlink_to(outside)
    ground.restore(snapshot)
    assert list(outside.iterdir()) == []


@pytest.fixture
def ill(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with disk(tmp_path_factory.mktemp("ill")) as made:
        yield made


def test_what_cannot_be_read_is_named_and_the_backup_is_partial(ground: Ground, ill: Disk) -> None:
    """A file whose inode the file system has lost, as after a failing disk."""
    home = ill.pool / "home"
    home.mkdir()
    (home / "well").write_text("well")
    (home / "ill").write_text("ill")
    tool("umount", ill.pool)
    tool("debugfs", "-w", "-R", "set_inode_field /home/ill mode 0", ill.device)
    tool("mount", "-t", "ext4", ill.device, ill.pool)
    ground.make()
    made = ground.backup(home)
    assert not made.whole
    assert made.failed_count >= 1
    assert any("ill" in each.item for each in made.failed)
    ground.restore(made.snapshot)
    assert (ground.aside / "well").read_text() == "well"
    shutil.rmtree(ground.aside)


def test_what_changes_and_what_goes_while_it_is_read_is_neither_damage_nor_a_difference(ground: Ground) -> None:
    """restic passes over a file that is gone when its turn comes: it belongs to the snapshot no more than one that came later."""
    for name in ("a", "b"):
        (ground.home / name).mkdir()
    for number in range(8):
        (ground.home / f"a/{number}").write_bytes(os.urandom(4 << 20))
        (ground.home / f"b/{number}").write_bytes(os.urandom(4 << 20))
    (ground.home / "b/z-gone").write_text("not for long")
    quiet = {path: path.read_bytes() for path in (ground.home / "a").iterdir()}
    ground.make()
    found: list[BackupFacts] = []
    thread = threading.Thread(target=lambda: found.append(ground.backup(limits=RunLimits(upload_kib=8000, pack_size_mib=4))))
    thread.start()
    wait_until("a pack", lambda: any(ground.repository.glob("data/*/*")))
    (ground.home / "b/z-gone").unlink()
    (ground.home / "b/7").write_bytes(b"another, and shorter")
    thread.join()
    (made,) = found
    assert (made.whole, made.failed) == (True, ())
    checked = ground.verify(made.snapshot, samples=50)
    assert (checked.sound, checked.compared) == (True, len(quiet)), "a directory that changed says nothing"
    ground.restore(made.snapshot)
    assert not (ground.aside / "b/z-gone").exists()
    assert [path.name for path in quiet if (ground.aside / "a" / path.name).read_bytes() != quiet[path]] == []
