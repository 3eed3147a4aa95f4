"""Looking from outside: what libvirt says."""

from __future__ import annotations

import subprocess

from tests.lab.environment import URI


def virsh(*words: str) -> subprocess.CompletedProcess[str]:
    """One virsh command in the lab; its exit code is for the caller to judge."""
    return subprocess.run(["virsh", "-q", "-c", URI, *words], capture_output=True, text=True, timeout=120)
