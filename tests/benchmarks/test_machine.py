"""Dedicated machines: an image onto the disk, against dd on the same machine; and what the controller adds to the BMC's calls."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

import pytest

from agents.deploy import drives, writing
from agents.deploy.place import Place
from orchestrator.drivers.deployimage import archive, base, contents
from orchestrator.drivers.redfish import RedfishBmc
from orchestrator.ports.bmc import BootFrom
from tests.benchmarks import in_machine
from tests.benchmarks.book import Row, megabytes, pairs, seconds, write
from tests.e2e import rack as racks
from tests.e2e.rack import Rack
from tests.lab import deploy, guests, kept
from tests.lab.bmc import Emulator, connection
from tests.lab.environment import Lab
from tests.lab.metal import Metal

IMAGE_BYTES = 96 << 20
DISK_BYTES = 128 << 20
NATIVE_BYTES = 1 << 30
NATIVE_ROUNDS = 7
SECONDS = 900.0
ROUNDS = 3
LONG = 120.0


def _bench(time_of_it: int, scratch: Path) -> bytes:
    """In place of the agent: the same agent, an image, and what measures."""
    made = archive.Archive()
    made.file("bench/image", os.urandom(IMAGE_BYTES))
    made.file("deploy/in_machine.py", Path(in_machine.__file__).read_bytes())
    made.file("init", contents.INIT.replace("-m agents.deploy", "-m in_machine").encode(), mode=0o755)
    return base.agent(time=time_of_it, scratch=scratch) + made.packed(time=time_of_it)


def _measured(lab: Lab, scratch: Path) -> list[dict[str, float]]:
    """What the machine told, a row each round."""
    prepared = kept.place(lab.images.parent, "deploy", deploy.SOURCES)
    initrd, disk, console = scratch / "initrd", scratch / "disk.raw", scratch / "console"
    initrd.write_bytes((prepared / "system.zst").read_bytes() + _bench(0, scratch))
    with disk.open("wb") as file:
        file.truncate(DISK_BYTES)
    words = ["-machine", "pc", "-accel", "kvm" if guests.kvm() else "tcg", "-m", "1024", "-display", "none", "-no-reboot"]
    words += ["-kernel", str(prepared / "vmlinuz"), "-initrd", str(initrd), "-append", contents.ARGUMENTS]
    words += ["-drive", f"if=none,id=d,file={disk},format=raw,cache=none", "-device", "ich9-ahci,id=ahci"]
    words += ["-device", "ide-hd,drive=d,bus=ahci.0,serial=BENCH0", "-nic", "none", "-serial", f"file:{console}"]
    subprocess.run(["qemu-system-x86_64", *words], check=True, timeout=SECONDS)
    lines = console.read_text(errors="replace").splitlines()
    return [json.loads(line.partition(in_machine.MARK)[2]) for line in lines if in_machine.MARK in line]


def test_an_image_onto_the_disk(lab: Lab, tmp_path: Path) -> None:
    told = _measured(lab, tmp_path)
    assert len(told) == in_machine.ROUNDS
    ours = median(row["ours"] for row in told)
    by_hand = [row["copied"] + row["proven"] for row in told]
    copied = median(row["copied"] for row in told)
    ratio = median(row["ours"] / hand for row, hand in zip(told, by_hand, strict=True))
    write(
        "A machine's image",
        f"{IMAGE_BYTES >> 20} MiB of random bytes from the deploy image's own memory to the machine's SATA disk. Ours: the task "
        "`write`: hashed on its way, written past the page cache, read back and hashed again. Bare: in the same boot, "
        "`dd oflag=direct conv=fsync`, and the same proof by hand: `sha256sum` of the image, and `dd iflag=direct | sha256sum` "
        "of the disk.",
        [
            Row("written and proven", seconds(ours), seconds(median(by_hand)), f"{ratio:.2f} ×"),
            Row("of that, `dd` alone", "–", seconds(copied)),
            Row("written and proven, a second", megabytes(IMAGE_BYTES / ours), megabytes(IMAGE_BYTES / median(by_hand))),
        ],
    )


class Natively:
    """The agent's ``write`` on this machine's own processor, onto a loop device that stands for the machine's disk."""

    def __init__(self, scratch: Path) -> None:
        self.image, self._scratch = Path("/dev/shm") / f"{scratch.name}-image", scratch

    @contextmanager
    def disk(self) -> Iterator[str]:
        """The device's name, and the image in memory."""
        backing = self._scratch / "backing"
        with backing.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, NATIVE_BYTES)
        self.image.write_bytes(os.urandom(NATIVE_BYTES - (8 << 20)))
        words = ["losetup", "--find", "--show", "--direct-io=on", str(backing)]
        device = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout.strip()
        try:
            known = self._scratch / "sys/block/sda/device"
            known.mkdir(parents=True)
            (known / "vpd_pg80").write_bytes(b"\0\0\0\x06BENCH0")
            (known.parent / "size").write_text(str(NATIVE_BYTES // 512))
            (self._scratch / "dev").mkdir()
            (self._scratch / "dev/sda").symlink_to(device)
            yield device
        finally:
            subprocess.run(["losetup", "--detach", device], check=True, timeout=60)
            self.image.unlink()

    def copied(self, device: str) -> float:
        began = time.monotonic()
        words = ["dd", f"if={self.image}", f"of={device}", f"bs={drives.BLOCK}", "oflag=direct", "conv=notrunc,fsync"]
        subprocess.run(words, check=True, capture_output=True, timeout=SECONDS)
        return time.monotonic() - began

    def written(self, wanted: str) -> tuple[float, float]:
        """Seconds until all was written and the disk had it, and until it was read back too."""
        arguments = {"image": str(self.image), "sha256": wanted, "bytes": self.image.stat().st_size, "serial": "BENCH0"}
        seen: list[float] = []
        began = time.monotonic()

        def told(_fraction: float, says: str) -> None:
            if says == "reading back":
                seen.append(time.monotonic() - began)

        writing.write(Place(self._scratch), in_machine.Ram(), arguments, told)
        return seen[0], time.monotonic() - began


def test_an_image_onto_a_disk_by_this_machines_own_processor(lab: Lab, tmp_path: Path) -> None:
    native = Natively(tmp_path)
    with native.disk() as device:
        with native.image.open("rb") as file:
            wanted = hashlib.file_digest(file, "sha256").hexdigest()
        native.copied(device)
        rounds = [(native.copied(device), *native.written(wanted)) for _ in range(NATIVE_ROUNDS)]
    copied, passed, proven = (median(each) for each in zip(*rounds, strict=True))
    write(
        "A machine's image, without emulation",
        f"{NATIVE_BYTES - (8 << 20) >> 20} MiB of random bytes from memory to a loop device (direct I/O), on this machine's own "
        "processor: what the row above is where a processor hashes as fast as one of today does. Ours: the task `write`; a part "
        "is hashed while it is written, and while the next is read back. Bare: `dd oflag=direct conv=fsync` of the same image to "
        "the same device.",
        [
            Row("written, hashed on the way", seconds(passed), seconds(copied), f"{median(r[1] / r[0] for r in rounds):.2f} ×"),
            Row(
                "written, read back and proven", seconds(proven), seconds(copied), f"{median(r[2] / r[0] for r in rounds):.2f} ×"
            ),
        ],
    )


@pytest.fixture
def rack(
    lab: Lab, deploy_image: Path, bmc_emulator: Emulator, metal_image: Metal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rack]:
    directory = tmp_path_factory.mktemp("rack")
    with racks.standing(lab, directory, emulator=bmc_emulator, iso=deploy_image, metal=metal_image, numbers=(51,)) as made:
        made.enrol(made.machine)
        made.available(made.machine)
        yield made


@contextmanager
def serving(iso: Path) -> Iterator[str]:
    """The URL of the file, at a server that can nothing else."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(iso.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{iso.name}"
        server.shutdown()


def test_from_an_order_until_the_machine_is_on(rack: Rack, deploy_image: Path) -> None:
    machine, numbers = rack.machine, iter(range(ROUNDS))
    bmc = RedfishBmc(connection(rack.emulator, machine))

    def on() -> None:
        rack.until("it is on", lambda: rack.power(machine) == "running", pause=0.05)

    def ours() -> float:
        tenant = rack.tenant(f"t-{next(numbers)}")
        assert tenant.key, "made before the time runs"
        began = time.monotonic()
        job_id = rack.order(tenant)
        on()
        taken = time.monotonic() - began
        rack.site.cli("job", "cancel", job_id)
        job = rack.rest(job_id)
        assert job["state"] == "cancelled", job["error"]
        return taken

    def bare() -> float:
        """The same calls, and a medium of the same size from a server beside it."""
        began = time.monotonic()
        bmc.turn_off(deadline=LONG)
        bmc.insert_media(url, deadline=LONG)
        bmc.boot_once(BootFrom.CD, deadline=LONG)
        bmc.turn_on(deadline=LONG)
        on()
        taken = time.monotonic() - began
        bmc.turn_off(deadline=LONG)
        bmc.eject_media(deadline=LONG)
        return taken

    with serving(deploy_image) as url:
        found = pairs(ours, bare, rounds=ROUNDS)
    write(
        "A machine's order",
        "Ours: from the webhook `order.paid` until the machine is on with the deploy image in its drive: machine and addresses "
        "taken, a deployment opened, each step recorded, the desk serves. Bare: the same four orders to the same BMC "
        "(sushy-emulator) and a medium of the same size, by the same driver.",
        [found.row("from the order until the machine boots the image"), Row("added", seconds(found.ours - found.bare))],
    )
