"""What operators type: ids are one step of a path and nothing more, and a token is never repeated to anybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cli.failure import Failure
from orchestrator.cli.remote.client import below, read_token
from tests.served import command, process


def test_an_id_is_one_step_of_a_path_whatever_it_contains() -> None:
    assert below("jobs", "../services/a1") == "jobs/..%2Fservices%2Fa1"
    assert below("services", "a1?dry_run=x#y", "explain") == "services/a1%3Fdry_run%3Dx%23y/explain"
    assert below("services", "a-1_b") == "services/a-1_b"


@pytest.mark.parametrize("part", ["", ".", "..", "a\nb", "a\udcff"])
def test_what_can_be_no_id_is_refused(part: str) -> None:
    with pytest.raises(Failure) as caught:
        below("services", part, "explain")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("content", ["first-secret\nsecond-secret\n", "one secret"])
def test_a_token_file_with_more_than_a_token_is_refused_without_its_content(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content, encoding="ascii")
    done = command("--url", "http://127.0.0.1:9", "--token-file", str(path), "service", "list")
    assert done.returncode == 2
    assert "one token" in done.stderr
    assert "secret" not in done.stderr


def test_a_token_is_read_without_its_line_end(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("abc-DEF_1\n", encoding="ascii")
    assert read_token(str(path)) == "abc-DEF_1"


def test_a_file_without_an_end_is_neither_a_certificate_nor_a_key(tmp_path: Path) -> None:
    done = process("certificate", "verify", "/dev/zero")
    assert done.returncode == 3
    assert "far too large" in done.stderr
    (tmp_path / "certificate").write_text("{}", encoding="ascii")
    done = process("certificate", "verify", str(tmp_path / "certificate"), "--public-key", "/dev/zero")
    assert done.returncode == 2
    assert "holds no Ed25519 public key" in done.stderr
