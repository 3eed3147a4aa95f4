"""Hosting nodes of the lab: servers that boot from the image `hosting`, under plain QEMU, on the lab's bridge.

libvirt has no part in it: tests end its daemon, and look for guests that nobody ordered. A node's QEMU is a process of the lab,
and ends with it at the latest.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab import daemons, guests, images
from tests.lab.environment import Lab
from tests.lab.report import say

MEMORY_MIB = 1024
PROCESSORS = 2
SECONDS_TO_BOOT = 300.0
STARTS = 3
STUCK = "Possible timer handling issue"
"""What a kernel says whose second processor waits for an interrupt that the emulated timer never sent. It waits for good."""
SECONDS_TO_RUN = 120.0
FIRST_HOST = 240  # of the bridge's networks; other guests of the tests stay below


class NodeFailed(Exception):
    """A command on a hosting node ended otherwise than it should; says how, and what it printed."""


@dataclass(frozen=True)
class HostingNode:
    """A server that is up. ``run`` comes with root's access, by the operator's key, as a person would."""

    name: str
    address: str
    address_v6: str
    directory: Path
    """Its disk, console, QEMU's process id and the files of SSH."""
    lab: Lab
    booted_in: float
    """Seconds from the start of QEMU until SSH answered."""

    @property
    def known_hosts(self) -> Path:
        """Its host key, seen at its first boot."""
        return self.directory / "known_hosts"

    @property
    def console(self) -> Path:
        """What its kernel and systemd wrote to the serial line."""
        return self.directory / "console"

    @property
    def key(self) -> Path:
        """The private key that opens root's account."""
        return self.lab.ssh_identity

    def attempt(self, *argv: str, stdin: bytes = b"", seconds: float = SECONDS_TO_RUN) -> subprocess.CompletedProcess[bytes]:
        """Run a program there, its words as they are; its status is for the caller to judge (255 is SSH's own)."""
        command = ["ssh", *self._options(), f"root@{self.address}", "--", shlex.join(argv)]
        return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=seconds)

    def run(self, *argv: str, stdin: bytes = b"", seconds: float = SECONDS_TO_RUN) -> str:
        """Run a program there; what it printed. Raises `NodeFailed`."""
        done = self.attempt(*argv, stdin=stdin, seconds=seconds)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()[-2000:]
            raise NodeFailed(f"{self.name}: {shlex.join(argv)} ended with status {done.returncode}: {said}")
        return done.stdout.decode(errors="replace")

    def shell(self, script: str, *, seconds: float = SECONDS_TO_RUN) -> str:
        """Run a script of its shell, which ends at the first failure; what it printed. Raises `NodeFailed`."""
        return self.run("sh", "-eu", stdin=script.encode(), seconds=seconds)

    def write(self, path: str, content: str | bytes, *, mode: int = 0o644) -> None:
        """Put a file there, with the directories that it needs."""
        data = content.encode() if isinstance(content, str) else content
        self.run("install", "-D", "-m", f"{mode:o}", "/dev/stdin", path, stdin=data)

    def read(self, path: str) -> str:
        """A file's text. Raises `NodeFailed` where there is none."""
        return self.run("cat", path)

    @contextlib.contextmanager
    def forwarded(self, local: Path, remote: str) -> Iterator[None]:
        """What connects to the Unix socket ``local`` here reaches ``remote`` there, as root."""
        words = ["-L", f"{local}:{remote}"]
        command = ["ssh", *self._options(), "-O", "forward", *words, f"root@{self.address}"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        try:
            yield
        finally:
            command[command.index("forward")] = "cancel"
            subprocess.run(command, check=False, capture_output=True, timeout=60)

    def cut(self) -> None:
        """End it as a power cut would."""
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            pid = int((self.directory / "pid").read_text())
            os.kill(pid, signal.SIGKILL)
            # Not only a zombie: its other threads may hold disk and network a moment longer than its first one.
            daemons.wait_until(f"the end of {self.name}", lambda: not Path(f"/proc/{pid}").exists())
        self._control("exit")

    def power_on(self) -> None:
        """Start it, from the disk as it is, and wait until SSH answers. Raises `NotReady` with the end of its console."""
        _start(self)

    def _options(self) -> list[str]:
        given = {
            "BatchMode": "yes",
            "IdentityFile": str(self.key),
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
            "StrictHostKeyChecking": "yes",
            # One connection for all calls: a handshake costs a second of an emulated processor.
            "ControlMaster": "auto",
            "ControlPath": str(self.directory / "ssh"),
            "ControlPersist": "yes",
            "ServerAliveInterval": "15",
            "LogLevel": "ERROR",
        }
        return ["-F", "none", *(word for key, value in given.items() for word in ("-o", f"{key}={value}"))]

    def _control(self, command: str) -> None:
        subprocess.run(
            ["ssh", *self._options(), "-O", command, f"root@{self.address}"], capture_output=True, check=False, timeout=60
        )


@contextlib.contextmanager
def running(lab: Lab, number: int = 0) -> Iterator[HostingNode]:
    """A fresh node while the context lasts, the ``number``-th of the lab; each has its own addresses and disk."""
    host = FIRST_HOST + number
    directory = lab.directory / f"hosting-{number}"
    directory.mkdir(mode=0o700)
    tap = f"hosting{number}"
    subprocess.run(["ip", "tuntap", "add", tap, "mode", "tap"], check=True, timeout=60)
    subprocess.run(["ip", "link", "set", tap, "master", lab.bridge, "up"], check=True, timeout=60)
    image = images.load("hosting", lab.images)
    disk = ["-b", str(lab.images / image.volume), "-F", "qcow2", "-f", "qcow2", str(directory / "disk.qcow2")]
    subprocess.run(["qemu-img", "create", "-q", *disk], check=True, timeout=60)
    node = HostingNode(
        name=f"hosting-{number}",
        address=f"10.77.0.{host}",
        address_v6=f"fd77::{host}",
        directory=directory,
        lab=lab,
        booted_in=0.0,
    )
    try:
        began = time.monotonic()
        _start(node)
        yield HostingNode(**{**vars(node), "booted_in": time.monotonic() - began})
    finally:
        node.cut()
        subprocess.run(["ip", "link", "delete", tap], check=True, timeout=60)
        (directory / "disk.qcow2").unlink()
        for file in directory.iterdir():
            file.unlink()
        directory.rmdir()


def command_line(node: HostingNode, tap: str) -> list[str]:
    """QEMU's, for this node. Name, addresses and the operator's key are words of the kernel's command line."""
    image = images.load("hosting", node.lab.images)
    key = " ".join((node.lab.directory / "ssh" / "operator.pub").read_text().split()[:2])
    words = [
        image.kernel_arguments,
        # QEMU's emulated timer is late on a busy machine, and the kernel would then take it for broken and stop.
        "no_timer_check panic=1",
        f"systemd.hostname={node.name}",
        f"ip={node.address}::10.77.0.1:24::eth0:none",
        f"ip=[{node.address_v6}]:::64::eth0:none",
        f'"systemd.set_credential=ssh.authorized_keys.root:{key}"',
    ]
    mac = "52:54:00:77:00:" + f"{int(node.address.rpartition('.')[2]):02x}"
    return [
        "qemu-system-x86_64",
        *("-name", node.name, "-machine", "q35", "-display", "none", "-nodefaults", "-no-user-config"),
        # Emulated, the wide registers of later processors cost a tenth more than they save.
        *(("-accel", "kvm", "-cpu", "max") if guests.kvm() else ("-accel", "tcg,thread=multi", "-cpu", "Nehalem")),
        *("-m", str(MEMORY_MIB), "-smp", str(PROCESSORS)),
        *("-kernel", str(node.lab.images / image.kernel), "-initrd", str(node.lab.images / image.initrd)),
        *("-append", " ".join(words)),
        *("-drive", f"file={node.directory / 'disk.qcow2'},if=virtio,format=qcow2,cache=unsafe,discard=unmap"),
        *("-nic", f"tap,ifname={tap},script=no,downscript=no,model=virtio-net-pci,mac={mac}"),
        *("-device", "virtio-rng-pci"),
        *("-serial", f"file:{node.console}", "-pidfile", str(node.directory / "pid"), "-daemonize"),
    ]


def _start(node: HostingNode) -> None:
    for start in range(1, STARTS + 1):
        _launch(node)
        what = f"the hosting node {node.name}"
        daemons.wait_until(
            what, lambda: bool(guests.banner(node.address)) or _is_stuck(node), seconds=SECONDS_TO_BOOT, log=node.console
        )
        if not _is_stuck(node):
            break
        node.cut()
        say(f"{node.name}, start {start} of {STARTS}: QEMU lost an interrupt of its kernel's timer")
    else:
        raise daemons.NotReady(f"the kernel of {node.name} got stuck at each of {STARTS} starts")
    if not node.known_hosts.exists():
        scan = ["ssh-keyscan", "-T", "30", "-t", "ed25519", node.address]
        node.known_hosts.write_text(subprocess.run(scan, capture_output=True, text=True, check=True, timeout=60).stdout)
    # SSH answers before everything else is up.
    node.attempt("systemctl", "is-system-running", "--wait", seconds=SECONDS_TO_BOOT)


def _launch(node: HostingNode) -> None:
    tap = node.name.replace("-", "")
    said = subprocess.run(command_line(node, tap), capture_output=True, text=True, check=False, timeout=60)
    if said.returncode != 0:
        raise daemons.NotReady(f"QEMU did not start {node.name}: {said.stderr.strip()}")


def _is_stuck(node: HostingNode) -> bool:
    return STUCK in node.console.read_text(errors="replace")
