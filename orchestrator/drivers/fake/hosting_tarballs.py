"""Simulated tarballs by which accounts move in. What is in one is what the test has said (``lay``)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from orchestrator.domain.errors import NoCapacity, NotFound, Refused, WrongState
from orchestrator.domain.moving_in import Tarball
from orchestrator.drivers.fake.repository_state import directories_of, next_revision
from orchestrator.drivers.fake.world import FakeWorld, State
from orchestrator.ports.hosting_node import DatabaseDump


def look(node: State, file: str, *, most_bytes: int, most_inodes: int) -> Tarball:
    there = node.get("tarballs", {}).get(file)
    if there is None:
        raise NotFound(f"there is no {file} on {node['name']}", hint="copy the tarball there first")
    if there["hostile"]:
        raise Refused(f"the tarball is not taken: {there['hostile']}", rule="")
    if there["bytes"] > most_bytes or there["inodes"] > most_inodes:
        raise NoCapacity(f"the tarball holds more than {most_bytes} bytes or {most_inodes} files and directories")
    return Tarball(
        file=file,
        sha256=hashlib.sha256(json.dumps(there, sort_keys=True).encode()).hexdigest(),
        bytes=there["bytes"],
        inodes=there["inodes"],
        databases=tuple(sorted(there["dumps"])),
        settings=there["settings"],
    )


def unpack(state: State, node: State, there: State, tarball: Tarball, *, job_id: str) -> None:
    """The files, where all of it fits and no database of its dumps holds anything."""
    limits, used = there["limits"], there["used"]
    room = {"most_bytes": limits["disk_bytes"] - used["bytes"], "most_inodes": limits["inodes"] - used["inodes"]}
    if look(node, tarball.file, **room).sha256 != tarball.sha256:
        raise WrongState("the tarball is another than the one that was looked at")
    names = {each["name"] for each in there["databases"]}
    for name in tarball.databases:
        if name not in names:
            raise NotFound(f"{there['user']} has no database {name}")
        if there["content"].get(name) and there.get("importing") != job_id:
            raise WrongState(f"the database {there['user']}_{name} holds something already: nothing is loaded over it")
    there["importing"] = job_id
    held = directories_of(node).setdefault(f"/srv/h/{there['user']}", {})
    for path, text in node["tarballs"][tarball.file]["files"].items():
        before = held.get(f"home/{path}", {})
        if before.get("text") != text:  # a tarball brings its files' times along: unpacked again they are the same
            held[f"home/{path}"] = {"text": text, "unreadable": False, "revision": next_revision(state)}


def load(node: State, there: State, tarball: Tarball) -> tuple[DatabaseDump, ...]:
    dumps = node["tarballs"][tarball.file]["dumps"]
    there["content"].update(dumps)
    return tuple(DatabaseDump(name=name, bytes=len(text.encode())) for name, text in sorted(dumps.items()))


def lay(world: FakeWorld, node: str, file: str, **said: Any) -> None:
    """Put a tarball on the node: ``bytes``, ``inodes``, ``files`` and ``dumps`` by name with their texts, ``settings``;
    ``hostile``: why it is not taken."""
    usual: Mapping[str, Any] = {"bytes": 4096, "inodes": 1, "files": {}, "dumps": {}, "settings": {}, "hostile": ""}
    with world.change() as state:
        state["nodes"][node].setdefault("tarballs", {})[file] = {**usual, **said}
