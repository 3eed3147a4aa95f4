"""Where the configuration is, for every local command."""

from __future__ import annotations

from pathlib import Path

import click


def config_dir(context: click.Context) -> Path:
    """The directory that --config or ORCHESTRATOR_CONFIG named."""
    value = context.meta["orchestrator.config_dir"]
    assert isinstance(value, str)
    return Path(value)
