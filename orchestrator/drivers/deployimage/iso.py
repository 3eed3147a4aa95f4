"""The ISO: loaders for BIOS and UEFI, whose menus both carry one placeholder of fixed length on the kernel's command line."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from agents.deploy import fat
from orchestrator.domain.deployments import SEED_LENGTH
from orchestrator.domain.errors import PermanentDriverError
from orchestrator.drivers.deployimage import contents, packages
from orchestrator.drivers.deployimage.base import agent

LARGEST = 64 << 20
PLACEHOLDER = b"SEED.HERE.".ljust(SEED_LENGTH, b".")
_EFI_BYTES = 8 << 20
_MENUS = 2

_ISOLINUX = f"""default deploy
prompt 0
timeout 0
label deploy
  kernel /deploy/vmlinuz
  append initrd=/deploy/initrd {contents.ARGUMENTS} {contents.SEED_ARGUMENT}=%s
"""
_GRUB = f"""set timeout=0
menuentry deploy {{
  linux /deploy/vmlinuz {contents.ARGUMENTS} {contents.SEED_ARGUMENT}=%s
  initrd /deploy/initrd
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Kept beside the image as FILE.json. ``offsets``: where the placeholder lies in it, ``length`` bytes each."""

    sha256: str
    bytes: int
    kernel: str
    length: int
    offsets: tuple[int, ...]


def assemble(base: Path, target: Path, scratch: Path) -> Description:
    """Write the ISO and its description, out of what ``base.make`` has made and the agent as it is here."""
    release, seconds = (base / "kernel.txt").read_text(encoding="ascii").split()
    time = int(seconds)
    root = scratch / "iso"
    for name in ("deploy", "isolinux", "boot/grub", "EFI/BOOT", ".disk"):
        (root / name).mkdir(parents=True)
    shutil.copyfile(base / "vmlinuz", root / "deploy/vmlinuz")
    (root / "deploy/initrd").write_bytes((base / "system.zst").read_bytes() + agent(time=time, scratch=scratch))
    for name in ("isolinux.bin", "ldlinux.c32"):
        shutil.copyfile(base / name, root / "isolinux" / name)
    (root / "isolinux/isolinux.cfg").write_bytes(_ISOLINUX.encode() % PLACEHOLDER)
    (root / "boot/grub/grub.cfg").write_bytes(_GRUB.encode() % PLACEHOLDER)
    (root / ".disk/info").write_text("deploy image\n", encoding="ascii")  # what the signed GRUB knows its CD by
    (root / "boot/efi.img").write_bytes(_efi(base))
    _date(root, time)
    _write(root, target, time)
    description = _describe(target, release)
    text = json.dumps(asdict(description), indent=2) + "\n"
    target.with_name(f"{target.name}.json").write_text(text, encoding="ascii")
    return description


def _efi(base: Path) -> bytes:
    """The partition that UEFI reads: the shim under the name that it looks for, which starts the GRUB beside it."""
    names = {"BOOTX64.EFI": "shimx64.efi", "GRUBX64.EFI": "gcdx64.efi", "MMX64.EFI": "mmx64.efi"}
    files = {f"EFI/BOOT/{name}": (base / source).read_bytes() for name, source in names.items()}
    return fat.image(files, label="DEPLOY", size=_EFI_BYTES)


def _date(root: Path, time: int) -> None:
    for path in (root, *root.rglob("*")):
        os.utime(path, (time, time))


def _write(root: Path, target: Path, time: int) -> None:
    stamp = datetime.fromtimestamp(time, UTC).strftime("%Y%m%d%H%M%S00")
    words = ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-V", "DEPLOY", f"--modification-date={stamp}"]
    words += [
        "-b",
        "isolinux/isolinux.bin",
        "-c",
        "isolinux/boot.cat",
        "-no-emul-boot",
        "-boot-load-size",
        "4",
        "-boot-info-table",
    ]
    words += ["-eltorito-alt-boot", "-e", "boot/efi.img", "-no-emul-boot", "-uid", "0", "-gid", "0", "-o", str(target), str(root)]
    packages.run(words, SOURCE_DATE_EPOCH=str(time))


def _describe(target: Path, release: str) -> Description:
    size = target.stat().st_size
    if size >= LARGEST:
        raise PermanentDriverError(f"the image has {size} bytes, and BMCs take {LARGEST} at most")
    with target.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        offsets, at = [], whole.find(PLACEHOLDER)
        while at >= 0:
            offsets.append(at)
            at = whole.find(PLACEHOLDER, at + 1)
        digest = hashlib.sha256(whole).hexdigest()
    if len(offsets) != _MENUS:
        raise PermanentDriverError(f"the image has {len(offsets)} menus with a place for the seed, and not {_MENUS}")
    return Description(sha256=digest, bytes=size, kernel=release, length=SEED_LENGTH, offsets=tuple(offsets))
