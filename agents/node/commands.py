"""The commands: which fields each takes, and what it runs. The parts of the agent have a table of them each."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agents.node.arguments import Field
from agents.node.call import Call

Run = Callable[[Call], dict[str, Any]]

_TABLES = {
    "agents.node.table": ("hello", "doctor", "template", "volume", "secret", "guest", "residue", "pool"),
    "agents.node.restic.table": ("repository", "directory"),
    "agents.node.disk.table": ("disk",),
    "agents.node.hosting.table": ("hosting", "account", "node"),
}
"""By the first words of their commands."""


@dataclass(frozen=True, slots=True)
class Command:
    """``fields`` is all that a request may hold; ``run`` gets them checked. ``lasting``: goes on although nobody listens."""

    fields: Mapping[str, Field]
    run: Run
    lasting: bool = False


class _Commands(Mapping[str, Command]):
    """A table is imported when one of its commands is asked for: all of them would take a call longer than most of the work."""

    def __getitem__(self, name: str) -> Command:
        first = name.partition("-")[0]
        for table, words in _TABLES.items():
            if first in words:
                return _read(table)[name]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for table in _TABLES for name in _read(table))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _read(table: str) -> dict[str, Command]:
    module = importlib.import_module(table)
    lasting: frozenset[str] = getattr(module, "LASTING", frozenset())
    return {name: Command(fields, run, lasting=name in lasting) for name, (fields, run) in module.TABLE.items()}


COMMANDS: Mapping[str, Command] = _Commands()
