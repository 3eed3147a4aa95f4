"""The simulated directories of a node: what they hold is the texts of their files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.domain.errors import NotFound
from orchestrator.drivers.fake.world import FakeWorld, State, node_of
from orchestrator.ports.repositories import DirectoryFacts


def directories_of(node: State) -> dict[str, dict[str, State]]:
    kept: dict[str, dict[str, State]] = node.setdefault("directories", {})
    return kept


def directory_of(node: State, path: str) -> dict[str, State]:
    try:
        return directories_of(node)[path]
    except KeyError:
        raise NotFound(f"there is no directory {path}", reason="no-source") from None


def is_below(path: str, above: tuple[str, ...]) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in above)


def size_of(files: Mapping[str, State]) -> int:
    return sum(len(file["text"].encode()) for file in files.values())


def revision_of(state: State) -> int:
    """Grows with every write to a simulated directory: what is older than a snapshot is known by it."""
    return int(state.get("revision", 0))


def next_revision(state: State) -> int:
    state["revision"] = revision_of(state) + 1
    return int(state["revision"])


def directory_report(node: State, path: str) -> dict[str, Any]:
    """What ``directory-measure`` says of a simulated directory. Raises NotFound."""
    files = directory_of(node, path)
    above = {"/".join(parts[:end]) for parts in (name.split("/") for name in files) for end in range(1, len(parts))}
    shares: list[dict[str, Any]] = [
        {
            "path": directory,
            "bytes": sum(len(file["text"]) for name, file in files.items() if name.startswith(f"{directory}/")),
            "inodes": sum(name.startswith(f"{directory}/") for name in files),
        }
        for directory in sorted(above)
    ]
    return {
        "bytes": size_of(files),
        "file_bytes": size_of(files),
        "files": len(files),
        "directories": len(above),
        "inodes": 1 + len(files) + len(above),
        **dict.fromkeys(("links", "sockets", "others", "elsewhere", "unreadable"), 0),
        "unreadable_paths": [],
        "largest": sorted(shares, key=lambda row: -row["bytes"])[:10],
        "fullest": sorted(shares, key=lambda row: -row["inodes"])[:10],
    }


def measured_of(node: State, path: str) -> DirectoryFacts:
    return DirectoryFacts.from_report(directory_report(node, path))


# -- what a test does behind the port's back -----------------------------------------------------------------------------------


def put_file(world: FakeWorld, node: str, directory: str, path: str, text: str, *, unreadable: bool = False) -> None:
    """Write a file of a simulated directory, which is made where it is missing; ``path`` is relative to it."""
    with world.change() as state:
        files = directories_of(node_of(state, node)).setdefault(directory, {})
        files[path] = {"text": text, "unreadable": unreadable, "revision": next_revision(state)}


def drop_file(world: FakeWorld, node: str, directory: str, path: str) -> None:
    with world.change() as state:
        del directories_of(node_of(state, node))[directory][path]


def texts(world: FakeWorld, node: str, directory: str) -> dict[str, str]:
    """What the directory's files hold, by path."""
    return {path: str(file["text"]) for path, file in directories_of(world.node(node)).get(directory, {}).items()}
