"""orchestrator deploy-image, and the desk of it that runs beside the API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import emit_json, say
from orchestrator.domain.sizes import size_words

if TYPE_CHECKING:
    from orchestrator.wiring.controller import Controller


@click.group("deploy-image")
def group() -> None:
    """The small system that dedicated machines are booted from to be inspected, installed, erased and tested."""


@group.command("build")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Where the ISO goes; its description goes beside it, as FILE.json.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def build(output: Path, as_json: bool) -> None:
    """Build the ISO out of Debian's packages of this machine's release. Takes some minutes, and needs root or user namespaces."""
    from dataclasses import asdict

    from orchestrator import wiring

    made = wiring.build_deploy_image(output)
    if as_json:
        emit_json(asdict(made))
        return
    say(f"{output}: {size_words(made.bytes)}, Linux {made.kernel}")
    say(f"SHA-256 {made.sha256}")


@contextmanager
def beside_desk(controller: Controller) -> Iterator[None]:
    """Serve the desk for as long as the block takes, where one is configured. Raises ConfigError where it cannot be."""
    from orchestrator.api import server
    from orchestrator.api.deploy import create_desk
    from orchestrator.drivers.local.desk_identity import desk_identity
    from orchestrator.wiring.deploy import desk_of

    deploy = controller.config.settings.deploy
    desk = desk_of(controller.config, controller.desk_book, controller.clock)
    if deploy is None or desk is None:
        yield
        return
    identity = desk_identity(controller.config.settings.state_dir)
    with server.beside(
        create_desk(desk), server.bind_tcp(deploy.listen, setting="deploy.listen"), identity, what="the desk of the deploy image"
    ):
        say(f"the desk of the deploy image is served on {deploy.listen}")
        yield
