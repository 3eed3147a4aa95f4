"""What the agent reads of guests' taps, on a made-up /proc."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_agent_protocol import ask

DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 9999 1 0 0 0 0 0 0 9999 1 0 0 0 0 0 0
 vnet0: 700 7 0 0 0 0 0 0 4100 9 0 0 0 0 0 0
 vnet1:50 1 0 0 0 0 0 0 6 1 0 0 0 0 0 0
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "proc/sys/kernel/random/boot_id", "boot-1\n")
    write(tmp_path / "proc/uptime", "1000.50 1900.00\n")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def process(root: Path, pid: int, guest: str, *, began: int = 90_000, taps: tuple[str, ...] = ("vnet0",)) -> None:
    there = root / "proc" / str(pid)
    write(there / "cmdline", f"qemu-system-x86_64\0-name\0guest={guest},debug-threads=on\0")
    write(there / "stat", f"{pid} (CPU 0/KVM) x) S " + " ".join(["1"] * 18) + f" {began} 5 6\n")
    write(there / "net/dev", DEV)
    write(there / "fdinfo/3", "pos:\t0\nflags:\t02\n")
    for number, tap in enumerate(taps):
        write(there / f"fdinfo/{20 + number}", f"pos:\t0\niff:\t{tap}\n")


def rows(root: Path) -> list[dict[str, Any]]:
    code, answer = ask("guest-traffic", {}, root)
    assert code == 0, answer
    return list(answer["result"]["guests"])


def test_what_the_host_received_of_a_tap_is_what_its_guest_sent(root: Path) -> None:
    write(root / "run/libvirt/qemu/orch.s1.pid", "77")
    process(root, 77, "orch.s1")
    counted = {"in_bytes": 4100, "out_bytes": 700}
    assert rows(root) == [{"name": "orch.s1", "run": "boot-1/90000", "age_seconds": 100.5, **counted}]


def test_all_its_taps_count_each_once(root: Path) -> None:
    write(root / "run/libvirt/qemu/orch.s1.pid", "77")
    process(root, 77, "orch.s1", taps=("vnet0", "vnet1", "vnet0"))
    (row,) = rows(root)
    assert (row["in_bytes"], row["out_bytes"]) == (4106, 750)


def test_a_number_that_is_another_process_by_now_is_nobody_s(root: Path) -> None:
    write(root / "run/libvirt/qemu/orch.s1.pid", "77")
    write(root / "run/libvirt/qemu/orch.s2.pid", "78")
    write(root / "run/libvirt/qemu/orch.s3.pid", "what")
    process(root, 77, "orch.s11")
    assert rows(root) == []


def test_a_machine_without_guests_has_none(root: Path) -> None:
    assert rows(root) == []
