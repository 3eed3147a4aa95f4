"""Simulated tarballs by which accounts move in. What is in one is what the test has said (``lay``)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from orchestrator.domain.errors import NoCapacity, NotFound, Refused, WrongState
from orchestrator.domain.moving_in import Tarball
from orchestrator.domain.sizes import size_words
from orchestrator.drivers.fake.directories import directories_of, next_revision
from orchestrator.drivers.fake.world import FakeWorld, State
from orchestrator.ports.hosting_node import DatabaseDump, TakenOut


def look(node: State, file: str, *, most_bytes: int, most_inodes: int) -> Tarball:
    there = node.get("tarballs", {}).get(file)
    if there is None:
        raise NotFound(f"there is no {file} on {node['name']}", hint="copy the tarball there first")
    if there["hostile"]:
        raise Refused(f"the tarball is not taken: {there['hostile']}", rule="")
    if there["bytes"] > most_bytes or there["inodes"] > most_inodes:
        raise NoCapacity(f"the tarball holds more than {size_words(most_bytes)} or {most_inodes} files and directories")
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
    begun = there.get("importing") or {}
    if begun.get("job") != job_id:
        begun = {"job": job_id, "made": {}, "before": None, "loading": {}, "taken": [], "left": []}
    for name in tarball.databases:
        if name not in names:
            raise NotFound(f"{there['user']} has no database {name}")
        if there["content"].get(name) and name not in begun["loading"]:
            raise WrongState(f"the database {there['user']}_{name} holds something already: nothing is loaded over it")
    there["importing"] = begun
    held, files = _held(node, there), node["tarballs"][tarball.file]["files"]
    if begun["before"] is None:
        begun["before"] = [path for path in files if f"home/{path}" in held]
    begun["made"] = {path: text for path, text in files.items() if path not in begun["before"]}
    for path, text in files.items():
        before = held.get(f"home/{path}", {})
        if before.get("text") != text:  # a tarball brings its files' times along: unpacked again they are the same
            held[f"home/{path}"] = {"text": text, "unreadable": False, "revision": next_revision(state)}


def load(node: State, there: State, tarball: Tarball) -> tuple[DatabaseDump, ...]:
    dumps = node["tarballs"][tarball.file]["dumps"]
    for name in dumps:
        there["importing"]["loading"].setdefault(name, there["content"].get(name))
    there["content"].update(dumps)
    return tuple(DatabaseDump(name=name, bytes=len(text.encode())) for name, text in sorted(dumps.items()))


def take_files(node: State, there: State, *, job_id: str) -> None:
    """Those that the job's import made, and nobody has changed since."""
    begun = _begun(there, job_id)
    held = _held(node, there)
    for path, text in begun["made"].items():
        if path in begun["taken"]:
            continue
        found = held.get(f"home/{path}")
        if found is not None and found["text"] == text:
            del held[f"home/{path}"]
            begun["taken"].append(path)
        elif found is not None and path not in begun["left"]:
            begun["left"].append(path)


def take_rest(there: State, *, job_id: str) -> TakenOut:
    """What it loaded, and what is known of it."""
    begun = _begun(there, job_id)
    for name, before in begun["loading"].items():
        there["content"][name] = before
        if before is None:
            del there["content"][name]
    if there.get("importing") == begun:
        del there["importing"]
    left = sorted(begun["left"])
    return TakenOut(removed=len(begun["taken"]), left=tuple(left), left_count=len(left), emptied=tuple(sorted(begun["loading"])))


def _begun(there: State, job_id: str) -> State:
    begun: State = there.get("importing") or {}
    return begun if begun.get("job") == job_id else {"made": {}, "loading": {}, "taken": [], "left": []}


def _held(node: State, there: State) -> State:
    held: State = directories_of(node).setdefault(f"/srv/h/{there['user']}", {})
    return held


def lay(world: FakeWorld, node: str, file: str, **said: Any) -> None:
    """Put a tarball on the node: ``bytes``, ``inodes``, ``files`` and ``dumps`` by name with their texts, ``settings``;
    ``hostile``: why it is not taken."""
    usual: Mapping[str, Any] = {"bytes": 4096, "inodes": 1, "files": {}, "dumps": {}, "settings": {}, "hostile": ""}
    with world.change() as state:
        state["nodes"][node].setdefault("tarballs", {})[file] = {**usual, **said}
