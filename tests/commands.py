"""The options of all commands, for tests that read what --help says."""

from __future__ import annotations

from collections.abc import Iterator

import click


def options(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Option]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from options(inner, (*path, name))
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield path, parameter
