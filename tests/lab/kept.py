"""What is built once per recipe and kept in the cache, in a directory whose name ends with the recipe's hash."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator.drivers.deployimage import packages
from tests.lab.report import say

SECONDS_TO_KEEP = 24 * 3600  # that of an older recipe: another lab may still be using it


def place(cache: Path, name: str, sources: Iterable[Path]) -> Path:
    """Where what the sources and this machine's release give is, or will be."""
    digest = hashlib.sha256(packages.codename().encode())
    for source in sources:
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return cache / f"{name}-{digest.hexdigest()[:16]}"


def made(target: Path, make: Callable[[Path, Path], None]) -> Path:
    """``make(output, scratch)`` fills the directory where it is missing. Two at once make the same; the first to be
    ready counts."""
    name = target.name.rpartition("-")[0]
    if not target.exists():
        say(f"building the image {name} (about a minute)")
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f"building-{name}-", dir=target.parent, ignore_cleanup_errors=True) as scratch:
            make(Path(scratch) / "out", Path(scratch))
            if not target.exists():
                (Path(scratch) / "out").rename(target)
    for old in target.parent.glob(f"{name}-*"):
        if old != target and time.time() - old.stat().st_mtime > SECONDS_TO_KEEP:
            shutil.rmtree(old, ignore_errors=True)
    return target
