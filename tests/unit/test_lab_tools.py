"""The lab's own arithmetic: what it reads from the kernel, the order of modules, the search in a medium."""

from pathlib import Path

import pytest

from tests.lab import cgroups, guests, initramfs
from tests.lab.report import LabError

SPLIT = """\
proc /proc proc rw 0 0
tmpfs /sys/fs/cgroup tmpfs rw,mode=755 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,nodev,noexec,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,xattr,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime,nsdelegate 0 0
cgroup /elsewhere cgroup rw,relatime,memory 0 0
"""
UNIFIED = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate,memory_recursiveprot 0 0\n"


def test_split_hierarchies_are_found_with_their_controllers() -> None:
    found = cgroups.hierarchies(SPLIT)
    assert [(str(h.mountpoint), h.options, h.unified) for h in found] == [
        ("/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct", False),
        ("/sys/fs/cgroup/systemd", "xattr,name=systemd", False),
        ("/sys/fs/cgroup/unified", "", True),
    ]


def test_a_unified_hierarchy_is_found() -> None:
    (found,) = cgroups.hierarchies(UNIFIED)
    assert (str(found.mountpoint), found.unified) == ("/sys/fs/cgroup", True)


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    (tmp_path / "modules.dep").write_text(
        "kernel/net/virtio_net.ko.xz: kernel/core/net-failover.ko kernel/core/failover.ko\n"
        "kernel/core/net-failover.ko: kernel/core/failover.ko\n"
        "kernel/core/failover.ko:\n"
    )
    (tmp_path / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    return tmp_path


def test_a_module_is_loaded_after_what_it_needs_and_only_once(modules: Path) -> None:
    order = initramfs.loading_order(modules, ["net_failover", "virtio_net", "ext4"])
    assert [path.name for path in order] == ["failover.ko", "net-failover.ko", "virtio_net.ko.xz"]


def test_a_module_that_the_kernel_lacks_is_named(modules: Path) -> None:
    with pytest.raises(LabError, match="no module floppy"):
        initramfs.loading_order(modules, ["floppy"])


@pytest.mark.parametrize("at", [0, 5, 999_990, guests.CHUNK - 7, guests.CHUNK - 1, guests.CHUNK, 2 * guests.CHUNK - 3])
def test_a_marker_is_found_once_wherever_it_lies_also_across_two_chunks(tmp_path: Path, at: int) -> None:
    medium = tmp_path / "medium"
    with medium.open("wb") as file:
        file.truncate(2 * guests.CHUNK + 100)
        file.seek(at)
        file.write(b"MARKER-1")
    assert guests.occurrences(medium, b"MARKER-1", b"MARKER-NUMBER-TWO") == {b"MARKER-1": 1, b"MARKER-NUMBER-TWO": 0}
