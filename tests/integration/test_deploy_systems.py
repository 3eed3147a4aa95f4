"""What the deploy image does for a customer's system on a machine of the lab: a rescue system, and the password on its disk."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from agents.deploy.rescue import fingerprint
from orchestrator.domain.errors import TransientDriverError
from orchestrator.ports.deployment import Task
from tests.deploy_machine import Stand
from tests.integration.test_deploy_machine import LONG, OFF, rests, start, until
from tests.integration.test_deploy_machine import desk as desk
from tests.lab import bmc as lab_bmc
from tests.lab.bmc import Emulator, Machine
from tests.lab.environment import Lab
from tests.live import CRYPT

# A machine boots once in each of them, under emulation.
pytestmark = pytest.mark.timeout(600)
NUMBERS = count(61)  # whole installations have those up to 54
DEPLOY, CUSTOMER = "10.77.0.60", "10.77.0.61"
FIRST = 2048  # the sector that the partition begins with
SHADOW = "root:!:19000:0:99999:7:::\nanna:$6$old$hash:19000:0:99999:7:::\n"


@pytest.fixture
def machine(lab: Lab) -> Iterator[Machine]:
    with lab_bmc.machine(lab, next(NUMBERS), size=64 << 20) as made:
        yield made


def key_pair(directory: Path) -> tuple[Path, str]:
    path = directory / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "anna", "-f", str(path)], check=True, timeout=60)
    return path, path.with_suffix(".pub").read_text().strip()


def ssh(identity: Path, directory: Path, command: str, *, address: str = CUSTOMER) -> subprocess.CompletedProcess[str]:
    options = {
        "StrictHostKeyChecking": "accept-new",
        "UserKnownHostsFile": str(directory / "known"),
        "IdentitiesOnly": "yes",
        "ConnectTimeout": "20",
        "BatchMode": "yes",
    }
    flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    words = ["ssh", "-F", "none", "-i", str(identity), *flags, f"root@{address}", command]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)


def test_a_rescue_system_is_open_to_the_given_key_and_before_it_nothing_listens(
    desk: Stand, bmc_emulator: Emulator, machine: Machine, tmp_path: Path
) -> None:
    identity, public = key_pair(tmp_path)
    (tmp_path / "other").mkdir()
    stranger, _ = key_pair(tmp_path / "other")
    bmc = start(desk, bmc_emulator, machine, Task(key="look", kind="inspect", arguments={}))
    until(desk, machine, rests)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((DEPLOY, 22), timeout=20)
    given = {"keys": [public], "addresses": [f"{CUSTOMER}/24", "fd77::61/64"], "gateways": ["10.77.0.1"], "mac": machine.mac}
    desk.book.give(machine.name, Task(key="rescue", kind="rescue", arguments=given), job_id="j")
    found = until(desk, machine, rests)
    told = found.tasks[1]
    assert (told.state, told.result.get("keys")) == ("done", 1), found
    desk.book.close(machine.name, job_id="j")
    bmc.eject_media(deadline=LONG)

    done = ssh(identity, tmp_path, "id -un; cat /proc/mounts; ls /run; ip rule")
    assert (done.returncode, done.stdout.split()[0]) == (0, "root"), done.stderr
    assert "deploy-session" not in done.stdout, "nothing of the controller's is left"
    assert CUSTOMER in done.stdout
    scanned = (tmp_path / "known").read_text().split()
    assert fingerprint(" ".join(scanned[1:3])) == told.result["fingerprint"]
    assert ssh(identity, tmp_path, "true", address="fd77::61").returncode == 0
    refused = ssh(stranger, tmp_path, "true")
    assert (refused.returncode, "publickey" in refused.stderr, "password" in refused.stderr) == (255, True, False)
    worked = ssh(identity, tmp_path, "mkdir -p /mnt; vi --help >/dev/null 2>&1; modprobe ext4 && grep -c ext4 /proc/filesystems")
    assert worked.stdout.strip() == "1", worked
    bmc.turn_off(deadline=LONG)
    bmc.close()


def put_system(disk: Path, directory: Path, *, second: bytes = b"") -> None:
    """A table of partitions (MBR), a Linux system in the first, and ``second`` at the beginning of the second."""
    root = directory / "tree"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n")
    (root / "etc/shadow").write_text(SHADOW)
    (root / "etc/shadow").chmod(0o640)
    (root / "etc/os-release").write_text('PRETTY_NAME="Test Linux 1"\n')
    sectors = disk.stat().st_size // 512
    half = sectors // 2
    rows = [(FIRST, half - FIRST), (half, sectors - half)]
    table = b"".join(struct.pack("<B3sB3sII", 0, b"\0\0\0", 0x83, b"\0\0\0", start, count) for start, count in rows)
    with disk.open("r+b") as file:
        file.seek(446)
        file.write(table.ljust(64, b"\0") + b"\x55\xaa")
        file.seek(half * 512)
        file.write(second)
    blocks = f"{(half - FIRST) // 2}k"
    words = ["mkfs.ext4", "-q", "-F", "-d", str(root), "-E", f"offset={FIRST * 512}", str(disk), blocks]
    subprocess.run(words, check=True, capture_output=True, timeout=60)


def debugfs(disk: Path, request: str) -> str:
    words = ["debugfs", "-R", request, f"{disk}?offset={FIRST * 512}"]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


def test_the_password_is_set_on_the_disk_and_nothing_else_of_the_file_changes(
    desk: Stand, bmc_emulator: Emulator, machine: Machine, tmp_path: Path
) -> None:
    disk, serial = machine.disks[0], machine.serials[0]
    put_system(disk, tmp_path, second=b"LUKS\xba\xbe" + bytes(4096))
    arguments = {"serial": serial, "user": "root", "hash": CRYPT}
    wrong = {**arguments, "user": "bert"}
    bmc = start(
        desk,
        bmc_emulator,
        machine,
        Task(key="wrong", kind="password", arguments=wrong),
        Task(key="password", kind="password", arguments=arguments),
        OFF,
    )
    found = until(desk, machine, rests)
    first, second = found.tasks[:2]
    assert (first.state, first.says) == ("failed", "its etc/shadow names bert 0 times")
    assert (second.state, dict(second.result)) == (
        "done",
        {"partition": "sda1", "filesystem": "ext4", "system": "Test Linux 1", "user": "root"},
    )
    with suppress(TransientDriverError):  # it may switch itself off in this very moment
        bmc.turn_off(deadline=LONG)
    bmc.turn_off(deadline=LONG)
    assert debugfs(disk, "cat /etc/shadow") == SHADOW.replace("root:!:", f"root:{CRYPT}:")
    assert "Mode:  0640" in debugfs(disk, "stat /etc/shadow")
    assert "orchestrator" not in debugfs(disk, "ls /etc")
    words = ["e2fsck", "-fn", f"{disk}?offset={FIRST * 512}"]
    checked = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout
    bmc.close()
