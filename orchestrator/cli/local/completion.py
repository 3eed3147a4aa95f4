"""orchestrator completion"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from orchestrator.cli.output import say

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_ORCHESTRATOR_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, /, shell: str) -> None:
    """Print what has SHELL complete commands and options."""
    found = get_completion_class(shell)
    assert found is not None
    say(found(context.find_root().command, {}, "orchestrator", _VARIABLE).source())
