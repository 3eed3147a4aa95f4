"""Simulated accounts as they are packed for a backup and made from one again.

The directory of an account is one of the node's simulated directories (``directories.put_file``), with ``home/…`` and, while it
is packed, ``backup/…`` in it; what was restored aside is a directory of its own. What a database holds is one text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from orchestrator.domain.errors import NotFound, PermanentDriverError, WrongState
from orchestrator.drivers.fake.directories import directories_of, next_revision
from orchestrator.drivers.fake.world import FakeWorld, State
from orchestrator.ports.hosting_node import DatabaseDump, Packed

HOMES = "/srv/h"
PACKED, MAKING = "backup/", "backup.making/"
SETTINGS = "account.json"
_KEPT = ("limits", "access", "sites", "databases", "cron", "own_cron")


def directory_of(user: str) -> str:
    """All of an account's files, as backups see them."""
    return f"{HOMES}/{user}"


def aside(user: str, backup: str) -> str:
    """Where a backup is restored beside what is there."""
    return f"{HOMES}/{user}/restored/{backup}"


def begin(state: State, node: State, there: State) -> None:
    """The dumps, beside the place where they are looked for. A database that cannot be dumped leaves none."""
    broken = [each["name"] for each in there["databases"] if each["name"] in there["broken"]]
    if broken:
        raise PermanentDriverError(f"the database {there['user']}_{broken[0]} cannot be dumped: its table t is damaged")
    for each in there["databases"]:
        _write(state, node, there, f"{MAKING}databases/{each['name']}.sql", there["content"].get(each["name"], ""))


def end(state: State, node: State, there: State) -> Packed:
    """The settings, and all in its place."""
    _write(state, node, there, MAKING + SETTINGS, json.dumps({key: there[key] for key in _KEPT}))
    files = _files(node, there)
    for path in [path for path in files if path.startswith(MAKING)]:
        files[PACKED + path.removeprefix(MAKING)] = files.pop(path)
    dumps = tuple(_dump(each, text) for each, text in sorted(_dumps(files).items()))
    return Packed(directory=directory_of(there["user"]), databases=dumps, bytes=sum(each.bytes for each in dumps))


def load(node: State, there: State, databases: Sequence[str]) -> tuple[DatabaseDump, ...]:
    """Databases become what was packed, and the crontab where none is named; one that the account does not have is made."""
    if there["manifest"] is None:
        raise WrongState(f"{there['user']} is not suspended: nothing is loaded", hint="suspend it first")
    files = _files(node, there)
    dumps = _dumps(files)
    lacking = sorted(set(databases) - set(dumps))
    if PACKED + SETTINGS not in files or lacking:
        raise NotFound(f"nothing of {', '.join(lacking) or there['user']} is in {directory_of(there['user'])}/backup")
    settings: State = json.loads(files[PACKED + SETTINGS]["text"])
    for name in databases or sorted(dumps):
        if name not in [each["name"] for each in there["databases"]]:
            there["databases"] += [each for each in settings["databases"] if each["name"] == name]
        there["content"][name] = dumps[name]
    if not databases:
        there["own_cron"] = settings["own_cron"]
        there["cron"] = there["cron"] or settings["cron"]
        hashes = {each["name"]: each["password_hash"] for each in settings["databases"]}
        for each in there["databases"]:  # one that is there is newer than what was packed
            each["password_hash"] = each["password_hash"] or hashes.get(each["name"], "")
    return tuple(_dump(name, dumps[name]) for name in databases or sorted(dumps))


def unpack(node: State, there: State) -> None:
    files = _files(node, there)
    for path in [path for path in files if path.startswith((PACKED, MAKING))]:
        del files[path]


def show_restored(node: State, there: State, keep: Sequence[str]) -> tuple[str, ...]:
    above = aside(there["user"], "")
    found = [path.removeprefix(above) for path in directories_of(node) if path.startswith(above)]
    for name in found:
        if name not in keep:
            del directories_of(node)[above + name]
    there["shown"] = sorted(name for name in found if name in keep)
    return tuple(there["shown"])


def drop(node: State, user: str) -> None:
    """All files of the account, of a wipe."""
    for path in left(node, user):
        del directories_of(node)[path]


def left(node: State, user: str) -> list[str]:
    """What of its directories there is."""
    top = directory_of(user)
    return [path for path in directories_of(node) if path == top or path.startswith(f"{top}/")]


def _files(node: State, there: State) -> dict[str, Any]:
    return directories_of(node).setdefault(directory_of(there["user"]), {})


def _dumps(files: State) -> dict[str, str]:
    above = f"{PACKED}databases/"
    return {
        path.removeprefix(above).removesuffix(".sql"): str(file["text"])
        for path, file in files.items()
        if path.startswith(above) and path.endswith(".sql")
    }


def _dump(name: str, text: str) -> DatabaseDump:
    return DatabaseDump(name=name, bytes=len(text.encode()))


def _write(state: State, node: State, there: State, path: str, text: str) -> None:
    _files(node, there)[path] = {"text": text, "unreadable": False, "revision": next_revision(state)}


# -- what a test does to an account --------------------------------------------------------------------------------------------


def write_database(world: FakeWorld, node: str, user: str, database: str, text: str) -> None:
    """What one of the account's databases holds from now on."""
    with world.change() as state:
        state["nodes"][node]["accounts"][user]["content"][database] = text


def database_text(world: FakeWorld, node: str, user: str, database: str) -> str:
    return str(world.node(node)["accounts"][user]["content"].get(database, ""))


def break_database(world: FakeWorld, node: str, user: str, *databases: str) -> None:
    """These databases cannot be dumped; none named: all can again."""
    with world.change() as state:
        state["nodes"][node]["accounts"][user]["broken"] = list(databases)


def add_cron(world: FakeWorld, node: str, user: str, line: str) -> None:
    """A line of the crontab that the account's owner added himself."""
    with world.change() as state:
        state["nodes"][node]["accounts"][user]["own_cron"].append(line)
