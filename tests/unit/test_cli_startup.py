"""The command line starts without what only the controller needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("dbos", "sqlalchemy", "pydantic", "fastapi", "uvicorn", "alembic", "libvirt", "paramiko")
PROGRAM = "import sys; from orchestrator.cli.main import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"


@pytest.mark.parametrize(
    "words", [("--help",), ("service", "list", "--help"), ("job", "watch", "--help"), ("config", "check", "--help")]
)
def test_help_imports_no_heavy_library(words: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("Usage: orchestrator")
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "click" in loaded
    assert loaded.isdisjoint(HEAVY)
