"""The task ``write`` on a file that stands for a disk."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.deploy import drives, writing
from agents.deploy.failure import Failed
from agents.deploy.place import Place

DISK_BYTES = 24 << 20
# More than two buffers, and no whole number of blocks.
IMAGE = random.Random(7).randbytes(2 * drives.BLOCK + (1 << 20) + 100)


class Given:
    """The image in parts of so many bytes, or so much of it that it breaks off."""

    def __init__(self, part: int, *, breaks_at: int = len(IMAGE) + 1) -> None:
        self._part, self._breaks_at = part, breaks_at

    def image(self, name: str, size: int, *, start: int = 0) -> Iterator[bytes]:
        for at in range(start, size, self._part):
            if at > self._breaks_at:
                raise Failed("the desk is gone")
            yield IMAGE[at : min(at + self._part, size)]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A machine with the disk S1, full of what was there before."""
    known = tmp_path / "sys/block/sda/device"
    known.mkdir(parents=True)
    (known / "vpd_pg80").write_bytes(b"\0\0\0\x02S1")
    (known.parent / "size").write_text(str(DISK_BYTES // 512))
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/sda").write_bytes(b"before" * (DISK_BYTES // 6) + b"before"[: DISK_BYTES % 6])
    return Place(tmp_path)


def arguments(**changes: object) -> dict[str, object]:
    return {
        "image": "x.raw",
        "sha256": hashlib.sha256(IMAGE).hexdigest(),
        "bytes": len(IMAGE),
        "serial": "S1",
        "seed": {},
    } | changes


@pytest.mark.parametrize("part", [1 << 20, drives.BLOCK, 2 * drives.BLOCK], ids=["small", "a buffer", "two buffers"])
def test_the_image_is_on_the_disk_however_it_comes(place: Place, part: int) -> None:
    seen: list[float] = []
    told = writing.write(place, Given(part), arguments(), lambda fraction, _says: seen.append(fraction))
    content = place.path("dev/sda").read_bytes()
    assert content[: len(IMAGE)] == IMAGE
    assert b"before" not in content[len(IMAGE) : len(IMAGE) + (1 << 20)] + content[-(1 << 20) :]
    assert told["sha256"] == told["read_back_sha256"] == hashlib.sha256(IMAGE).hexdigest()
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(0.95)


def test_another_image_than_the_one_that_was_meant_is_a_failure(place: Place) -> None:
    with pytest.raises(Failed, match="and not 0000"):
        writing.write(place, Given(1 << 20), arguments(sha256="0" * 64), lambda _fraction, _says: None)


def test_what_breaks_off_is_said(place: Place) -> None:
    with pytest.raises(Failed, match="the desk is gone"):
        writing.write(place, Given(1 << 20, breaks_at=3 << 20), arguments(), lambda _fraction, _says: None)


def test_a_disk_that_does_not_keep_what_it_is_given_is_found_out(place: Place) -> None:
    def told(_fraction: float, says: str) -> None:
        """A part that was written is lost before it is read back."""
        if says == "reading back":
            with place.path("dev/sda").open("r+b") as disk:
                disk.seek(2 * drives.BLOCK)
                disk.write(b"lost")

    with pytest.raises(Failed, match="does not keep what it is given"):
        writing.write(place, Given(drives.BLOCK), arguments(), told)
