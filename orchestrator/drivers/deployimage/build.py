"""From nothing to the image in its place: whole, or as it was before."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator.domain.errors import ConfigError
from orchestrator.drivers.deployimage import base, iso, packages
from orchestrator.drivers.deployimage.iso import Description


def build(output: Path, *, prepared: Path | None = None) -> Description:
    """Write the ISO to ``output`` and its description beside it as FILE.json. ``prepared``: what ``base.make`` made before.

    Raises ConfigError where this machine lacks something, PermanentDriverError where a program fails.
    """
    packages.require_tools()
    if not output.parent.is_dir():
        raise ConfigError(f"there is no directory {output.parent}", hint="make it, or name another file with --output")
    with TemporaryDirectory(prefix=".deploy-image-", dir=output.parent) as name:
        scratch = Path(name)
        made = prepared
        if made is None:
            made = scratch / "base"
            base.make(made, scratch)
        whole = scratch / output.name
        description = iso.assemble(made, whole, scratch)
        # The description first: one of another image is found out by its length and hash, none at all is not.
        beside = output.with_name(f"{output.name}.json")
        whole.with_name(f"{whole.name}.json").replace(beside)
        whole.replace(output)
    return description
