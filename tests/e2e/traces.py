"""Looking from outside: what libvirt says, and what can be read from a raw device."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.lab.environment import URI

_PIECE = 8 << 20


def virsh(*words: str) -> subprocess.CompletedProcess[str]:
    """One virsh command in the lab; its exit code is for the caller to judge."""
    return subprocess.run(["virsh", "-q", "-c", URI, *words], capture_output=True, text=True, timeout=120)


def on_device(device: Path, marker: bytes) -> int | None:
    """The byte offset at which ``marker`` can first be read from the device, or None. Reads all of it, the free space too."""
    subprocess.run(["sync"], check=True, timeout=120)
    overlap = len(marker) - 1
    rest = b""
    position = 0
    with device.open("rb", buffering=0) as raw:
        while piece := raw.read(_PIECE):
            window = rest + piece
            at = window.find(marker)
            if at >= 0:
                return position - len(rest) + at
            rest = window[-overlap:] if overlap else b""
            position += len(piece)
    return None
