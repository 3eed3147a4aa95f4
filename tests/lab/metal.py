"""What dedicated machines of the lab are installed with: a raw disk image with a boot loader of its own, as a provider has one.

An MBR, one FAT partition with syslinux for BIOS and Debian's signed shim and GRUB for UEFI, Debian's kernel, and an initial file
system with busybox and dropbear (recipes/metal/init). Made of Debian's packages, without a mount and with nothing that this
machine would have to have. It needs not 40 MB, so that writing, reading back and erasing do not take long under emulation.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import os
import shutil
import struct
from pathlib import Path

from agents.deploy import fat
from orchestrator.drivers.deployimage import archive, base, elf, packages
from orchestrator.drivers.deployimage.archive import Archive
from tests.lab import initramfs, kept
from tests.lab.environment import cache_directory
from tests.lab.report import LabError

INIT = Path(__file__).with_name("recipes") / "metal" / "init"
SOURCES = (Path(__file__), INIT, *(Path(str(each.__file__)) for each in (archive, base, elf, fat, initramfs, packages)))
PACKAGES = (
    *("busybox-static", "dropbear-bin", "linux-image-amd64", "mtools", "syslinux", "syslinux-common"),
    *("grub-efi-amd64-signed", "shim-signed"),
)
MODULES = (
    *("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "ahci", "sd_mod", "button", "evdev"),
    *("vfat", "nls_cp437", "nls_ascii", "nls_utf8"),
)
SECTOR = 512
FIRST = 1 << 20  # where the partition begins
BYTES = FIRST + fat.LARGEST
ARGUMENTS = "console=ttyS0 quiet mitigations=off no_timer_check panic=1"
MENU = f"DEFAULT metal\nLABEL metal\nLINUX vmlinuz\nINITRD initrd\nAPPEND {ARGUMENTS}\n"
UEFI = {
    "EFI/BOOT/BOOTX64.EFI": "usr/lib/shim/shimx64.efi.signed",
    "EFI/BOOT/GRUBX64.EFI": "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
}
UEFI_MENU = f"search --set=root --file /vmlinuz\nlinux /vmlinuz {ARGUMENTS}\ninitrd /initrd\nboot\n"
ACCOUNTS = {
    "etc/passwd": "root:*:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/shells": "/bin/sh\n",
    "root/.ssh/authorized_keys": "",
}


@dataclasses.dataclass(frozen=True)
class Metal:
    """``path``: the raw image; written beside it as metal.json."""

    path: Path
    sha256: str
    size: int

    def installed(self, images: Path) -> Metal:
        """A copy of it in a controller's directory of images."""
        target = images / self.path.name
        shutil.copyfile(self.path, target)
        return dataclasses.replace(self, path=target)

    def template(self, name: str = "metal") -> dict[str, object]:
        """Its entry in templates.yaml."""
        told = {"volume": self.path.name, "sha256": self.sha256, "size": self.size, "format": "raw"}
        return {"name": name, **told, "agent": False, "ready": "ssh"}


def load(images: Path) -> Metal:
    """``images``: the lab's, beside which the cache has this one. Raises `LabError` where it is not built."""
    return described(kept.place(images.parent, "metal", SOURCES) / "metal.raw", made_by="make images")


def described(path: Path, *, made_by: str) -> Metal:
    """By the file beside it. Raises `LabError` where there is none, with what makes it."""
    try:
        return Metal(path=path, **json.loads(path.with_suffix(".json").read_text()))
    except FileNotFoundError as error:
        raise LabError(f"the raw image {path.stem} is not built: run {made_by}") from error


def describe(path: Path) -> None:
    """Write that file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    path.with_suffix(".json").write_text(json.dumps({"sha256": digest, "size": path.stat().st_size}) + "\n")


def prepare() -> Path:
    """Make it where it is missing."""
    return kept.made(kept.place(cache_directory(), "metal", SOURCES), _build)


def _build(out: Path, scratch: Path) -> None:
    tree = packages.unpack(PACKAGES, scratch)
    kernel = next((tree / "boot").glob("vmlinuz-*"))
    files = {"vmlinuz": kernel.read_bytes(), "initrd": _initrd(tree), "syslinux.cfg": MENU.encode()}
    files |= {name: (tree / source).read_bytes() for name, source in UEFI.items()}
    files["EFI/debian/grub.cfg"] = UEFI_MENU.encode()  # where that GRUB looks
    out.mkdir()
    image = out / "metal.raw"
    image.write_bytes(_boot_record(tree) + bytes(FIRST - SECTOR) + fat.image(files, label="metal", size=fat.LARGEST))
    tools = f"{tree}/usr/bin:{os.environ['PATH']}"  # syslinux copies its own files by the mtools
    packages.run([str(tree / "usr/bin/syslinux"), "--offset", str(FIRST), "--install", str(image)], seconds=60, PATH=tools)
    describe(image)


def _boot_record(tree: Path) -> bytes:
    """What starts the active partition's boot sector, and a table with that partition."""
    code = (tree / "usr/lib/SYSLINUX/mbr.bin").read_bytes()
    entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x0E, b"\xfe\xff\xff", FIRST // SECTOR, fat.LARGEST // SECTOR)
    return code.ljust(446, b"\0") + entry.ljust(64, b"\0") + b"\x55\xaa"


def _initrd(tree: Path) -> bytes:
    release = next((tree / "lib" / "modules").iterdir()).name
    packages.run(["depmod", "-b", str(tree), release])
    packed = Archive()
    for name in ("dev", "proc", "sys"):
        packed.directory(name)
    for name in ("lib", "lib64"):
        packed.link(name, f"usr/{name}")
    packed.device("dev/console", 5, 1)
    packed.file("init", INIT.read_bytes(), mode=0o755)
    packed.file("bin/busybox", (tree / "bin/busybox").read_bytes(), mode=0o755)
    packed.file("bin/dropbear", (tree / "usr/sbin/dropbear").read_bytes(), mode=0o755)
    for name, text in ACCOUNTS.items():
        packed.file(name, text.encode(), mode=0o600 if name.startswith("root/") else 0o644)
    modules = initramfs.loading_order(tree / "lib" / "modules" / release, MODULES)
    for file in modules:
        packed.file(f"modules/{file.name}", file.read_bytes())
    packed.file("modules.now", "".join(f"{file.name}\n" for file in modules).encode())
    base.linked(packed, tree)
    return gzip.compress(packed.packed(time=0), compresslevel=6, mtime=0)
