"""A machine for the deploy image's agent: a directory that stands for its root, with disks that are files."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.api import server
from orchestrator.api.deploy import Desk, create_desk
from orchestrator.domain.deployments import SEED_LENGTH
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.drivers.local.desk_identity import desk_identity, fingerprint, init_desk
from orchestrator.ports.clock import Clock
from orchestrator.store.database import Database
from orchestrator.store.deployments import StoreDeployments

UUID = "4c4c4544-0051-3010-8052-b4c04f4d3258"
MAC = "52:54:00:aa:bb:01"
DISK_BYTES = 24 << 20
ROOT = Path(__file__).parents[1]
# What stands for the ISO: two menus.
_FILLED = b"begin" + b"." * SEED_LENGTH + b"middle" + b"." * SEED_LENGTH + b"end"
OFFSETS = (5, 5 + SEED_LENGTH + 6)


def machine_root(root: Path, *, uuid: str = UUID, serials: tuple[str, ...] = ("SER0",), size: int = DISK_BYTES) -> Path:
    """Make it. The disks are sda, sdb, … by the order of ``serials``."""

    def put(path: str, content: str | bytes) -> None:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else f"{content}\n".encode())

    put("sys/class/dmi/id/product_uuid", uuid.upper())
    put("sys/class/dmi/id/product_serial", "MACHINE-7")
    put("proc/cpuinfo", "processor: 0\nmodel name\t: Test CPU\nprocessor: 1\nmodel name\t: Test CPU")
    put("proc/meminfo", "MemTotal:  65536 kB\nMemAvailable:  40960 kB")
    put("sys/class/net/eth0/address", MAC)
    put("sys/class/net/eth0/carrier", "1")
    (root / "sys/class/net/eth0/device").mkdir()
    put("sys/class/net/lo/address", "00:00:00:00:00:00")
    for number, serial in enumerate(serials):
        name = f"sd{chr(ord('a') + number)}"
        put(f"sys/block/{name}/size", str(size // 512))
        put(f"sys/block/{name}/removable", "0")
        put(f"sys/block/{name}/queue/rotational", "1")
        put(f"sys/block/{name}/device/model", "TESTDISK")
        put(f"sys/block/{name}/device/vpd_pg80", b"\0\x80" + len(serial).to_bytes(2, "big") + serial.encode())
        disk = root / "dev" / name
        if not disk.exists():
            disk.parent.mkdir(exist_ok=True)
            with disk.open("wb") as file:
                file.truncate(size)
    return root


@dataclass
class Stand:
    """A desk that is served, over a database."""

    book: StoreDeployments
    db: Database
    url: str
    sha256: str
    images: Path

    def put_image(self, name: str, content: bytes) -> dict[str, Any]:
        """An image to be written; what a task says of it."""
        (self.images / name).write_bytes(content)
        return {"image": name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}

    def fetch(self, url: str, **headers: str) -> tuple[int, bytes]:
        """What a BMC does, which looks at no certificate."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return answer.status, answer.read()

    def boot(self, root: Path, medium: str) -> None:
        """The menu's seed goes on the command line of the machine, as its firmware would do."""
        _, content = self.fetch(medium)
        seed = content[OFFSETS[0] : OFFSETS[0] + SEED_LENGTH].decode()
        assert content[OFFSETS[1] :].startswith(seed.encode())
        (root / "proc/cmdline").write_text(f"quiet deploy.seed={seed}\n")
        (root / "run/deploy-session").unlink(missing_ok=True)

    def agent(self, root: Path) -> subprocess.Popen[str]:
        """The agent's own process; standard error is its console."""
        words = [sys.executable, "-m", "agents.deploy", "--root", str(root), "--no-network", "--every", "0"]
        return subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)


@contextmanager
def stand(directory: Path, db: Database, *, clock: Clock | None = None) -> Iterator[Stand]:
    """Serve a desk on the loopback, with a made-up ISO."""
    state, images, iso = directory / "state", directory / "images", directory / "deploy.iso"
    (state / "keys").mkdir(parents=True, mode=0o700)
    images.mkdir()
    iso.write_bytes(_FILLED)
    told = {"sha256": "", "bytes": len(_FILLED), "kernel": "", "length": SEED_LENGTH, "offsets": list(OFFSETS)}
    iso.with_name("deploy.iso.json").write_text(json.dumps(told))
    with serving(state, db, iso=iso, images=images, clock=clock) as made:
        yield made


@contextmanager
def serving(
    state: Path, db: Database, *, iso: Path, images: Path, clock: Clock | None = None, host: str = "127.0.0.1"
) -> Iterator[Stand]:
    """Serve a desk over an ISO that is there; ``state`` has a directory ``keys``."""
    init_desk(state)
    sock = server.bind_tcp(f"{host}:0")
    url = f"https://{host}:{sock.getsockname()[1]}"
    certificate, key = desk_identity(state)
    ours, sha256 = clock or SystemClock(), fingerprint(certificate)
    book = StoreDeployments(db, ours, url=url, certificate_sha256=sha256, random=os.urandom)
    desk = Desk(book=book, image=iso, images=images, clock=SystemClock())
    with server.beside(create_desk(desk), sock, (certificate, key), what="the desk"):
        yield Stand(book, db, url, sha256, images)


def seed_of(root: Path) -> dict[str, str]:
    """What the machine was booted with."""
    return dict(json.loads(base64.urlsafe_b64decode((root / "proc/cmdline").read_text().split("deploy.seed=")[1])))
