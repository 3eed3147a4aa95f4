"""What a wipe has planned, how far it came and what it did: kept on the node until the service's residue is cleaned.

The record outlives the volume on purpose: if the controller dies between the end of a wipe and noting it, the report is
given again, with the samples taken before anything was overwritten.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agents.node.extents import Extent
from agents.node.place import Place


def utc_now() -> str:
    """Now, UTC, RFC 3339 to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Written down before the first block is overwritten. ``samples`` are (logical, physical, length, sha256 before)."""

    method: str
    seed: str
    started_at: str
    extents: tuple[Extent, ...]
    samples: tuple[tuple[Extent, str], ...]
    limits: tuple[str, ...] = ()


class Records:
    """The records of one volume, by its path."""

    def __init__(self, place: Place, path: str) -> None:
        self._directory = place.state / "wipes"
        self._stem = f"{posixpath.basename(path)}.{hashlib.sha256(path.encode()).hexdigest()[:12]}"

    def plan(self) -> Plan | None:
        data = self._read("plan") or {}
        try:
            return Plan(
                method=data["method"],
                seed=data["seed"],
                started_at=data["started_at"],
                extents=tuple(Extent(*e) for e in data["extents"]),
                samples=tuple((Extent(*e), before) for e, before in data["samples"]),
                limits=tuple(data["limits"]),
            )
        except (KeyError, TypeError, ValueError):
            return None  # none, or written by an agent that kept other things: begin again

    def begin(self, plan: Plan) -> None:
        self._drop("report")
        self._drop("cursor")
        self._write(
            "plan",
            {
                **{k: v for k, v in asdict(plan).items() if k not in ("extents", "samples")},
                "extents": [_row(e) for e in plan.extents],
                "samples": [(_row(e), before) for e, before in plan.samples],
            },
        )

    def cursor(self) -> tuple[int, int]:
        """(passes done, bytes done of the pass after those)."""
        data = self._read("cursor")
        return (0, 0) if data is None else (data["passes"], data["bytes"])

    def set_cursor(self, passes: int, done: int) -> None:
        self._write("cursor", {"passes": passes, "bytes": done})

    def report(self) -> dict[str, Any] | None:
        return self._read("report")

    def finish(self, report: dict[str, Any]) -> None:
        self._write("report", report)

    def forget_plan(self) -> None:
        self._drop("cursor")
        self._drop("plan")

    def _read(self, kind: str) -> dict[str, Any] | None:
        try:
            value = json.loads((self._directory / f"{self._stem}.{kind}").read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            return None  # damaged: as if it had not been begun, which only means doing it again
        return value if isinstance(value, dict) else None

    def _write(self, kind: str, value: dict[str, Any]) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = self._directory / f"{self._stem}.{kind}"
        temporary = target.with_suffix(f".{kind}.new")
        with temporary.open("w") as stream:
            json.dump(value, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _drop(self, kind: str) -> None:
        (self._directory / f"{self._stem}.{kind}").unlink(missing_ok=True)


def records_of(place: Place, name_prefix: str) -> list[Path]:
    """The record files of volumes whose name begins so."""
    directory = place.state / "wipes"
    return sorted(p for p in directory.iterdir() if p.name.startswith(name_prefix)) if directory.is_dir() else []


def _row(extent: Extent) -> tuple[int, int, int]:
    return (extent.logical, extent.physical, extent.length)
