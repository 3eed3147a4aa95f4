"""Showing that what was written reached the blocks that held the data: by the extent maps, and by reading the device."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agents.node import extents as ex
from agents.node.extents import Extent
from agents.node.medium import Medium, forget_cached, read_device
from agents.node.overwrite import Fill, pieces
from agents.node.protocol import AgentError

Row = dict[str, Any]
Sample = tuple[Extent, str]
"""A block of the volume, and the SHA-256 of what the device held there before the first overwriting."""

_READ_BACK_ALL = 16 * 1024 * 1024
"""Up to so many bytes overwritten, each block is read back from the device; beyond, the samples are."""


def samples_before(targets: Sequence[Extent], found: Medium, *, count: int, block: int) -> tuple[Sample, ...]:
    """The blocks to sample, chosen from the map alone, with the device's content; empty where it cannot be read."""
    chosen = [replace(e, flags=0) for e in ex.choose_samples(targets, samples=count, block=block)]
    try:
        return tuple((e, _sha256(read_device(found.device, e.physical, e.length))) for e in chosen)
    except OSError:
        return ()


def prove_same_places(before: Sequence[Extent], now: Sequence[Extent], *, name: str) -> None:
    """Raises AgentError where the file system gave other blocks for some that were overwritten."""
    still = ex.clip(now, [(e.logical, e.length) for e in before])
    if ex.places(still) != ex.places(before):
        raise AgentError(
            "driver-permanent",
            f"the file system moved blocks of {name} while they were overwritten: the old ones were not reached",
            hint="an operator must decide about this volume; it is kept as .wiping",
        )


def read_back(
    targets: Sequence[Extent], samples: Sequence[Sample], found: Medium, fill: Fill
) -> tuple[list[dict[str, Any]], str]:
    """The samples as the device holds them now, and why the device could not be read ('' = it was).

    Raises AgentError where it holds something else than ``fill`` wrote.
    """
    device = found.device or "an unknown device"
    if targets and not samples:
        return [], f"{device} gave no samples before the overwriting"
    try:
        if sum(e.length for e in targets) <= _READ_BACK_ALL:
            for part in pieces(targets):
                _compare(found.device, part, fill)
        rows = [_row(found.device, extent, before, fill) for extent, before in samples]
        forget_cached(found.device, [(e.physical, e.length) for e in targets])
    except OSError as exc:
        return [], f"{device}: {exc.strerror or exc}"
    return rows, ""


def _row(device: str, extent: Extent, before: str, fill: Fill) -> dict[str, Any]:
    data = _compare(device, extent, fill)
    return {
        "device_offset": extent.physical,
        "length": extent.length,
        "sha256_before": before,
        "sha256_after": _sha256(data),
    }


def _compare(device: str, part: Extent, fill: Fill) -> bytes:
    data = read_device(device, part.physical, part.length)
    if data != fill(part.logical, part.length):
        raise AgentError(
            "driver-permanent",
            f"{device} does not hold at byte {part.physical} what was written there",
            hint="the medium or a layer below is not to be trusted; the volume is kept as .wiping",
        )
    return data


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
