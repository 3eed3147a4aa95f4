"""A raw disk image with a whole Debian, as a provider has it: GRUB in front of the partition, the kernel with the
drivers of servers, systemd, cloud-init.

Made of the lab's image `debian` and of Debian's packages, without a mount and a loop device: GRUB's first sector and its core lie
where grub-install would put them (GRUB manual, "BIOS installation"), and what is added to the file system is written by debugfs.
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from orchestrator.drivers.deployimage import packages
from tests.lab import images, initramfs, kept, metal
from tests.lab.environment import cache_directory
from tests.lab.metal import SECTOR, Metal

PACKAGES = ("grub-common", "grub-pc-bin", "linux-image-amd64")
MODULES = (*metal.MODULES, "crc32c_generic", "ext4")
SOURCES = (Path(__file__), *images.SOURCES, *metal.SOURCES)
FIRST = 1 << 20  # where the partition begins
ROOT_BYTES = 640 << 20
BOOTED = ("biosdisk", "part_msdos", "ext2", "normal", "linux", "echo")  # what is in GRUB's core
MENU = """set timeout=0
menuentry Debian {
    linux /boot/vmlinuz root=LABEL=root net.ifnames=0 console=ttyS0 quiet mitigations=off no_timer_check
    initrd /boot/initrd
}
"""


def load(lab_images: Path) -> Metal:
    """Raises `LabError` where it is not built."""
    return metal.described(kept.place(lab_images.parent, "debian_raw", SOURCES) / "debian.raw", made_by="make fault")


def prepare() -> Path:
    """Make it where it is missing. The lab's images are there."""
    volume = images.directory() / images.load("debian", images.directory()).volume
    return kept.made(kept.place(cache_directory(), "debian_raw", SOURCES), lambda out, scratch: _build(volume, out, scratch))


def _build(volume: Path, out: Path, scratch: Path) -> None:
    tree = packages.unpack(PACKAGES, scratch)
    root, raw = scratch / "root", out / "debian.raw"
    packages.run(["qemu-img", "convert", "-O", "raw", str(volume), str(root)])
    _add(root, tree, scratch)
    out.mkdir()
    raw.write_bytes(_before_the_partition(tree, scratch))
    with raw.open("ab") as file:
        subprocess.run(["cat", str(root)], stdout=file, check=True, timeout=300)
    metal.describe(raw)


def _add(root: Path, tree: Path, scratch: Path) -> None:
    """Kernel, initial file system and GRUB's menu, into the file system, which is then made as small as is good."""
    modules = next((tree / "lib" / "modules").iterdir())
    packages.run(["depmod", "-b", str(tree), modules.name])
    initramfs.pack(scratch / "initrd", modules, {"init": images.RECIPES / "debian.init"}, {"modules.now": MODULES})
    (scratch / "grub.cfg").write_text(MENU)
    kernel = next((tree / "boot").glob("vmlinuz-*"))
    files = {"/boot/vmlinuz": kernel, "/boot/initrd": scratch / "initrd", "/boot/grub/grub.cfg": scratch / "grub.cfg"}
    lines = ["mkdir /boot/grub", *(f"write {source} {target}" for target, source in files.items())]
    (scratch / "commands").write_text("".join(f"{line}\n" for line in lines))
    packages.run(["debugfs", "-w", "-f", str(scratch / "commands"), str(root)])
    subprocess.run(["e2fsck", "-fy", str(root)], check=False, capture_output=True, timeout=300)  # 1 = it mended something
    packages.run(["resize2fs", str(root), f"{ROOT_BYTES >> 10}K"])
    with root.open("r+b") as file:
        file.truncate(ROOT_BYTES)
    packages.run(["e2fsck", "-fn", str(root)])


def _before_the_partition(tree: Path, scratch: Path) -> bytes:
    """GRUB's first sector with a table of that partition, and its core in the gap behind: both know each other so by default."""
    core, parts = scratch / "core.img", tree / "usr/lib/grub/i386-pc"
    words = ["-O", "i386-pc", "-d", str(parts), "-p", "(hd0,msdos1)/boot/grub", "-o", str(core), *BOOTED]
    packages.run(
        [str(tree / "usr/bin/grub-mkimage"), *words],
        LD_LIBRARY_PATH=f"{tree}/lib/x86_64-linux-gnu:{tree}/usr/lib/x86_64-linux-gnu",
    )
    code = (parts / "boot.img").read_bytes()[:440]
    entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", FIRST // SECTOR, ROOT_BYTES // SECTOR)
    head = code.ljust(446, b"\0") + entry.ljust(64, b"\0") + b"\x55\xaa" + core.read_bytes()
    assert len(head) <= FIRST, "GRUB's core does not fit before the partition"
    return head.ljust(FIRST, b"\0")
