"""Asking a person whether that is really meant, for what cannot be taken back."""

from __future__ import annotations

import sys

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import say

meant_option = click.option(
    "--yes-i-mean", "meant", default="", metavar="SERVICE", help="For scripts: the service's id once more."
)


def confirm(service: str, meant: str, *, what: str, warning: str) -> None:
    """Raises Failure unless the service's id is given once more."""
    if not meant:
        if not sys.stdin.isatty():
            raise Failure(what, hint=f"say so: --yes-i-mean {service}", exit_code=2)
        say(f"{warning} There is no way back.", err=True)
        meant = click.prompt("Type the service's id to go on", default="", show_default=False, err=True)
    if meant != service:
        raise Failure(f"'{meant}' is not '{service}': nothing was done", exit_code=2)
