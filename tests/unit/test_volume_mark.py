"""By what it is known that nobody wrote to a volume's file: the same mark only where nothing of it changed, and none in doubt."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.node.wipe import SETTLED_NS, mark


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    made = tmp_path / "orch.s1.root.j1.qcow2"
    made.write_bytes(b"x" * 8192)
    return made


def later(path: Path) -> str:
    """Its mark, long after all that was done to it."""
    status = path.stat()
    return mark(status, now=status.st_ctime_ns + 10 * SETTLED_NS)


def test_what_was_only_read_keeps_its_mark(volume: Path) -> None:
    before = later(volume)
    volume.read_bytes()
    os.utime(volume.parent)
    assert before == later(volume) != ""


def test_whatever_is_done_to_the_file_changes_its_mark(volume: Path) -> None:
    marks = [later(volume)]
    times = volume.stat()
    volume.write_bytes(b"y" * 8192)
    os.utime(volume, ns=(times.st_atime_ns, times.st_mtime_ns))  # as it was; its ctime nobody can set
    marks.append(later(volume))
    volume.chmod(0o640)
    marks.append(later(volume))
    copy = volume.with_name("copy")
    copy.write_bytes(volume.read_bytes())
    copy.replace(volume)
    marks.append(later(volume))
    assert len(set(marks)) == len(marks)


@pytest.mark.parametrize("age", [-SETTLED_NS, 0, SETTLED_NS - 1])
def test_what_changed_a_moment_ago_or_is_of_the_future_has_none(volume: Path, age: int) -> None:
    status = volume.stat()
    newest = max(status.st_ctime_ns, status.st_mtime_ns)
    assert mark(status, now=newest + age) == ""
    assert mark(status, now=newest + SETTLED_NS) != ""
