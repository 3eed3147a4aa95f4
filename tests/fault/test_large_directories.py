"""A directory with as many inodes as an account may have, and with one more; the whole size with the whole matrix."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from orchestrator.ports.repositories import DirectoryFacts
from tests.disk import tool
from tests.integration.restic_ground import Ground, fill, ground

__all__ = ["ground"]  # a fixture

CAP = 250_000
SAMPLE = 2500
DIRECTORIES = 50


@pytest.fixture
def cap(whole_matrix: bool) -> int:
    return CAP if whole_matrix else SAMPLE


@pytest.fixture
def full(ground: Ground, cap: int) -> Iterator[Ground]:
    """The home, its directories and their files are as many inodes as there may be. In memory: to make them is quick."""
    tool("mount", "-t", "tmpfs", "-o", "nr_inodes=300k", "none", ground.home)
    try:
        ground.make()
        for number in range(DIRECTORIES):
            fill(ground.home / f"{number:02}", cap // DIRECTORIES - (2 if number == 0 else 1))
        yield ground
    finally:
        tool("umount", ground.home)


def test_as_many_inodes_as_there_may_be_pass_and_one_more_is_refused(full: Ground, cap: int) -> None:
    """An inode is what a quota counts: a file, however many names it has, a directory, a link, and the home itself."""
    began = time.monotonic()
    assert DirectoryFacts.from_report(full.measure()).inodes == cap
    assert time.monotonic() - began < 30
    made = full.backup(most_inodes=cap)
    assert (made.over, made.whole, made.files) == (False, True, cap - DIRECTORIES - 1)
    os.link(full.home / "00/0", full.home / "another name")
    assert not full.backup(most_inodes=cap).over
    (full.home / "one more").touch()
    refused = full.backup(most_inodes=cap)
    assert (refused.over, refused.whole, refused.snapshot) == (True, False, "")
    assert refused.measured is not None
    assert refused.measured.inodes == cap + 1
    assert refused.measured.fullest[0].inodes == cap // DIRECTORIES - 1
    assert len(full.held()) == 2
