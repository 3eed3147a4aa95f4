"""Setting a password on file systems that this machine's kernel mounts: what the agent does, and what it leaves alone."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from agents.deploy import mounting, password
from agents.deploy.failure import Failed
from agents.deploy.place import Place
from tests.deploy_machine import machine_root
from tests.lab.environment import Lab
from tests.live import CRYPT

SHADOW = b"root:!:19000:0:99999:7:::\nanna:$6$old$hash:19000:0:99999:7:::\n"
SIZE = 16 << 20


def tree(directory: Path) -> Path:
    """The files of a Linux system."""
    (directory / "etc").mkdir(parents=True)
    (directory / "usr/lib").mkdir(parents=True)
    (directory / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (directory / "etc/shadow").write_bytes(SHADOW)
    (directory / "etc/shadow").chmod(0o640)
    (directory / "etc/os-release").symlink_to("../usr/lib/os-release")
    (directory / "usr/lib/os-release").write_text('NAME=x\nPRETTY_NAME="Test Linux 1"\n')
    return directory


class Disk:
    """The one disk of a machine (a directory that stands for one), with its partitions on loop devices."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self.place, self._stack, self._number = Place(machine_root(root)), stack, 0

    def add(self, image: Path) -> Path:
        self._number += 1
        name = f"sda{self._number}"
        loop = subprocess.run(["losetup", "-f", "--show", str(image)], check=True, capture_output=True, text=True, timeout=60)
        self._stack.callback(subprocess.run, ["losetup", "-d", loop.stdout.strip()], check=True, timeout=60)
        (self.place.path("dev") / name).symlink_to(loop.stdout.strip())
        part = self.place.path("sys/block/sda", name)
        part.mkdir()
        (part / "partition").write_text(f"{self._number}\n")
        return image

    def set(self, user: str = "root") -> dict[str, object]:
        arguments = {"serial": "SER0", "user": user, "hash": CRYPT}
        return password.set_password(self.place, arguments, lambda _fraction, _says: None)


def ext4(directory: Path, files: Path, name: str = "system") -> Path:
    image = directory / f"{name}.ext4"
    with image.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-d", str(files), str(image)], check=True, capture_output=True, timeout=60)
    return image


def plain(directory: Path, name: str, at: int, mark: bytes) -> Path:
    image = directory / name
    with image.open("wb") as file:
        file.truncate(SIZE)
        file.seek(at)
        file.write(mark)
    return image


@contextmanager
def seen(image: Path, directory: Path) -> Iterator[Path]:
    target = directory / "seen"
    target.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(target)], check=True, timeout=60)
    try:
        yield target
    finally:
        subprocess.run(["umount", str(target)], check=True, timeout=60)


@pytest.fixture
def disk(lab: Lab, tmp_path: Path) -> Iterator[Disk]:
    with ExitStack() as stack:
        yield Disk(tmp_path / "machine", stack)


def test_only_that_hash_changes_and_owner_mode_and_attributes_stay(disk: Disk, tmp_path: Path) -> None:
    image = ext4(tmp_path, tree(tmp_path / "tree"))
    with seen(image, tmp_path) as files:
        os.chown(files / "etc/shadow", 0, 42)
        os.setxattr(files / "etc/shadow", "security.selinux", b"system_u:object_r:shadow_t:s0\0")
        (files / "etc/shadow.orchestrator").write_text("left by one that was cut off\n")
    disk.add(plain(tmp_path, "swap", 4086, b"SWAPSPACE2"))
    disk.add(image)
    assert disk.set() == {"partition": "sda2", "filesystem": "ext4", "system": "Test Linux 1", "user": "root"}
    with seen(image, tmp_path) as files:
        found = files / "etc/shadow"
        assert found.read_bytes() == SHADOW.replace(b"root:!:", f"root:{CRYPT}:".encode())
        status = found.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, 42, 0o640)
        assert os.getxattr(found, "security.selinux") == b"system_u:object_r:shadow_t:s0\0"
        assert sorted(each.name for each in (files / "etc").iterdir()) == ["os-release", "passwd", "shadow"]
    assert not os.path.ismount(disk.place.path("run/mounted/sda2"))


@pytest.mark.parametrize(
    ("name", "at", "mark"),
    [
        ("luks", 0, b"LUKS\xba\xbe"),
        ("lvm", 512, b"LABELONE"),
        ("raid", 4096, b"\xfc\x4e\x2b\xa9"),
        ("btrfs", 0x10040, b"_BHRfS_M"),
    ],
)
def test_what_is_not_understood_is_named_and_left_alone(disk: Disk, tmp_path: Path, name: str, at: int, mark: bytes) -> None:
    image = disk.add(plain(tmp_path, name, at, mark))
    before = image.read_bytes()
    with pytest.raises(Failed, match=rf"no Linux system that is understood is on sda; left alone: sda1 \({name}\)"):
        disk.set()
    assert image.read_bytes() == before


def test_of_two_systems_neither_is_changed(disk: Disk, tmp_path: Path) -> None:
    images = [disk.add(ext4(tmp_path, tree(tmp_path / name), name)) for name in ("one", "two")]
    with pytest.raises(Failed, match="more than one Linux system is on sda: sda1, sda2"):
        disk.set()
    for image in images:
        with seen(image, tmp_path) as files:
            assert (files / "etc/shadow").read_bytes() == SHADOW


def test_no_link_of_the_customers_is_followed(disk: Disk, tmp_path: Path) -> None:
    """Or the image would read, or write, files of its own."""
    outside = tree(tmp_path / "outside")
    linked = tree(tmp_path / "linked")
    (linked / "etc/shadow").unlink()
    (linked / "etc/shadow").symlink_to(outside / "etc/shadow")
    disk.add(ext4(tmp_path, linked, "linked"))
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "etc").symlink_to(outside / "etc")
    disk.add(ext4(tmp_path, whole, "whole"))
    with pytest.raises(Failed, match="no Linux system that is understood is on sda"):
        disk.set()
    assert (outside / "etc/shadow").read_bytes() == SHADOW


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(disk: Disk, tmp_path: Path) -> None:
    files = tree(tmp_path / "tree")
    image = ext4(tmp_path, files)
    with seen(image, tmp_path) as there:
        (there / "usr/lib/os-release").unlink()
        os.mkfifo(there / "usr/lib/os-release")
    disk.add(image)
    assert disk.set()["system"] == "a system without a name"


@pytest.mark.parametrize("user", ["bert", "", "../x", "root:x"])
def test_a_user_who_is_not_there_changes_nothing(disk: Disk, tmp_path: Path, user: str) -> None:
    image = disk.add(ext4(tmp_path, tree(tmp_path / "tree")))
    with pytest.raises(Failed):
        disk.set(user)
    with seen(image, tmp_path) as files:
        assert (files / "etc/shadow").read_bytes() == SHADOW


def test_a_disk_without_partitions_may_have_the_system_itself(lab: Lab, tmp_path: Path) -> None:
    with ExitStack() as stack:
        made = Disk(tmp_path / "machine", stack)
        image = ext4(tmp_path, tree(tmp_path / "tree"))
        made.add(image)
        (made.place.path("dev/sda")).unlink()
        (made.place.path("dev/sda1")).rename(made.place.path("dev/sda"))
        (made.place.path("sys/block/sda/sda1/partition")).unlink()
        assert mounting.partitions(made.place, "sda") == ["sda"]
        assert made.set()["partition"] == "sda"
