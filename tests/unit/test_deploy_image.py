"""The pure parts of building the deploy image, and of serving it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.api.deploy.guesses import MOST, Guesses
from orchestrator.api.deploy.ranged import chosen, replaced
from orchestrator.domain.errors import ConfigError
from orchestrator.drivers.deployimage import base, elf, packages
from orchestrator.drivers.deployimage.archive import Archive
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.drivers.local.desk_identity import desk_identity, fingerprint, init_desk


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("", (0, 100)),
        ("bytes=0-9", (0, 10)),
        ("bytes=90-", (90, 100)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=0-0,5-6", (0, 100)),
        ("furlongs=1-2", (0, 100)),
        ("bytes=-", (0, 100)),
        ("bytes=100-", None),
        ("bytes=9-8", None),
        ("bytes=-0", None),
    ],
)
def test_what_a_range_asks_for(asked: str, part: tuple[int, int] | None) -> None:
    assert chosen(asked, 100) == part


def test_however_a_file_is_cut_the_replaced_part_is_the_same() -> None:
    file, instead = bytes(range(60)), {10: b"SEED", 50: b"SEED"}
    whole = file[:10] + b"SEED" + file[14:50] + b"SEED" + file[54:]
    for step in range(1, 61):
        pieces = [replaced(file[at : at + step], at, instead) for at in range(0, 60, step)]
        assert b"".join(pieces) == whole


def test_an_archive_is_what_cpio_reads() -> None:
    made = Archive()
    made.file("usr/bin/tool", b"#!x\n", mode=0o755)
    made.link("bin", "usr/bin")
    made.device("dev/console", 5, 1)
    listed = subprocess.run(["/bin/busybox", "cpio", "-tv"], input=made.packed(time=0), capture_output=True, check=True)
    rows = {line.split()[-1] if "->" not in line else "bin": line[:10] for line in listed.stdout.decode().splitlines()}
    assert rows["usr/bin/tool"] == "-rwxr-xr-x"
    assert rows["usr/bin"] == "drwxr-xr-x"
    assert rows["bin"].startswith("l")
    assert rows["dev/console"].startswith("c")


def test_the_same_content_is_the_same_archive_in_whatever_order_it_came() -> None:
    first, second = Archive(), Archive()
    first.file("a/b", b"1")
    first.file("a/c", b"2")
    second.file("a/c", b"2")
    second.file("a/b", b"1")
    assert first.packed(time=5) == second.packed(time=5)
    assert first.packed(time=5) != first.packed(time=6)


def test_a_program_names_its_libraries_and_its_interpreter() -> None:
    found = elf.needed(Path(sys.executable).resolve().read_bytes())
    assert "libc.so.6" in found
    assert any(name.startswith("/lib64/ld-linux") for name in found)
    assert elf.needed(b"#!/bin/sh\n") == ()


def test_modules_come_with_what_they_need_and_what_a_kernel_has_not_is_passed_over() -> None:
    dep = [
        "kernel/a/e1000e.ko: kernel/p/ptp.ko kernel/p/pps.ko",
        "kernel/p/ptp.ko: kernel/p/pps.ko",
        "kernel/p/pps.ko:",
        "k/x.ko:",
    ]
    assert base.chosen(dep, ["e1000e", "no-such"]) == ["kernel/a/e1000e.ko", "kernel/p/pps.ko", "kernel/p/ptp.ko"]
    assert base.chosen(["kernel/mpt-x.ko.xz:"], ["mpt_x"]) == ["kernel/mpt-x.ko.xz"]


def test_a_program_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(packages.TOOLS, "no-such-program", "no-such-package")
    with pytest.raises(ConfigError, match="no-such-package") as caught:
        packages.require_tools()
    assert caught.value.hint == "apt-get install no-such-package"


def test_wrong_guesses_of_one_address_stop_that_address_only() -> None:
    guesses = Guesses(SystemClock())
    for _ in range(MOST):
        assert not guesses.too_many("a")
        guesses.wrong("a")
    assert guesses.too_many("a")
    assert not guesses.too_many("b")


def test_the_desks_certificate_is_made_once_and_its_key_is_nobody_elses(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    with pytest.raises(ConfigError, match="missing"):
        desk_identity(tmp_path)
    init_desk(tmp_path)
    certificate, key = desk_identity(tmp_path)
    first = fingerprint(certificate)
    init_desk(tmp_path)
    assert fingerprint(certificate) == first
    assert len(first) == 64
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="other users"):
        desk_identity(tmp_path)
