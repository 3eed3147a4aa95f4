"""A tiny guest made through the libvirt driver, for the tests that look at it from the kernel's and QEMU's side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.domain.plans import Lease
from orchestrator.ports.hypervisor import GuestDefinition, GuestDisk, PowerAction
from orchestrator.ports.volumes import VolumeSpec
from tests.contract.nodes import LONG, MIB, LibvirtNode, definition_of, sh
from tests.lab import daemons, guests


@dataclass(frozen=True)
class Running:
    """A guest that has booted: its definition, its address and the tap on the host."""

    node: LibvirtNode
    definition: GuestDefinition
    address: str
    tap: str


@contextmanager
def running_guest(
    node: LibvirtNode, number: int, *, encrypted: bool, seconds: float = 120.0, name: str = ""
) -> Iterator[Running]:
    """Make guest ``number`` with every limit set, wait until it answers, and remove all of it at the end."""
    definition, names = define_guest(node, number, encrypted=encrypted, name=name)
    try:
        node.hypervisor.power(definition.name, PowerAction.START, deadline=LONG)
        address = str(definition.lease.ipv4[0].ip)
        console = Path(f"/var/log/libvirt/qemu/{definition.name}.console.log")
        daemons.wait_until(definition.name, lambda: bool(guests.banner(address)), seconds=seconds, log=console)
        tap = sh("virsh", "domiflist", definition.name).splitlines()[2].split()[0]
        yield Running(node, definition, address, tap)
    finally:
        remove_guest(node, definition.name, names)


def define_guest(
    node: LibvirtNode, number: int, *, encrypted: bool = False, size: int = 128 * MIB, agent: bool = False, name: str = ""
) -> tuple[GuestDefinition, tuple[str, str]]:
    """Volumes, seed and definition of guest ``number``; and the names of its volumes. One with an agent gets memory for it."""
    root, seed = f"orch.s{number}.root.job-1.qcow2", f"orch.s{number}.seed.job-1.iso"
    volume = node.volumes.create(
        VolumeSpec(name=root, capacity_bytes=size, template=node.boot.volume, encrypted=encrypted), deadline=LONG
    )
    bare = definition_of(node, number)
    made = node.volumes.put(seed, seed_image(node, bare.lease, f"s{number}"), deadline=LONG)
    disks = (
        GuestDisk(
            path=volume.path,
            format="qcow2",
            secret_uuid=volume.secret_uuid,
            capacity_bytes=size,
            bytes_per_second=20 * MIB,
            iops=300,
        ),
        GuestDisk(path=made.path, format="raw", target="vdb", read_only=True, capacity_bytes=made.capacity_bytes),
    )
    memory = 512 * MIB if agent else bare.memory_bytes
    definition = replace(bare, name=name or bare.name, disks=disks, agent=agent, memory_bytes=memory)
    node.hypervisor.define(definition, deadline=LONG)
    return definition, (root, seed)


def remove_guest(node: LibvirtNode, name: str, volumes: tuple[str, ...]) -> None:
    if node.hypervisor.guest(name, deadline=LONG) is not None:
        node.hypervisor.power(name, PowerAction.DESTROY, deadline=LONG)
        node.hypervisor.undefine(name, deadline=LONG)
    for volume in volumes:
        node.volumes.delete(volume, deadline=LONG)


def seed_image(node: LibvirtNode, lease: Lease, hostname: str) -> bytes:
    addresses = ", ".join(f"'{address}'" for address in (*lease.ipv4, *lease.ipv6))
    target = node.lab.directory / f"{hostname}.iso"
    files = {
        "meta-data": f"instance-id: i-{hostname}\nlocal-hostname: {hostname}\n",
        "user-data": "#cloud-config\n",
        "network-config": f"version: 2\nethernets:\n  main:\n    match: {{name: 'e*'}}\n    addresses: [{addresses}]\n",
    }
    guests.write_seed(target, files)
    content = target.read_bytes()
    target.unlink()
    return content


def monitor(guest: str, command: str) -> Any:
    """What QEMU itself answers to a monitor command (QMP)."""
    return json.loads(sh("virsh", "qemu-monitor-command", guest, json.dumps({"execute": command})))["return"]
