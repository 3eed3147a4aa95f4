"""What the doctor asks of a machine by which backups are made: restic that is new enough, and a device to show a disk by."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from agents.node import backup_needs
from agents.node.backup_needs import needs, restic
from agents.node.place import Place


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of its own: nothing is installed on it but what the test puts there."""
    monkeypatch.setattr(backup_needs, "PATH", str(tmp_path))
    return tmp_path


def install(directory: Path, name: str, said: str, status: int = 0) -> None:
    program = directory / name
    program.write_text(f"#!/bin/sh\necho '{said}'\nexit {status}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("said", "ok"),
    [
        ("restic 0.18.0 compiled with go1.24.4 on linux/amd64", True),
        ("restic 0.18 compiled with go1.24.4", True),
        ("restic 0.19.1-dev (compiled manually)", True),
        ("restic 1.0.0", True),
        ("restic 0.14.0 compiled with go1.19.8 on linux/amd64", False),
        ("restic 0.17.99", False),
        ("resticish 0.18.0", False),
        ("", False),
    ],
)
def test_restic_is_new_enough_from_018_on(programs: Path, said: str, ok: bool) -> None:
    install(programs, "restic", said)
    found = restic()
    assert (found["ok"], bool(found["mend"])) == (ok, not ok)
    assert found["package"] == "", "the release's own package would be as old again"


def test_an_older_one_is_told_with_its_version_and_where_a_newer_one_is(programs: Path) -> None:
    install(programs, "restic", "restic 0.14.0 compiled with go1.19.8 on linux/amd64")
    found = restic()
    assert "0.14.0" in found["found"]
    assert "0.18" in found["mend"]
    assert "docs/install.md" in found["mend"]


def test_what_is_missing_is_named_with_its_package(programs: Path) -> None:
    rows = {row["name"]: row for row in needs(Place(programs))}
    assert set(rows) == {"restic", "qemu-nbd", "fuse", "libnbd"}
    assert (rows["restic"]["ok"], rows["restic"]["package"]) == (False, "restic")
    assert (rows["qemu-nbd"]["ok"], rows["qemu-nbd"]["package"]) == (False, "qemu-utils")
    assert rows["fuse"]["ok"] is False
    assert str(programs / "dev/fuse") in rows["fuse"]["found"] or rows["fuse"]["package"] == "fuse3"
    install(programs, "qemu-nbd", "")
    assert {row["name"]: row for row in needs(Place(programs))}["qemu-nbd"]["ok"]


def test_libnbd_is_looked_for_where_the_agent_runs(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (False, True):
        monkeypatch.setattr(importlib.util, "find_spec", lambda _name, there=there: there or None)
        row = {row["name"]: row for row in needs(Place(programs))}["libnbd"]
        assert (row["ok"], row["package"]) == (there, "" if there else "python3-libnbd")
