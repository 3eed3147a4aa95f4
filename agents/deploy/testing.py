"""The task ``test``: memory and disks for so long. Disks are only read: what is on them stays."""

from __future__ import annotations

import mmap
import os
import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from agents.deploy import drives
from agents.deploy.failure import Failed
from agents.deploy.place import Place

_BLOCK = 8 << 20
_TOLD_EVERY = 64  # blocks
_LEFT = 128 << 20  # for the system and the agent
_PATTERNS = (b"\x00", b"\xff", b"\x55", b"\xaa", b"\x6d\xb6\xdb")
Progress = Callable[[float, str], None]


def test(place: Place, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """``memory``: whether to try it; ``disks``: serial numbers; ``seconds``: for all of it, shared equally. Raises Failed, with
    what was found, where something is wrong."""
    serials, seconds = [str(each) for each in arguments.get("disks") or ()], float(arguments.get("seconds", 60))
    parts = len(serials) + bool(arguments.get("memory"))
    result: dict[str, Any] = {"memory": {}, "disks": []}
    share = seconds / max(parts, 1)
    problems: list[str] = []
    number = 0
    if arguments.get("memory"):
        result["memory"] = memory(_available(place), share, lambda part: progress(part / parts, "testing the memory"))
        problems += [f"memory: {each}" for each in result["memory"]["problems"]]
        number = 1
    for serial in serials:
        row = disk(place, serial, share, partial(_further, progress, number, parts))
        result["disks"].append(row)
        problems += [f"{serial}: {each}" for each in row["problems"]]
        number += 1
    if problems:
        raise Failed("; ".join(problems), result=result)
    return result


def _further(progress: Progress, number: int, parts: int, part: float) -> None:
    progress((number + part) / parts, "reading the disks")


def memory(size: int, seconds: float, told: Callable[[float], None]) -> dict[str, Any]:
    """Fill as much as there is with patterns, in turn, and compare; at least one round of one pattern."""
    blocks = max(size // _BLOCK, 1)
    held = [mmap.mmap(-1, _BLOCK) for _ in range(blocks)]
    problems: list[str] = []
    begun, rounds = time.monotonic(), 0

    def alive(at: int) -> None:
        """A round of a terabyte takes minutes: whoever says nothing for so long is taken for gone."""
        if at % _TOLD_EVERY == 0:
            told(min((time.monotonic() - begun) / max(seconds, 0.001), 1.0))

    try:
        while not problems and (not rounds or time.monotonic() - begun < seconds):
            seed = _PATTERNS[rounds % len(_PATTERNS)]
            wanted = (seed * (_BLOCK // len(seed) + 1))[:_BLOCK]
            for at, block in enumerate(held):
                block[:] = wanted
                alive(at)
            for at, block in enumerate(held):
                if block[:] != wanted:
                    problems.append(f"block {at} of {_BLOCK} bytes kept another pattern")
                alive(at)
            rounds += 1
    finally:
        for block in held:
            block.close()
    return {"bytes": blocks * _BLOCK, "rounds": rounds, "problems": problems[:20]}


def disk(place: Place, serial: str, seconds: float, told: Callable[[float], None]) -> dict[str, Any]:
    """Read from the beginning and at random, in turn, until the time is over; what cannot be read is named."""
    row: dict[str, Any] = {"serial": serial, "read_bytes": 0, "seconds": 0.0, "problems": []}
    begun, dice, at = time.monotonic(), random.Random(os.urandom(16)), 0  # noqa: S311 - where to read, no secret
    try:
        with drives.opened(place, serial, write=False) as (fd, size):
            buffer, turn = drives.Buffer(), 0
            while not row["read_bytes"] or time.monotonic() - begun < seconds:
                start = at if turn % 2 == 0 else dice.randrange(max(size // drives.BLOCK, 1)) * drives.BLOCK
                length = min(drives.BLOCK, size - start)
                try:
                    buffer.read(fd, length, start)
                except OSError as exc:
                    row["problems"].append(f"byte {start} cannot be read: {exc.strerror}")
                    if len(row["problems"]) >= 20:
                        break
                row["read_bytes"] += length
                at = (at + length) % size if turn % 2 == 0 else at
                turn += 1
                told(min((time.monotonic() - begun) / max(seconds, 0.001), 1.0))
    except Failed as exc:
        row["problems"].append(str(exc))
    row["seconds"] = round(time.monotonic() - begun, 3)
    return row


def _available(place: Place) -> int:
    lines = place.read("proc/meminfo").splitlines()
    free = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)
    return max(free - _LEFT, _BLOCK)
