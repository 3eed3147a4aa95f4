"""The unit that is shipped, by systemd's own tools."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from orchestrator.shipped import SAMPLES

UNIT = SAMPLES / "systemd" / "orchestrator.service"
# The scale goes from 0 to 10, and systemd calls what is below 2.5 OK (systemd-analyze(1)).
MOST_EXPOSED = 1.9


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """As shipped, but of a program that there is on every machine."""
    path = tmp_path / UNIT.name
    path.write_text(
        UNIT.read_text(encoding="utf-8").replace("ExecStart=orchestrator serve", "ExecStart=/bin/true"), encoding="utf-8"
    )
    return path


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False)


def test_systemd_finds_no_fault_with_the_unit(unit: Path) -> None:
    found = analyze("verify", str(unit))
    assert (found.returncode, [line for line in found.stderr.splitlines() if str(unit.parent) in line]) == (0, [])


def test_systemd_finds_it_little_exposed(unit: Path) -> None:
    found = analyze("security", "--offline=true", "--no-pager", str(unit))
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", found.stdout)
    assert level is not None, found.stdout + found.stderr
    assert float(level[1]) <= MOST_EXPOSED


def test_the_unit_does_not_try_again_what_trying_does_not_mend() -> None:
    text = UNIT.read_text(encoding="utf-8")
    assert "RestartPreventExitStatus=2 3\n" in text
    assert "User=orchestrator\n" in text
