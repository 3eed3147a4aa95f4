"""What doctor makes of the disk that the state directory is on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.cli.local.doctor import room

BLOCK = 4096
GIB = (1 << 30) // BLOCK
MIB = (1 << 20) // BLOCK


@pytest.mark.parametrize(
    ("free", "inodes", "left", "ok", "found"),
    [
        (3 * GIB, 1000, 10, True, "/state, 3 GiB free"),
        (3 * GIB, 0, 0, True, "/state, 3 GiB free"),
        (3 * GIB, 1000, 0, False, "/state: no inode is free on its disk"),
        (12 * MIB, 1000, 10, False, "/state: only 12 MiB are free on its disk"),
        (0, 1000, 10, False, "/state: only 0 B are free on its disk"),
    ],
    ids=["room", "no-table-of-inodes", "no-inodes", "little", "none"],
)
def test_too_little_room_where_the_database_is_written_is_a_problem(
    free: int, inodes: int, left: int, ok: bool, found: str
) -> None:
    disk = os.statvfs_result((BLOCK, BLOCK, 10 * GIB, free, free, inodes, left, left, 0, 255))
    told = room("state directory", Path("/state"), disk)
    assert (told.ok, told.found, bool(told.mend)) == (ok, found, not ok)
