"""orchestrator service reinstall: the operating system of a guest or a machine, from outside of it."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.remote.asking import ask
from orchestrator.cli.remote.confirm import confirm, meant_option
from orchestrator.cli.remote.options import NeededToAct, dry_run_option, json_option, watch_option


@click.command("reinstall")
@click.argument("service")
@click.option("--template", default="", help="What is installed; left out: the template that it has.")
@click.option("--all-disks", is_flag=True, help="Of a machine: erase every disk first, not only write over the system's.")
@click.option("--reason", "--why", "reason", cls=NeededToAct, help="Why; goes into the audit. Only --dry-run needs none.")
@meant_option
@dry_run_option
@watch_option
@json_option
@click.pass_context
def reinstall(
    context: click.Context, /, service: str, template: str, all_disks: bool, reason: str | None, meant: str, **options: Any
) -> None:
    """Install the system of a guest or a machine anew, with the same addresses and keys. What is on its disk is lost."""
    if not options["dry_run"]:
        confirm(service, meant, what="reinstall destroys data", warning=f"This destroys what is on the disk of {service}.")
    body = {"reason": reason or "", "template": template, "all_disks": all_disks}
    ask(context, service, "reinstall", body, options)


COMMANDS = (reinstall,)
