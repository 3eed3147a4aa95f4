"""What enrolment runs on a machine: everything in its place or nothing, and the operator's own keys untouched."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.build import bundle
from agents.install import authorized_keys

OPERATOR = "ssh-ed25519 AAAAoperator ops@desk"
OPTIONS = 'from="10.0.0.0/8",command="/bin/date" ssh-rsa AAAAbackup backup'
OURS = 'restrict,command="/usr/local/lib/orchestrator/launcher" ssh-ed25519 AAAAcontroller orchestrator-controller'


@pytest.mark.parametrize(
    ("present", "after"),
    [
        ("", [OURS]),
        (f"{OPERATOR}\n", [OPERATOR, OURS]),
        (OPERATOR, [OPERATOR, OURS]),
        (f"# ours\n\n{OPTIONS}\n{OPERATOR}\n", ["# ours", "", OPTIONS, OPERATOR, OURS]),
        (f"{OURS}\n{OPERATOR}\n", [OPERATOR, OURS]),
        (f"ssh-ed25519 AAAAcontroller with a shell\n{OPERATOR}\n{OURS}\n", [OPERATOR, OURS]),
    ],
)
def test_the_controllers_key_stands_once_and_only_with_its_forced_command(present: str, after: list[str]) -> None:
    assert authorized_keys(present, OURS).splitlines() == after
    assert authorized_keys(authorized_keys(present, OURS), OURS) == authorized_keys(present, OURS)


def request(root: Path, *, version: str = "1") -> dict[str, Any]:
    def file(name: str, mode: int) -> dict[str, Any]:
        return {"path": f"{root}/{name}", "mode": mode, "content": base64.b64encode(f"{name} {version}".encode()).decode()}

    return {
        "files": [file(f"lib/agent-{version}/node-agent.pyz", 0o644), file("lib/launcher", 0o755), file("etc/agent.json", 0o600)],
        "links": {f"{root}/lib/agent": f"agent-{version}"},
        "prune": {"directory": f"{root}/lib", "prefix": "agent-", "keep": f"agent-{version}"},
        "key": {"line": OURS, "home": str(root / "home")},
    }


def install(wanted: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-I", "-c", bundle().installer],
        input=json.dumps(wanted).encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == b""
    return done.returncode, json.loads(done.stdout)


def tree(root: Path) -> dict[str, tuple[str, int]]:
    """Every file and link below ``root`` with its content (or target) and mode."""
    return {
        str(p.relative_to(root)): (str(p.readlink()), 0) if p.is_symlink() else (p.read_text(), p.stat().st_mode & 0o7777)
        for p in sorted(root.rglob("*"))
        if p.is_symlink() or p.is_file()
    }


def test_everything_is_put_in_place_with_its_mode_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    code, answer = install(request(tmp_path))
    assert (code, len(answer["changed"])) == (0, 5)
    assert tree(tmp_path) == {
        "etc/agent.json": ("etc/agent.json 1", 0o600),
        "home/.ssh/authorized_keys": (f"{OURS}\n", 0o600),
        "lib/agent": ("agent-1", 0),
        "lib/agent-1/node-agent.pyz": ("lib/agent-1/node-agent.pyz 1", 0o644),
        "lib/launcher": ("lib/launcher 1", 0o755),
    }
    assert (tmp_path / "home/.ssh").stat().st_mode & 0o7777 == 0o700
    assert install(request(tmp_path)) == (0, {"changed": []})


def test_a_mode_that_somebody_loosened_is_set_right(tmp_path: Path) -> None:
    install(request(tmp_path))
    (tmp_path / "lib/launcher").chmod(0o777)
    assert install(request(tmp_path)) == (0, {"changed": [f"{tmp_path}/lib/launcher"]})
    assert (tmp_path / "lib/launcher").stat().st_mode & 0o7777 == 0o755


def test_a_new_version_replaces_the_old_one_whole(tmp_path: Path) -> None:
    install(request(tmp_path))
    code, _ = install(request(tmp_path, version="2"))
    assert code == 0
    assert (tmp_path / "lib/agent/node-agent.pyz").read_text() == "lib/agent-2/node-agent.pyz 2"
    assert sorted(p.name for p in (tmp_path / "lib").iterdir()) == ["agent", "agent-2", "launcher"]


@pytest.mark.parametrize("obstacle", ["etc", "etc/agent.json/full", "home/.ssh/authorized_keys/full", "lib/agent/full"])
@pytest.mark.parametrize("before", [False, True], ids=["first", "upgrade"])
def test_a_failure_leaves_what_was_there_and_nothing_else(obstacle: str, before: bool, tmp_path: Path) -> None:
    if before:
        install(request(tmp_path))
    blocked = tmp_path / obstacle
    for present in (blocked, *blocked.parents):
        if present.is_symlink() or present.is_file():
            present.unlink()
    if blocked.is_dir():
        for name in list(blocked.iterdir()):
            name.unlink()
        blocked.rmdir()
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("in the way")
    was = tree(tmp_path)
    code, answer = install(request(tmp_path, version="2"))
    assert code == 1
    assert answer["error"]
    assert tree(tmp_path) == was
