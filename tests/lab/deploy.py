"""The deploy image for the tests. What comes from Debian's packages is kept in the cache; the agent is put in as it is now."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator.drivers.deployimage import archive, base, build, contents, elf, packages
from tests.lab.environment import cache_directory
from tests.lab.report import LabError, say

SOURCES = (archive, base, contents, elf, packages)


def prepared(cache: Path) -> Path:
    """Where what the packages give is, or will be."""
    digest = hashlib.sha256(packages.codename().encode())
    for source in SOURCES:
        digest.update(Path(str(source.__file__)).read_bytes())
    return cache / f"deploy-{digest.hexdigest()[:16]}"


def prepare() -> Path:
    """Make it where it is missing. Two at once make the same; the first to be ready counts."""
    target = prepared(cache_directory())
    if not target.exists():
        say("preparing the deploy image (some minutes)")
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="building-deploy-", dir=target.parent, ignore_cleanup_errors=True) as scratch:
            base.make(Path(scratch) / "base", Path(scratch))
            if not target.exists():
                (Path(scratch) / "base").rename(target)
        for old in target.parent.glob("deploy-*"):
            if old != target:
                shutil.rmtree(old, ignore_errors=True)
    return target


def image(images: Path, output: Path) -> Path:
    """The ISO, with the agent as it is now. ``images``: the lab's, beside which the cache has the rest. Raises `LabError`."""
    found = prepared(images.parent)
    if not found.exists():
        raise LabError("the deploy image is not prepared: run make images")
    build(output, prepared=found)
    return output
