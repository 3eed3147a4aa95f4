"""Where the controller keeps what it logs in to nodes with."""

from __future__ import annotations

from pathlib import Path

from orchestrator.config.model import Settings


def identity_of(settings: Settings) -> Path:
    """Its private SSH key."""
    return settings.state_dir / "keys" / "ssh" / "id_ed25519"
