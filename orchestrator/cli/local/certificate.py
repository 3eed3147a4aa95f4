"""orchestrator certificate: verify works offline; list, show and public-key ask the controller."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import emit_json, say
from orchestrator.cli.remote import certificate as remote


@click.group("certificate")
def group() -> None:
    """Proofs of wiping."""


group.add_command(remote.list_certificates)
group.add_command(remote.show)
group.add_command(remote.public_key)


@group.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--public-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File with the public key it must be signed with: PEM, or as `certificate public-key` prints it. Left out: any key.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def verify(file: Path, public_key: Path | None, as_json: bool) -> None:
    """Check a certificate's signature. Needs no controller, no network and no configuration."""
    from orchestrator import wiring

    verdict = wiring.verify_certificate(file, public_key)
    if as_json:
        emit_json({"ok": verdict.ok, "sentences": list(verdict.sentences)})
    elif verdict.ok:
        for sentence in verdict.sentences:
            say(sentence)
    if not verdict.ok:
        raise Failure(f"{file} does not hold", lines=() if as_json else tuple(verdict.sentences), exit_code=3)
