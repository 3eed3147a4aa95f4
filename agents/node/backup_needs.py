"""What a node needs beside the rest where backups of its services are made: restic, and what shows a disk to it as files."""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agents.node.place import Place

OLDEST = (0, 18)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_VERSION = re.compile(r"restic ([0-9]+)\.([0-9]+)[0-9.]*")
_SECONDS = 20.0


def needs(place: Place) -> Iterator[dict[str, Any]]:
    """Each with what was found and what to do."""
    yield restic()
    yield program("qemu-nbd", "reads the disk of a guest that is off", "qemu-utils")
    yield _fuse(place.root / "dev/fuse")
    there = importlib.util.find_spec("nbd") is not None
    yield row("libnbd", there, "python3-libnbd" if there else "none", "install the package python3-libnbd", "python3-libnbd")


def row(name: str, ok: bool, found: str, mend: str, package: str = "") -> dict[str, Any]:
    """``mend`` and ``package`` are told where it is missing only."""
    return {"name": name, "ok": ok, "found": found, "mend": "" if ok else mend, "package": "" if ok else package}


def restic() -> dict[str, Any]:
    """Whether this machine has it, new enough."""
    wanted = ".".join(map(str, OLDEST))
    path = shutil.which("restic", path=PATH)
    if path is None:
        return row("restic", False, "none", f"install restic {wanted} or newer: see docs/install.md, backups", "restic")
    said = version_of(path)
    found = _VERSION.match(said)
    if found is None:
        return row("restic", False, said[:80] or "it says no version", f"install restic {wanted} or newer")
    number = found[0].removeprefix("restic ")
    # No package is named: the release's own would be the older one again.
    older = f"restic {wanted} or newer is needed: take the package of a newer Debian, nothing else from there (docs/install.md)"
    return row("restic", (int(found[1]), int(found[2])) >= OLDEST, f"{path} {number}", older)


def version_of(path: str) -> str:
    """What the program says of itself; '' where it does not run."""
    try:
        words = [path, "version"]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").strip()


def program(name: str, purpose: str, package: str) -> dict[str, Any]:
    """A program that is called on a node, and the Debian package that brings it."""
    path = shutil.which(name, path=PATH) or ""
    return row(name, bool(path), path, f"install the package {package}: {name} {purpose}", package)


def _fuse(device: Path) -> dict[str, Any]:
    """The library, and a device that opens (which has the kernel load its module)."""
    if not (ctypes.util.find_library("fuse3") or ctypes.util.find_library("fuse")):
        return row("fuse", False, "no libfuse", "install the package fuse3: by it a disk is shown to restic as files", "fuse3")
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as exc:
        return row("fuse", False, f"{device}: {exc.strerror}", "load the kernel's module (modprobe fuse)")
    return row("fuse", True, str(device), "")
