"""The command line starts without what only the controller needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import write_config
from tests.served import command

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


ENGINE = ("dbos", "fastapi", "uvicorn", "libvirt", "httpx")
STORE = ("sqlalchemy", "alembic")


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration whose state directory is made."""
    directory = write_config(tmp_path_factory.mktemp("startup"))
    assert command("--config", str(directory), "init").returncode == 0
    return directory


@pytest.mark.parametrize(
    ("words", "without"),
    [
        (("config", "check"), (*ENGINE, *STORE, "paramiko", "cryptography")),
        (("config", "show"), (*ENGINE, *STORE, "paramiko", "cryptography")),
        (("certificate", "verify", "/dev/null"), (*ENGINE, *STORE, "paramiko", "yaml", "pydantic")),
        (("init",), ENGINE),
        (("migrate",), (*ENGINE, "paramiko")),
        (("token", "list"), (*ENGINE, "paramiko")),
    ],
    ids=" ".join,
)
def test_a_local_command_imports_only_what_it_needs(state: Path, words: tuple[str, ...], without: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--config", str(state), *words], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "orchestrator" in loaded
    assert loaded.isdisjoint(without), loaded & set(without)
