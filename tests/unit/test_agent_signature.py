"""What a disk begins with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agents.node.disk.signature import LOOKED_AT, signature

SIZE = 160 << 20


def begin(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(LOOKED_AT)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    made = tmp_path / "disk"
    with made.open("wb") as stream:
        stream.truncate(SIZE)
    return made


def test_a_disk_of_zeros_and_one_that_is_shorter_than_a_mark_have_none(disk: Path) -> None:
    assert signature(begin(disk)) == signature(b"") == signature(b"\0" * 511) == ""


def test_a_file_system_is_known_as_its_own_tool_makes_it(disk: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True, timeout=60)
    assert signature(begin(disk)) == "ext"


def test_a_partition_table_of_today_goes_before_the_old_one_that_protects_it() -> None:
    old = bytearray(LOOKED_AT)
    old[510:512] = b"\x55\xaa"
    assert signature(bytes(old)) == "mbr"
    old[512:520] = b"EFI PART"
    assert signature(bytes(old)) == "gpt"


@pytest.mark.parametrize(
    ("name", "offset", "mark"),
    [("xfs", 0, b"XFSB"), ("btrfs", 65600, b"_BHRfS_M"), ("luks", 0, b"LUKS\xba\xbe"), ("", 3, b"XFSB")],
)
def test_a_mark_counts_at_its_own_place_only(name: str, offset: int, mark: bytes) -> None:
    there = bytearray(LOOKED_AT)
    there[offset : offset + len(mark)] = mark
    assert signature(bytes(there)) == name
