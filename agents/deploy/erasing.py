"""The task ``erase``: each drive by the best that it offers itself, else overwritten; and what is read from it afterwards.

Before and after, samples are read all over the drive: no block may be as it was, unless it was empty before. A drive of which
that cannot be said is a failure of the task, and so is one that was named and is not there.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from agents.deploy import ata, drives, inspecting, nvme
from agents.deploy.failure import Failed
from agents.deploy.place import Place

SAMPLES = 256
_SAMPLE = 4096
_OVERWRITE = "overwrite"
_SHOWN = 8
Progress = Callable[[float, str], None]
# What of a drive no command of its interface reaches; the certificate says it.
UNREACHED = {
    _OVERWRITE: "blocks that the drive had put aside as bad, and what its flash keeps beside its addresses",
    "ata-secure-erase": "blocks that the drive had put aside as bad",
}


def erase(place: Place, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """``disks``: serial numbers. All at once; the result has a row for each. Raises Failed, with the rows, where one was not."""
    serials = [str(each) for each in arguments["disks"]]
    done = dict.fromkeys(serials, 0.0)

    def told(serial: str, fraction: float) -> None:
        done[serial] = fraction
        progress(sum(done.values()) / len(done), f"erasing {len(done)} drives" if len(done) > 1 else "erasing")

    with ThreadPoolExecutor(max_workers=max(1, len(serials))) as together:
        rows = list(together.map(lambda serial: one(place, serial, lambda part: told(serial, part)), serials))
    for row in rows:
        row["ended_before"] = round(time.monotonic() - row.pop("ended"), 3)
    bad = [row for row in rows if row["problem"]]
    if bad or not rows:
        sentence = "; ".join(f"{row['serial']}: {row['problem']}" for row in bad) or "no drive was named"
        raise Failed(sentence, result={"drives": rows})
    return {"drives": rows}


def one(place: Place, serial: str, told: Callable[[float], None]) -> dict[str, Any]:
    """The row of one drive; ``problem`` '' = it is erased."""
    begun = time.monotonic()
    row: dict[str, Any] = {"serial": serial, "method": "", "tried": [], "samples": 0, "problem": ""}
    try:
        disk = drives.find(place, serial)
        row |= {"model": disk["model"], "bytes": disk["bytes"]}
        places = sample_places(disk["bytes"], random.Random(os.urandom(16)))  # noqa: S311 - where to look, no secret
        before = _samples(place, serial, places)
        row["method"] = _by_the_best(place, disk, row, told)
        row["samples"], row["unreached"] = len(places), UNREACHED.get(row["method"], "")
        kept = unchanged(before, _samples(place, serial, places), zeros=row["method"] == _OVERWRITE)
        if kept:
            row["problem"] = (
                f"{len(kept)} of {len(places)} samples are as they were, at byte {', '.join(map(str, kept[:_SHOWN]))}"
            )
    except (Failed, OSError) as exc:
        row["problem"] = str(exc)
    row["ended"] = time.monotonic()
    row["seconds"] = round(row["ended"] - begun, 3)
    return row


def _by_the_best(place: Place, disk: dict[str, Any], row: dict[str, Any], told: Callable[[float], None]) -> str:
    """The method that was carried through; what was tried before and failed is in the row."""
    for method in _methods(place, disk, row):
        drives.find(place, disk["serial"])
        try:
            if method == _OVERWRITE:
                overwrite(place, disk["serial"], told)
            elif method in nvme.METHODS:
                device = str(place.path("dev", nvme.controller_of(disk["name"])))
                space = int(place.read("sys/block", disk["name"], "nsid") or 1)
                nvme.erase(device, method, namespace=space, told=told)
            else:
                ata.erase(str(place.path("dev", disk["name"])), method)
        except Failed as exc:
            if method == _OVERWRITE:
                raise
            row["tried"].append(f"{method}: {exc}")
        else:
            return method
    raise AssertionError("overwriting is always the last")


def _methods(place: Place, disk: dict[str, Any], row: dict[str, Any]) -> tuple[str, ...]:
    if disk["transport"] == "nvme":
        try:
            return (*nvme.offered(nvme.identify(str(place.path("dev", nvme.controller_of(disk["name"]))))), _OVERWRITE)
        except Failed as exc:
            row["tried"].append(f"identify: {exc}")
    if disk["transport"] == "ata":
        identify = inspecting.ata_identify(place.raw("sys/block", disk["name"], "device", "vpd_pg89"))
        if reason := ata.why_not(identify):
            row["tried"].append(f"ata-secure-erase: {reason}")
        return (*ata.offered(identify), _OVERWRITE)
    return (_OVERWRITE,)


def overwrite(place: Place, serial: str, told: Callable[[float], None]) -> None:
    """Zeros from the first byte to the last, and all of it read back. Raises Failed where a byte is another."""
    zeros = bytes(drives.BLOCK)
    with drives.opened(place, serial, write=True) as (fd, size):
        buffer = drives.Buffer()
        for at in range(0, size, drives.BLOCK):
            buffer.write(fd, zeros[: min(drives.BLOCK, size - at)], at)
            told(at / size / 2)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        for at in range(0, size, drives.BLOCK):
            length = min(drives.BLOCK, size - at)
            if buffer.read(fd, length, at) != zeros[:length]:
                raise Failed(f"after it was overwritten with zeros, other bytes are read near byte {at}")
            told(0.5 + at / size / 2)


def sample_places(size: int, dice: random.Random) -> tuple[int, ...]:
    """Where is looked: the first and the last block, and one at random in each of so many equal parts."""
    blocks = size // _SAMPLE
    if blocks <= SAMPLES:
        return tuple(block * _SAMPLE for block in range(blocks))
    parts = SAMPLES - 2
    inner = {dice.randrange(blocks * part // parts, blocks * (part + 1) // parts) for part in range(parts)}
    return tuple(block * _SAMPLE for block in sorted({0, blocks - 1, *inner}))


def unchanged(before: Mapping[int, bytes], after: Mapping[int, bytes], *, zeros: bool) -> tuple[int, ...]:
    """Places at which something of before can be read, or after ``zeros`` anything but them. A block of one byte alone tells
    nothing: an empty one may be so again."""
    kept = []
    for at, now in after.items():
        plain = now.count(now[:1]) == len(now)
        if (zeros and now != bytes(len(now))) or (now == before[at] and not plain):
            kept.append(at)
    return tuple(kept)


def _samples(place: Place, serial: str, places: tuple[int, ...]) -> dict[int, bytes]:
    with drives.opened(place, serial, write=False) as (fd, _):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        buffer = drives.Buffer(_SAMPLE)
        return {at: bytes(buffer.read(fd, _SAMPLE, at)) for at in places}
