"""The simulated disks as repositories read and write them: what was written to a volume (``FakeWorld.plant``), a segment each."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.domain.errors import NotFound, Refused, TransientDriverError, WrongState
from orchestrator.drivers.fake.world import State
from orchestrator.ports.repositories import DiskSource

SEGMENT = "segment.{:06}"


def disk_files(node: State, source: DiskSource) -> dict[str, State]:
    """The segments of the disk. Raises NotFound, WrongState (its volume is in use), TransientDriverError (it is not exported)."""
    if source.path:
        return _segments(_idle(node, source.path)["markers"])
    for export in node.get("exports", {}).values():
        if (export["socket"], export["name"]) == (source.socket, source.export):
            return _segments(export["markers"])
    raise TransientDriverError(f"nothing is exported at {source.socket}")


def system_bytes(node: State, source: DiskSource) -> int:
    """What the system on the disk takes beside what a test wrote: the sixteenth part of it, so that a backup has a size."""
    if source.path:
        return int(_idle(node, source.path)["capacity_bytes"]) // 16
    return next(
        (int(each["bytes"]) // 16 for each in node.get("exports", {}).values() if each["socket"] == source.socket),
        0,
    )


def write_disk(node: State, disk: DiskSource, texts: Iterable[str]) -> int:
    """Write onto an empty volume, or go on with that; what is not encrypted can be read from the medium."""
    volume = _idle(node, disk.path)
    written = list(texts)
    if volume["markers"] != written[: len(volume["markers"])]:
        raise Refused(f"{disk.path}: the volume is not empty, and is not written over")
    volume["markers"] = written
    if not volume["secret_uuid"]:
        node["raw"] += [text for text in volume["markers"] if text not in node["raw"]]
    return len(volume["markers"])


def _idle(node: State, path: str) -> State:
    volume: State | None = node["volumes"].get(path.rpartition("/")[2])
    if volume is None:
        raise NotFound(f"there is no volume {path}", reason="no-source")
    for name, guest in node["guests"].items():
        if guest["power"] != "stopped" and any(disk["path"] == path for disk in guest["definition"]["disks"]):
            raise WrongState(f"{path} is in use: {name} runs on it")
    return volume


def _segments(texts: Iterable[str]) -> dict[str, State]:
    return {SEGMENT.format(number): {"text": text, "unreadable": False, "revision": 0} for number, text in enumerate(texts)}
