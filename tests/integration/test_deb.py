"""The Debian package, installed by dpkg into a copy of this system that is thrown away (an overlay, in the lab's own mounts)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab.environment import Lab
from tests.live import write_config

pytestmark = pytest.mark.lab

STATE = "/var/lib/orchestrator"


class System:
    """The copy."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *words: str, seconds: float = 180.0) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
        return subprocess.run(
            ["chroot", str(self.root), *words], env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )

    def did(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def as_user(self, *words: str) -> subprocess.CompletedProcess[str]:
        """As the controller's user, where nothing else is known."""
        return self.run("runuser", "-u", "orchestrator", "--", *words)

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")


@pytest.fixture(scope="module")
def system(lab: Lab, package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    place = tmp_path_factory.mktemp("system")
    mounts = ExitStack()

    def mount(target: Path, *words: str) -> None:
        target.mkdir(exist_ok=True, parents=True)
        subprocess.run(["mount", *words, str(target)], check=True, timeout=60)
        mounts.callback(subprocess.run, ["umount", "--lazy", str(target)], check=False, timeout=60)

    with mounts:
        mount(place / "changes", "-t", "tmpfs", "tmpfs")
        for name in ("upper", "work"):
            (place / "changes" / name).mkdir()
        layers = f"lowerdir=/,upperdir={place}/changes/upper,workdir={place}/changes/work"
        mount(place / "root", "-t", "overlay", "overlay", "-o", layers)
        mount(place / "root" / "proc", "-t", "proc", "proc")
        mount(place / "root" / "dev", "--bind", "/dev")
        mount(place / "root" / "run", "-t", "tmpfs", "tmpfs")
        mount(place / "root" / "tmp", "-t", "tmpfs", "tmpfs")
        system = System(place / "root")
        system.path("/run/package.deb").write_bytes(package.read_bytes())
        yield system


def install(system: System) -> str:
    return system.did("dpkg", "-i", "/run/package.deb")


@pytest.fixture(scope="module")
def installed(system: System) -> System:
    assert "samples are in /etc/orchestrator" in install(system)
    return system


@pytest.fixture(scope="module")
def used(installed: System) -> System:
    """With a configuration on simulated nodes, and what ``init`` makes."""
    for samples in ("plans", "policies"):
        shutil.rmtree(installed.path(f"/etc/orchestrator/{samples}"))
    write_config(installed.path("/etc/orchestrator"), state_dir=STATE, socket=f"{STATE}/api.sock")
    installed.did("chown", "-R", "orchestrator:", "/etc/orchestrator/secrets")
    assert installed.as_user("orchestrator", "config", "check").returncode == 0
    made = installed.as_user("orchestrator", "init")
    assert made.returncode == 0, made.stderr
    return installed


def test_the_program_runs_without_this_checkout(installed: System) -> None:
    assert installed.did("orchestrator", "--version").startswith("orchestrator, version")
    where = installed.did("/opt/orchestrator/bin/python", "-c", "import orchestrator, agents; print(orchestrator.__file__)")
    assert where.startswith("/opt/orchestrator/lib/")
    missing = installed.did("/opt/orchestrator/bin/python", "-c", "import importlib.util as u; print(u.find_spec('pytest'))")
    assert missing.strip() == "None"
    assert "complete" in installed.path("/usr/share/bash-completion/completions/orchestrator").read_text(encoding="utf-8")


def test_user_and_directories_are_made_and_nobody_else_reads_them(installed: System) -> None:
    shell = installed.did("getent", "passwd", "orchestrator").strip().rpartition(":")[2]
    assert shell == "/usr/sbin/nologin"
    for directory in (STATE, "/etc/orchestrator/secrets"):
        assert installed.did("stat", "-c", "%U %a", directory).strip() == "orchestrator 700"


def test_a_configuration_that_is_not_made_yet_is_named_and_nothing_runs(installed: System) -> None:
    assert installed.run("pgrep", "-u", "orchestrator").returncode == 1
    found = installed.as_user("orchestrator", "serve")
    assert found.returncode == 2, found.stdout + found.stderr


def test_it_serves_as_its_own_user(used: System) -> None:
    serving = used.as_user("timeout", "--preserve-status", "-s", "TERM", "15", "orchestrator", "serve")
    assert ("serving on" in serving.stdout, serving.returncode) == (True, 0), serving.stdout + serving.stderr


def test_an_upgrade_keeps_configuration_and_state(used: System) -> None:
    before = used.did(
        "sha256sum", "/etc/orchestrator/orchestrator.yaml", f"{STATE}/keys/master.key", f"{STATE}/orchestrator.sqlite"
    )
    assert "samples are in" not in install(used)
    after = used.did(
        "sha256sum", "/etc/orchestrator/orchestrator.yaml", f"{STATE}/keys/master.key", f"{STATE}/orchestrator.sqlite"
    )
    assert after == before


def test_state_and_configuration_outlive_the_package(used: System) -> None:
    """The last one here: the package is gone after it."""
    used.did("dpkg", "-r", "orchestrator")
    assert not used.path("/opt/orchestrator/lib").exists()
    purged = used.did("dpkg", "-P", "orchestrator")
    assert f"{STATE} and /etc/orchestrator stay" in purged
    for kept in ("/etc/orchestrator/orchestrator.yaml", f"{STATE}/keys/master.key", f"{STATE}/orchestrator.sqlite"):
        assert used.path(kept).exists()
