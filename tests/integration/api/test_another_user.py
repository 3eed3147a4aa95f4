"""Local commands of a user who may not, and state directories that cannot be or must not be used: a sentence, no surprise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.domain.errors import ConfigError
from orchestrator.drivers.local.files import make_private_directory
from orchestrator.drivers.local.keys import LocalSecrets, init_keys
from orchestrator.store.database import Database, sqlite_url
from tests.live import write_config
from tests.served import command, process

NOBODY = 65534


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A state directory that this process may not look into."""
    state = tmp_path / "state"
    init_keys(state)
    state.chmod(0)
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield state
    finally:
        os.seteuid(before)
        state.chmod(0o700)


def test_what_this_user_may_not_use_is_refused_with_a_sentence(closed: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be"):
        make_private_directory(closed / "below")
    with pytest.raises(ConfigError, match="cannot be looked at"):
        LocalSecrets(closed, {})
    with pytest.raises(ConfigError, match="cannot be"):
        Database(sqlite_url(closed / "orchestrator.sqlite")).migrated()


@pytest.mark.parametrize("words", ["init", "serve", "doctor"])
def test_a_state_directory_that_cannot_be_is_told(tmp_path: Path, words: str) -> None:
    write_config(tmp_path, state_dir="/etc/passwd/x")
    done = command("--config", str(tmp_path), words)
    assert done.returncode in (2, 3), done.stderr
    assert "unexpected" not in done.stderr
    assert "/etc/passwd/x" in done.stderr + done.stdout


def test_a_state_directory_that_others_may_write_is_not_served_from(tmp_path: Path) -> None:
    write_config(tmp_path)
    assert command("--config", str(tmp_path), "init").returncode == 0
    (tmp_path / "state").chmod(0o777)
    done = process("--config", str(tmp_path), "serve")
    assert done.returncode == 2
    assert "can write into" in done.stderr
