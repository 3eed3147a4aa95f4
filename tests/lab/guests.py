"""Guests made by hand, with virsh and nothing of the product: for tests of the lab itself, and as strangers among its guests."""

import contextlib
import hashlib
import mmap
import os
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pycdlib

from tests.lab import daemons
from tests.lab.environment import Lab
from tests.lab.templates import Installed

DISK_BYTES = 256 * 1024**2
SECONDS_TO_BOOT = 120.0
CHUNK = 8 * 1024**2
PAGE = 4096


@dataclass(frozen=True)
class Guest:
    """A guest that was made by hand."""

    name: str
    disk: Path
    seed: Path

    @property
    def mac(self) -> str:
        """By its name: a seed says it before libvirt would choose one."""
        return "52:54:00:" + hashlib.sha256(self.name.encode()).digest()[:3].hex(":")


def kvm() -> bool:
    """Whether the processor can virtualise; else QEMU emulates it."""
    flags = set(Path("/proc/cpuinfo").read_text().split())
    return bool(flags & {"vmx", "svm"}) and Path("/dev/kvm").exists()


def definition(lab: Lab, template: Installed, guest: Guest, memory_mib: int) -> str:
    """libvirt's XML of a guest with one virtio disk, one interface on the bridge and its seed."""
    return f"""
<domain type='{"kvm" if kvm() else "qemu"}'><name>{guest.name}</name><memory unit='MiB'>{memory_mib}</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{template.kernel}</kernel><initrd>{template.initrd}</initrd>
<cmdline>{template.kernel_arguments}</cmdline></os><features><acpi/><apic/></features><cpu mode='maximum'/><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/><source file='{guest.disk}'/>
<target dev='vda' bus='virtio'/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{guest.seed}'/><target dev='vdb' bus='virtio'/>
<readonly/></disk>
<interface type='bridge'><mac address='{guest.mac}'/><source bridge='{lab.bridge}'/><model type='virtio'/></interface>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
<serial type='file'><source path='/var/log/libvirt/{guest.name}.console'/></serial>
<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
</devices></domain>"""


def write_seed(target: Path, files: dict[str, str]) -> None:
    """A cloud-init seed (NoCloud): an ISO 9660 image with the label cidata."""
    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="cidata")
    for number, (name, text) in enumerate(files.items()):
        data = text.encode()
        image.add_fp(BytesIO(data), len(data), f"/FILE{number}.;1", rr_name=name, joliet_path=f"/{name}")
    image.write(str(target))
    image.close()


def start(
    lab: Lab,
    template: Installed,
    name: str,
    *,
    addresses: Sequence[str],
    gateways: Sequence[str] = (),
    memory_mib: int = 256,
    disk_bytes: int = DISK_BYTES,
) -> Guest:
    """Make a guest and wait until it answers on TCP 22 at its first address. Raises `NotReady`."""
    guest = Guest(name=name, disk=lab.pool_path / f"{name}.qcow2", seed=lab.pool_path / f"{name}.iso")
    create = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "qcow2",
        "-b",
        str(template.path),
        str(guest.disk),
        str(disk_bytes),
    ]
    subprocess.run(create, check=True, timeout=60)
    routes = "".join(f"      - {{to: {'::/0' if ':' in gateway else '0.0.0.0/0'}, via: '{gateway}'}}\n" for gateway in gateways)
    network = f"version: 2\nethernets:\n  main:\n    match: {{macaddress: '{guest.mac}'}}\n"
    network += "    addresses: [" + ", ".join(f"'{address}'" for address in addresses) + "]\n"
    network += f"    routes:\n{routes}" if routes else ""
    key = (lab.directory / "ssh" / "operator.pub").read_text().strip()
    user_data = f"#cloud-config\ndisable_root: false\nusers:\n  - name: root\n    ssh_authorized_keys: ['{key}']\n"
    meta_data = f"instance-id: i-{name}\nlocal-hostname: {name}\n"
    write_seed(guest.seed, {"meta-data": meta_data, "user-data": user_data, "network-config": network})
    subprocess.run(
        ["virsh", "-q", "define", "/dev/stdin"],
        input=definition(lab, template, guest, memory_mib).encode(),
        check=True,
        timeout=60,
    )
    subprocess.run(["virsh", "-q", "start", name], check=True, timeout=60)
    console = Path(f"/var/log/libvirt/{name}.console")
    first = addresses[0].partition("/")[0]
    daemons.wait_until(f"the guest {name}", lambda: bool(banner(first)), seconds=SECONDS_TO_BOOT, log=console)
    return guest


def remove(guest: Guest) -> None:
    """Stop it at once and remove all of it."""
    subprocess.run(["virsh", "-q", "destroy", guest.name], check=False, capture_output=True, timeout=60)
    subprocess.run(
        ["virsh", "-q", "undefine", guest.name, "--nvram", "--managed-save", "--snapshots-metadata"], check=True, timeout=60
    )
    guest.disk.unlink()
    guest.seed.unlink()


def banner(address: str, port: int = 22, *, seconds: float = 3.0) -> str:
    """The first line that an SSH server says, or nothing."""
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=seconds) as link:
        return link.recv(255).decode(errors="replace").strip()
    return ""


def occurrences(device: Path, *markers: bytes) -> dict[bytes, int]:
    """How often each marker occurs on a raw device, or in a file; what is still in memory is written out before.

    A device is read with O_DIRECT: what the medium holds, not what a cache remembers. A marker has at most `PAGE` bytes.
    """
    subprocess.run(["sync"], check=True, timeout=60)
    found = dict.fromkeys(markers, 0)
    direct = os.O_DIRECT if device.is_block_device() else 0
    descriptor = os.open(device, os.O_RDONLY | direct)
    chunk = bytearray(PAGE + CHUNK)  # the end of the chunk before, then this one
    try:
        # O_DIRECT wants an aligned buffer, where searching would be slow; views copy without a new buffer each time.
        with mmap.mmap(-1, CHUNK) as aligned, memoryview(aligned) as source, memoryview(chunk) as target:
            while got := os.readv(descriptor, [aligned]):
                target[PAGE : PAGE + got] = source[:got]
                for marker in markers:
                    # What lies wholly in the kept page was counted with the chunk before.
                    found[marker] += chunk.count(marker, PAGE - len(marker) + 1, PAGE + got)
                target[:PAGE] = target[got : PAGE + got]
    finally:
        os.close(descriptor)
    return found


def cpu_quotas() -> set[str]:
    """The quotas of CPU time, in µs per period, that control groups of this lab hold (cgroup versions 1 and 2)."""
    top = Path("/sys/fs/cgroup")
    one = (file.read_text().strip() for file in top.glob("cpu*/**/cpu.cfs_quota_us"))
    two = (file.read_text().split()[0] for file in top.glob("**/cpu.max"))
    return {*one, *two}
