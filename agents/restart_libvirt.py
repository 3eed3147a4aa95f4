"""Restarts the libvirt daemon that runs QEMU guests, and waits until it answers. Guests go on running.

Run on a node as ``python3 -I -c SOURCE`` over the operator's own access. Exit code 0 = restarted; else a sentence on stderr.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

UNITS = ("virtqemud", "libvirtd")
SOCKETS = ("/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock")
SECONDS = 60.0


def listener(path: str) -> int:
    """The process that listens on a Unix socket (SO_PEERCRED, unix(7)); 0 = none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5)
        try:
            probe.connect(path)
        except OSError:
            return 0
        return int(struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])


def wait_for(path: str, *, not_pid: int = 0, gone: int = 0) -> bool:
    """Wait until somebody else than ``not_pid`` listens, or with ``gone`` until that process has ended."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if gone and not _alive(gone):
            return True
        if not gone and listener(path) not in (0, not_pid):
            return True
        time.sleep(0.1)
    return False


def _alive(pid: int) -> bool:
    """A daemon whose first thread has ended holds its locks until its last one has: the next would not start (proc(5), stat)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] != "Z" or int(fields[17]) > 1


def _confinement(pid: int) -> str:
    """The AppArmor profile of the process; '' where it has none."""
    try:
        profile = Path(f"/proc/{pid}/attr/apparmor/current").read_text().strip()
    except OSError:
        return ""
    return "" if profile == "unconfined" else profile


def _unconfine() -> None:
    """What ran outside of any profile goes on doing so (apparmor(7)); without AppArmor there is nothing to say."""
    with contextlib.suppress(OSError):
        Path("/proc/self/attr/apparmor/exec").write_text("exec unconfined")


def by_systemd() -> bool:
    """Restart the units that are active; a daemon that systemd starts on demand reads its hooks then anyway."""
    for unit in UNITS:
        subprocess.run(["systemctl", "try-restart", f"{unit}.service"], check=False, timeout=SECONDS)
    return True


def by_hand() -> bool:
    """End the daemon with SIGTERM and start it again with the arguments it had, in the background."""
    for path in SOCKETS:
        pid = listener(path)
        if not pid:
            continue
        confined = _confinement(pid)
        command = [os.fsdecode(w) for w in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]]
        if not command or Path(command[0]).name not in UNITS:
            continue
        os.kill(pid, signal.SIGTERM)
        if not wait_for(path, gone=pid):
            return False
        if not {"-d", "--daemon"} & set(command):
            command.append("--daemon")
        subprocess.run(
            command, check=False, timeout=SECONDS, stdin=subprocess.DEVNULL, preexec_fn=None if confined else _unconfine
        )
        return wait_for(path, not_pid=pid)
    return False


def main() -> int:
    if by_systemd() if Path("/run/systemd/system").is_dir() else by_hand():
        return 0
    sys.stderr.write("the libvirt daemon could not be restarted\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
