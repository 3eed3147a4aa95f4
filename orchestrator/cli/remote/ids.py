"""Ids that a shell completes: those of the controller that the command would talk to. Silent where they cannot be had in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from orchestrator.cli.remote.client import DEFAULT_SOCKET, Client, Target, read_token
from orchestrator.cli.tables import Row

# Somebody waits with a finger on the tabulator.
SECONDS = 1.0
_MOST = 200


class Source(NamedTuple):
    """Which list has them, by which field, and what a shell says beside each. ``sorted_by_it``: the list is in their order."""

    path: str
    field: str
    says: Callable[[Row], str]
    sorted_by_it: bool = True


_SERVICES = Source("services", "id", lambda row: f"{row['plan']}, {row['state']}")
_JOBS = Source("jobs", "id", lambda row: f"{row['intent']} of {row['service_id']}, {row['state']}", sorted_by_it=False)
_NODES = Source("nodes", "name", lambda row: f"{row['kind']}, {row['zone']}")
_MACHINES = Source("machines", "name", lambda row: f"{row['machine_class']}, {row['state']}")
SOURCES = {
    **dict.fromkeys(("service", "services", "service_id"), _SERVICES),
    **dict.fromkeys(("node", "to", "left"), _NODES),
    "job": _JOBS,
    "machine": _MACHINES,
}
"""By the name of a parameter, whatever command it is of."""


class _Id(click.types.StringParamType):
    def __init__(self, source: Source) -> None:
        self._source = source

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Nothing, rather than an error in the middle of somebody's line."""
        try:
            return [CompletionItem(value, help=says) for value, says in _found(ctx, self._source, incomplete)]
        except Exception:  # noqa: BLE001 - the rim of a shell's question: there is nobody to tell, and nothing depends on it
            return []


def complete(command: click.Command) -> None:
    """Have a shell complete ids in what this command takes, and in what those below it do."""
    for param in command.params:
        source = SOURCES.get(param.name or "")
        if source is not None and type(param.type) is click.types.StringParamType:
            param.type = _Id(source)
    if isinstance(command, click.Group):
        for below in command.commands.values():
            complete(below)


def _found(context: click.Context, source: Source, begun: str) -> list[tuple[str, str]]:
    client = Client(_target(context))
    try:
        after = _before(begun) if source.sorted_by_it else ""
        rows: list[dict[str, Any]] = client.get(source.path, timeout=SECONDS, limit=_MOST, after=after)["items"]
    finally:
        client.close()
    ids = [(str(row[source.field]), source.says(row)) for row in rows]
    return [each for each in ids if each[0].startswith(begun)]


def _target(context: click.Context) -> Target:
    """Where the options before the command, or the environment, say; of those that are left out a shell's question has none."""
    given = context.find_root().params
    url, socket = given.get("url") or "", given.get("socket") or DEFAULT_SOCKET
    return Target(socket=socket, url=url, token=read_token(given.get("token_file")))


def _before(begun: str) -> str:
    """A cursor right before everything that begins so, itself, too."""
    return f"{begun[:-1]}{chr(ord(begun[-1]) - 1)}~" if begun else ""
