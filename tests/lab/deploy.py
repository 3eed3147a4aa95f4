"""The deploy image for the tests. What comes from Debian's packages is kept in the cache; the agent is put in as it is now."""

from __future__ import annotations

from pathlib import Path

from orchestrator.drivers.deployimage import archive, base, build, contents, elf, packages
from tests.lab import kept
from tests.lab.environment import cache_directory
from tests.lab.report import LabError

SOURCES = tuple(Path(str(each.__file__)) for each in (archive, base, contents, elf, packages))


def prepare() -> Path:
    """Make what the packages give, where it is missing."""
    return kept.made(kept.place(cache_directory(), "deploy", SOURCES), base.make)


def image(images: Path, output: Path) -> Path:
    """The ISO, with the agent as it is now. ``images``: the lab's, beside which the cache has the rest. Raises `LabError`."""
    found = kept.place(images.parent, "deploy", SOURCES)
    if not found.exists():
        raise LabError("the deploy image is not prepared: run make images")
    build(output, prepared=found)
    return output
