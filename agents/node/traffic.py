"""What went through the network interfaces of the guests that run, as the kernel has counted it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agents.node.call import Call

_TICKS = os.sysconf("SC_CLK_TCK")


def guest_traffic(call: Call) -> dict[str, Any]:
    """``guests``: a row for each whose QEMU runs, of whomever it is.

    ``run`` names one life of its counters: the boot of this machine and the moment at which its QEMU began, so that a new one is
    known whatever they say. ``age_seconds``: so old was the run. ``in_bytes`` and ``out_bytes`` are the guest's: what the
    host received of a tap is what its guest sent.
    """
    root = call.place.root
    boot = (root / "proc/sys/kernel/random/boot_id").read_text().strip()
    found = (_guest(root, file, boot) for file in sorted((root / "run/libvirt/qemu").glob("*.pid")))
    return {"guests": [row for row in found if row is not None]}


def _guest(root: Path, file: Path, boot: str) -> dict[str, Any] | None:
    """None for one that has ended, or ends while it is looked at."""
    name = file.name.removesuffix(".pid")
    try:
        process = root / "proc" / str(int(file.read_text()))
        if not _is_qemu_of(process, name):  # the number may be another's by now
            return None
        began = _began(process)
        uptime = float((root / "proc/uptime").read_text().split()[0])
        taps = set(_taps(process))
        counted = [(received, sent) for tap, received, sent in _interfaces(process) if tap in taps]
        if _began(process) != began:
            return None
    except (OSError, ValueError):
        return None
    return {
        "name": name,
        "run": f"{boot}/{began}",
        "age_seconds": round(max(uptime - began / _TICKS, 0.0), 2),
        "in_bytes": sum(sent for _, sent in counted),
        "out_bytes": sum(received for received, _ in counted),
    }


def _is_qemu_of(process: Path, name: str) -> bool:
    """Its command line says `-name guest=NAME,…`."""
    words = (process / "cmdline").read_bytes().split(b"\0")
    return any(word.partition(b",")[0] == b"guest=" + name.encode() for word in words)


def _began(process: Path) -> int:
    """Ticks after the boot: field 22 of stat (proc(5)). The second field, in brackets, may hold anything."""
    return int((process / "stat").read_text(errors="replace").rpartition(")")[2].split()[19])


def _taps(process: Path) -> Iterator[str]:
    """The taps that it holds open: the kernel says `iff:` and the name for each (drivers/net/tun.c)."""
    for file in (process / "fdinfo").iterdir():
        try:
            lines = file.read_text(errors="replace").splitlines()
        except OSError:  # closed meanwhile
            continue
        yield from (line.partition(":")[2].strip() for line in lines if line.startswith("iff:"))


def _interfaces(process: Path) -> Iterator[tuple[str, int, int]]:
    """Name, bytes received, bytes sent, in the network namespace of the process (proc(5), /proc/net/dev)."""
    for line in (process / "net/dev").read_text().splitlines()[2:]:
        name, _, rest = line.strip().partition(":")
        words = rest.split()
        yield name, int(words[0]), int(words[8])
