"""The lock files: what is installed is what was tested."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def locked(name: str) -> dict[str, str]:
    """The version and the hashes of each distribution."""
    text = (ROOT / name).read_text(encoding="utf-8")
    found = re.findall(r"(?m)^([A-Za-z0-9._-]+(?:\[[^]]*\])?==[^\n]*(?:\n    --hash[^\n]*)+)", text)
    return {re.split(r"[\[=]", block)[0]: block for block in found}


def test_what_is_installed_has_the_versions_that_are_tested() -> None:
    installed, tested = locked("requirements.lock"), locked("requirements-dev.lock")
    assert len(installed) > 40
    assert {name: block for name, block in installed.items() if tested.get(name) != block} == {}
