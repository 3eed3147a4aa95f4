"""The wheel: installed beside nothing of this checkout, it makes a controller that serves on simulated nodes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.lab.daemons import wait_until
from tests.live import write_config

ROOT = Path(__file__).parents[2]
SECONDS = 60.0


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built out of a copy, so that nothing that was built before gets into it."""
    sources, made = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for name in ("orchestrator", "agents", "playbooks", "configs"):
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, sources)
    words = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    subprocess.run([sys.executable, *words, "--wheel-dir", str(made), str(sources)], check=True, timeout=300)
    (found,) = made.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``orchestrator`` of a fresh environment. What it depends on is that of this one: its path is named after its own."""
    place = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True, timeout=120)
    python = place / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check")
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True, timeout=300)
    (site,) = place.glob("lib/python3*/site-packages")
    # Through a link without the files of this checkout's own installation, which would lead back to it.
    others = place / "others"
    others.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "orchestrator" not in path.name:
            (others / path.name).symlink_to(path)
    (site / "others.pth").write_text(f"{others}\n", encoding="utf-8")
    return place / "bin" / "orchestrator"


def run(program: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=120, check=False, cwd="/")


def test_the_wheel_has_all_that_is_no_code(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    shared = {name.partition("/data/share/orchestrator/")[2] for name in names if "/data/share/" in name}
    wanted = {
        str(path.relative_to(ROOT))
        for top in ("configs", "playbooks")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and "debian" not in path.parts
    }
    assert shared == wanted
    assert {"agents/libvirt-hook/orchestrator-hold", "orchestrator/store/migrations/script.py.mako"} <= names
    assert not [name for name in names if name.startswith("tests")]


def test_the_installed_program_checks_makes_and_serves(program: Path, tmp_path: Path) -> None:
    place = write_config(tmp_path)
    words = ("--config", str(place))
    assert run(program, "--version").stdout.startswith("orchestrator, version")
    missing = run(program, "--config", str(place / "nowhere"), "config", "check")
    assert (missing.returncode, f"{program.parents[1]}/share/orchestrator/configs" in missing.stderr) == (2, True)
    checked = run(program, *words, "config", "check")
    assert checked.returncode == 0, checked.stderr
    made = run(program, *words, "init")
    assert made.returncode == 0, made.stderr
    with (place / "log").open("wb") as log:
        serving = subprocess.Popen([program, *words, "serve"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
    try:
        said = place / "log"
        wait_until("the controller", lambda: "serving on" in said.read_text(encoding="utf-8"), seconds=SECONDS, log=said)
        transport = httpx.HTTPTransport(uds=str(place / "api.sock"), verify=False)
        with httpx.Client(transport=transport, base_url="http://controller", timeout=30) as http:
            enrolled = run(
                program, "--socket", str(place / "api.sock"), *("node", "enrol", "n1"), *("--identity", "/etc/hostname"),
                *("--fingerprint", "SHA256:simulated-n1"),
            )  # fmt: skip
            assert enrolled.returncode == 0, enrolled.stderr
            assert [node["enrolled"] for node in http.get("/v1/nodes").json()["items"]] == [True, False]
    finally:
        serving.terminate()
        assert serving.wait(60) == 0


def test_the_samples_that_come_with_it_are_a_configuration_that_says_what_is_missing(program: Path, tmp_path: Path) -> None:
    shutil.copytree(program.parents[1] / "share" / "orchestrator" / "configs", tmp_path / "etc")
    found = run(program, "--config", str(tmp_path / "etc"), "config", "check")
    assert "Traceback" not in found.stderr
    assert found.returncode in (0, 2)
