"""A node to run the contracts of hypervisor and volumes on: the simulated one, and libvirt in the lab.

Both are used through the ports alone. What a contract needs from behind the port's back (a stranger's guest, a file that
somebody deletes, a pool without room) is a method of ``NodeUnderTest``.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import zlib
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path
from typing import Protocol

from orchestrator.domain.plans import Lease
from orchestrator.drivers.fake import FakeConsoles, FakeHypervisor, FakeSizes, FakeVolumes, FakeWorld
from orchestrator.drivers.libvirt import (
    Connection,
    LibvirtAccess,
    LibvirtConsoles,
    LibvirtHypervisor,
    LibvirtSizes,
    LibvirtVolumes,
)
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.ports.guest_console import GuestConsoles
from orchestrator.ports.guest_sizes import GuestSizes
from orchestrator.ports.hypervisor import GuestDefinition, GuestDisk, GuestMark, Hypervisor
from orchestrator.ports.node_transport import NodeTransport
from orchestrator.ports.volumes import VolumeFacts, VolumeStore
from tests.lab import daemons
from tests.lab.environment import Lab
from tests.lab.templates import Installed
from tests.local_agent import LocalAgent

LONG = 120.0  # seconds; bounds a call that is expected to succeed
MIB = 1 << 20
HOOKS = Path("/etc/libvirt/hooks/qemu.d")
HOLD_CHECK = Path("/usr/local/lib/orchestrator/hold-check")
STRANGER = "<domain type='qemu'><name>{name}</name><memory unit='MiB'>16</memory><os><type arch='x86_64'>hvm</type></os></domain>"


@dataclass(frozen=True, kw_only=True)
class Boot:
    """The template's volume name and how it boots."""

    volume: str
    path: str
    size_bytes: int
    kernel: str
    initrd: str
    arguments: str


class NodeUnderTest(Protocol):
    hypervisor: Hypervisor
    sizes: GuestSizes
    consoles: GuestConsoles
    volumes: VolumeStore
    boot: Boot
    bridge: str

    @property
    def full(self) -> VolumeStore:
        """The volumes of a pool with no room left, which holds the template too."""
        ...

    def corrupt_template(self) -> str:
        """Put a template on the node that is no image at all; its name."""
        ...

    def stranger(self, name: str) -> None:
        """Define a guest that is not ours."""
        ...

    def remove_stranger(self, name: str) -> None: ...

    def leave_secret(self, volume: str) -> None:
        """What a creation leaves that was broken off after its first half."""
        ...

    def delete_behind_our_back(self, volume: VolumeFacts) -> None: ...

    def content(self, volume: VolumeFacts) -> bytes: ...


class FakeNode:
    """The simulated node."""

    bridge = "br0"

    def __init__(self, directory: Path) -> None:
        self.world = FakeWorld(directory / "world.json")
        self.world.add_node("n1", cpus=4, memory_bytes=8 << 30)
        self.world.add_node("full", pool_bytes=16 * MIB)  # all of it taken by the template
        for node in ("n1", "full"):
            self.world.add_template(node, "tiny.qcow2", size_bytes=64 * MIB)
        self.hypervisor: Hypervisor = FakeHypervisor(self.world, "n1")
        self.sizes: GuestSizes = FakeSizes(self.world, "n1")
        self.consoles: GuestConsoles = FakeConsoles(self.world, "n1")
        self.volumes: VolumeStore = FakeVolumes(self.world, "n1")
        self.full: VolumeStore = FakeVolumes(self.world, "full")
        path = self.world.node("n1")["pool_path"]
        self.boot = Boot(
            volume="tiny.qcow2", path=f"{path}/tiny.qcow2", size_bytes=64 * MIB, kernel="/k", initrd="/i", arguments="quiet"
        )

    def corrupt_template(self) -> str:
        self.world.add_template("n1", "broken.qcow2", corrupt=True, size_bytes=1024)
        return "broken.qcow2"

    def stranger(self, name: str) -> None:
        lease = Lease(service_id="", job_id="", mac="52:54:00:ff:ff:01")
        mark = GuestMark(service_id="", job_id="")
        FakeHypervisor(self.world, "n1").define(
            GuestDefinition(
                name=name, uuid=name, mark=mark, vcpus=1, memory_bytes=MIB, cpu_percent=0, disks=(), bridge="br0", lease=lease
            ),
            deadline=LONG,
        )
        with self.world.change() as state:
            state["nodes"]["n1"]["guests"][name]["mark"] = None

    def remove_stranger(self, name: str) -> None:
        with self.world.change() as state:
            del state["nodes"]["n1"]["guests"][name]

    def leave_secret(self, volume: str) -> None:
        with self.world.change() as state:
            state["nodes"]["n1"]["secrets"][volume] = {"uuid": "left", "wiped": False}

    def delete_behind_our_back(self, volume: VolumeFacts) -> None:
        with self.world.change() as state:
            del state["nodes"]["n1"]["volumes"][volume.name]

    def content(self, volume: VolumeFacts) -> bytes:
        return zlib.decompress(bytes.fromhex(self.world.node("n1")["volumes"][volume.name]["content"]))


class LibvirtNode:
    """libvirt in the lab, with the host's hook installed."""

    def __init__(self, lab: Lab, template: Installed) -> None:
        self.lab = lab
        self.bridge = lab.bridge
        self.connection = Connection(lab.uri, node="lab-node", clock=SystemClock())
        self.hypervisor: Hypervisor = LibvirtHypervisor(self.connection, pool=lab.pool)
        self.sizes: GuestSizes = LibvirtSizes(self.connection)
        self.access = LibvirtAccess(self.connection)
        self.consoles: GuestConsoles = LibvirtConsoles(self.connection)
        self.agent = LocalAgent(lab.directory / "agent", [lab.pool_path])
        self.volumes: VolumeStore = self.store(self.agent)
        self._template = template
        self.boot = Boot(
            volume=template.volume,
            path=str(template.path),
            size_bytes=template.size,
            kernel=str(template.kernel),
            initrd=str(template.initrd),
            arguments=template.kernel_arguments,
        )
        install_hook()

    @cached_property
    def full(self) -> VolumeStore:
        """A pool on a file system of its own, filled to the last block."""
        image, target = self.lab.directory / "full.img", self.lab.directory / "full"
        if not target.exists():
            with image.open("wb") as file:
                file.truncate(16 * MIB)
            sh("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", str(image))
            target.mkdir()
            sh("mount", "-o", "loop", str(image), str(target))
            shutil.copyfile(self._template.path, target / self._template.volume)
            subprocess.run(["dd", "if=/dev/zero", f"of={target}/ballast", "bs=4k"], check=False, capture_output=True, timeout=60)
            sh("virsh", "-q", "pool-create-as", "full", "dir", "--target", str(target))
        agent = LocalAgent(self.lab.directory / "agent-full", [target])
        return LibvirtVolumes(self.connection, agent=agent, pool="full", random=secrets.token_bytes)

    def store(self, agent: NodeTransport) -> LibvirtVolumes:
        """The volumes of the lab's pool, made by ``agent``."""
        return LibvirtVolumes(self.connection, agent=agent, pool=self.lab.pool, random=secrets.token_bytes)

    def corrupt_template(self) -> str:
        (self.lab.pool_path / "broken.qcow2").write_bytes(b"this is no image" * 100)
        return "broken.qcow2"

    def stranger(self, name: str) -> None:
        subprocess.run(["virsh", "-q", "define", "/dev/stdin"], input=STRANGER.format(name=name).encode(), check=True, timeout=60)

    def remove_stranger(self, name: str) -> None:
        sh("virsh", "-q", "undefine", name)

    def leave_secret(self, volume: str) -> None:
        xml = (
            f"<secret ephemeral='no' private='yes'><description>orchestrator volume key: {self.lab.pool}/{volume}</description>"
            f"<usage type='volume'><volume>{self.lab.pool_path}/{volume}</volume></usage></secret>"
        )
        subprocess.run(["virsh", "-q", "secret-define", "/dev/stdin"], input=xml.encode(), check=True, timeout=60)

    def delete_behind_our_back(self, volume: VolumeFacts) -> None:
        Path(volume.path).unlink()

    def content(self, volume: VolumeFacts) -> bytes:
        return Path(volume.path).read_bytes()


def install_hook() -> None:
    """Install the host's hook as enrolment does, and have libvirtd notice it."""
    source = Path(__file__).parents[2] / "agents" / "libvirt-hook"
    for origin, target in ((source / "orchestrator-hold", HOOKS / "orchestrator-hold"), (source / "hold_check.py", HOLD_CHECK)):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin, target)
        target.chmod(0o755)
    daemons.kill_libvirtd()
    daemons.start_libvirtd()


def lease_of(number: int) -> Lease:
    """The addresses of test guest ``number`` (1..200) on the lab's bridge."""
    return Lease(
        service_id=f"s{number}",
        job_id="job-1",
        mac=f"52:54:00:77:00:{number:02x}",
        ipv4=(IPv4Interface(f"10.77.0.{10 + number}/24"),),
        ipv6=(IPv6Interface(f"fd77::{10 + number:x}/64"),),
        gateway4=IPv4Address("10.77.0.1"),
        gateway6=IPv6Address("fd77::1"),
    )


def definition_of(node: NodeUnderTest, number: int, *disks: GuestDisk, uuid: str = "") -> GuestDefinition:
    """A guest with every limit set, booting the template's kernel."""
    return GuestDefinition(
        name=f"orch.s{number}",
        uuid=uuid or f"7d0a5f3f-0000-4000-8000-{number:012x}",
        mark=GuestMark(service_id=f"s{number}", job_id="job-1", spec_digest="d1", spec_signature="c2lnbmVk"),
        vcpus=1,
        memory_bytes=192 * MIB,
        cpu_percent=80,
        disks=disks,
        bridge=node.bridge,
        lease=lease_of(number),
        network_bytes_per_second=12_500_000,
        kernel=node.boot.kernel,
        initrd=node.boot.initrd,
        kernel_arguments=node.boot.arguments,
        agent=False,
    )


def sh(*command: str) -> str:
    """Run a tool of the system and return its output; raises CalledProcessError."""
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
