"""Local commands of a user who may not, and state directories that cannot be or must not be used: a sentence, no surprise."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.domain.errors import ConfigError
from orchestrator.drivers.local.files import make_private_directory
from orchestrator.drivers.local.keys import LocalSecrets, init_keys
from orchestrator.store.database import Database, sqlite_url
from tests.live import SECRET, write_config
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


def test_a_configuration_that_this_user_may_not_look_into_is_not_called_missing(tmp_path: Path) -> None:
    """Who is told to begin with the samples would copy them over it."""
    write_config(tmp_path / "config")
    (tmp_path / "config").chmod(0)
    before = os.geteuid()
    os.seteuid(NOBODY if before == 0 else before)
    try:
        done = command("--config", str(tmp_path / "config"), "config", "check")
    finally:
        os.seteuid(before)
        (tmp_path / "config").chmod(0o700)
    assert done.returncode == 2
    assert "orchestrator.yaml: the file cannot be read: Permission denied" in done.stderr
    assert "missing" not in done.stderr


@pytest.fixture
def of_nobody(tmp_path: Path) -> Iterator[Path]:
    """A configuration whose state directory and secrets are another user's, as a package leaves them; this process is root."""
    write_config(tmp_path)
    for path in (tmp_path / "state", *(tmp_path / "secrets").iterdir()):
        if path.name == "state":
            path.mkdir(mode=0o700)
        os.chown(path, NOBODY, NOBODY)
    closed = [path for path in (tmp_path, *tmp_path.parents) if not path.stat().st_mode & stat.S_IXOTH]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in closed}
    for path, mode in modes.items():
        path.chmod(mode | stat.S_IXOTH)
    yield tmp_path
    for path, mode in modes.items():
        path.chmod(mode)


@pytest.mark.parametrize("words", ["init", "serve", "migrate", "rotate-master-key", "token list"])
def test_root_leaves_nothing_in_the_state_directory_of_another_user(of_nobody: Path, words: str) -> None:
    """What root makes there the controller's user can neither read nor take away: it would not start any more."""
    done = command("--config", str(of_nobody), *words.split())
    assert (done.returncode, "belongs to another user" in done.stderr) == (2, True), done.stderr
    assert "sudo -u" in done.stderr
    assert not list((of_nobody / "state").iterdir())


def test_the_doctor_of_root_looks_with_the_eyes_of_the_controllers_user(of_nobody: Path) -> None:
    (of_nobody / "secrets" / "old").unlink()
    (of_nobody / "secrets" / "old").touch(mode=0o600)  # root's own: the controller could not read it
    (of_nobody / "secrets" / "old").write_text(SECRET, encoding="ascii")
    findings = json.loads(command("--config", str(of_nobody), "doctor", "--json").stdout)["findings"]
    secrets = [(finding["ok"], finding["found"]) for finding in findings if finding["name"] == "secret of shop"]
    assert secrets[0] == (True, str(of_nobody / "secrets" / "newest"))
    assert secrets[1][0] is False
    assert "cannot be read" in secrets[1][1]
    assert (os.geteuid(), os.getegid()) == (0, 0)
    assert {path.stat().st_uid for path in (of_nobody / "state").iterdir()} <= {NOBODY}
