"""What is sold (Plan), what it is installed from (Template), and the wanted state that follows (GuestSpec).

Sizes are bytes, rates are per second, CPU shares are per cent of one core. All values are immutable.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import ClassVar

from orchestrator.domain.backups.offer import Span

# What a limited service keeps of its network in each direction, where its plan says nothing else: 1 Mbit/s.
LIMITED_NETWORK = 125_000
# What a limited account keeps of one core, in per cent, where its plan says nothing else.
LIMITED_CPU = 10


class NodeKind(StrEnum):
    """What a node is for. One of a kind takes services of the plans of that kind, and no others."""

    HYPERVISOR = "hypervisor"
    HOSTING = "hosting"

    @property
    def of_plans(self) -> PlanKind:
        """What is sold on it."""
        return PlanKind.HOSTING if self == NodeKind.HOSTING else PlanKind.VPS


class PlanKind(StrEnum):
    VPS = "vps"
    HOSTING = "hosting"
    DEDICATED = "dedicated"

    @property
    def node_kind(self) -> NodeKind | None:
        """Where its services are; None: each on a machine of its own (``domain.machines``)."""
        return _NODE_KINDS.get(self)

    @property
    def playbooks(self) -> str:
        """With what the names of its playbooks begin: ``<this>-<intent>``, such as ``machine-provision``."""
        return "machine" if self == PlanKind.DEDICATED else self.value


_NODE_KINDS = {PlanKind.VPS: NodeKind.HYPERVISOR, PlanKind.HOSTING: NodeKind.HOSTING}


class Use(StrEnum):
    """What a plan may forbid inside a guest (herza, "Penggunaan yang Dilarang")."""

    OPEN_PROXY = "open-proxy"
    P2P = "p2p"
    MINING = "mining"
    MASS_MAIL = "mass-mail"
    SSH_TUNNEL = "ssh-tunnel"
    STREAMING = "streaming"
    VPN = "vpn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(ABC):
    """What every plan of configs/plans/ says, whatever is sold by it; ``GuestPlan`` says the rest.

    ``traffic_bytes``: in a calendar month, None = as much as one likes. Prices are whole rupiah, 0 = nothing is charged.
    ``backups_bought``: backups, or more of them, are part of what is sold. ``backup_cap_bytes``, of a guest allocated ones: with
    more no backup is made, nor with more than ``backup_cap_inodes`` of an account; None = what the policy says, for accounts.
    """

    kind: ClassVar[PlanKind]

    name: str
    description: str = ""
    zones: tuple[str, ...] = ()
    policy: str = "default"
    forbids: tuple[Use, ...] = ()
    traffic_bytes: int | None = None
    traffic_over_per_gb: int = 0
    price_per_hour: int = 0
    backups_bought: bool = False
    backup_cap_bytes: int | None = None
    backup_cap_inodes: int | None = None

    @abstractmethod
    def sizes(self) -> tuple[int, ...]:
        """What is sold of it, amount by amount, comparable with those of another plan of its kind."""

    def smaller_than(self, other: Plan) -> bool:
        """It gives less of something: going from ``other`` to it is a downgrade, whatever else it gives more of."""
        return self.kind == other.kind and any(mine < more for mine, more in zip(self.sizes(), other.sizes(), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPlan(Plan):
    """What is installed from a template, and has addresses: a guest, or a machine."""

    ipv4: int = 1
    ipv6: int = 1
    templates: tuple[str, ...] = ()
    default_template: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestPlan(InstalledPlan):
    """A guest on a hypervisor. A rate of 0 means not limited; ``cpu_percent`` is per vCPU, 100 = a whole core.

    ``limited_network_bytes_per_second`` is what a hold that limits leaves of the network, in each direction, and
    ``traffic_over_bytes_per_second`` what is left of it beyond the traffic of a month; 0 = that does not throttle it.
    ``vcpus_most``: up to so many a larger plan can add while the guest runs; 0 = none. ``mail_out``: it may send to port 25 of
    others (SMTP), where nothing else is said of the service.
    """

    kind: ClassVar[PlanKind] = PlanKind.VPS

    vcpus: int
    memory_bytes: int
    disk_bytes: int
    cpu_percent: int = 100
    disk_bytes_per_second: int = 0
    disk_iops: int = 0
    network_bytes_per_second: int = 0
    limited_network_bytes_per_second: int = LIMITED_NETWORK
    traffic_over_bytes_per_second: int = 0
    encrypted: bool = True
    full_copy: bool = False
    vcpus_most: int = 0
    mail_out: bool = False

    @property
    def limited_rate(self) -> int:
        """Bytes a second of a limited service's network: never more than it has otherwise."""
        return lower_rate(self.limited_network_bytes_per_second, self.network_bytes_per_second)

    def sizes(self) -> tuple[int, ...]:
        """vCPUs, memory, disk."""
        return (self.vcpus, self.memory_bytes, self.disk_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostingPlan(Plan):
    """An account on a hosting node. ``cpu_percent`` of one core is for all of it, and ``memory_bytes`` and ``tasks`` are.

    ``limited_cpu_percent``: what a hold that limits leaves of the processor. A rate of 0 means not limited. ``php``: the versions
    that it is sold with, the first is taken unasked; none = files only.
    """

    kind: ClassVar[PlanKind] = PlanKind.HOSTING

    disk_bytes: int
    inodes: int
    cpu_percent: int
    memory_bytes: int
    tasks: int
    io_bytes_per_second: int = 0
    iops: int = 0
    limited_cpu_percent: int = LIMITED_CPU
    sites: int = 1
    databases: int = 0
    php: tuple[str, ...] = ()

    def sizes(self) -> tuple[int, ...]:
        """Disk, inodes, processor, memory, processes, sites, databases."""
        return (self.disk_bytes, self.inodes, self.cpu_percent, self.memory_bytes, self.tasks, self.sites, self.databases)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePlan(InstalledPlan):
    """A dedicated machine of one class, whole. ``machine_class``: a word of machines.yaml."""

    kind: ClassVar[PlanKind] = PlanKind.DEDICATED

    machine_class: str

    def sizes(self) -> tuple[int, ...]:
        """Nothing that is counted: a class is what its machines are, and none is a smaller amount of another."""
        return ()


def lower_rate(one: int, other: int) -> int:
    """The lower of two rates, of which 0 is none."""
    return min(one, other) if one and other else one or other


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """An OS image on the nodes' storage pools. With ``kernel`` it is booted directly, else from its own boot loader.

    ``volume``, ``kernel``, ``initrd`` are file names inside the node's pool; ``sha256`` is of the volume's file.
    ``ready`` says how a guest of it shows that it is up.
    """

    name: str
    volume: str
    sha256: str
    size_bytes: int
    format: str = "qcow2"
    kernel: str = ""
    initrd: str = ""
    kernel_arguments: str = ""
    cloud_init: bool = True
    agent: bool = True
    ready: str = "ssh"  # "agent", "ssh" or "running"
    os: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRange:
    """Addresses that one zone's guests draw from. ``gateway`` and ``reserved`` are never handed out."""

    name: str
    zone: str
    network: IPv4Network | IPv6Network
    gateway: IPv4Address | IPv6Address
    first: IPv4Address | IPv6Address
    last: IPv4Address | IPv6Address
    reserved: tuple[IPv4Address | IPv6Address, ...] = ()
    dns: tuple[IPv4Address | IPv6Address, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node as declared in configs/nodes.yaml. ``libvirt_uri`` empty = ``qemu+ssh`` by ``address``.

    Ratios: how much more may be promised than is there (1.0 = no overcommit). Watermarks: from how full a pool on it takes
    nothing new.
    """

    name: str
    zone: str
    address: str
    kind: NodeKind = NodeKind.HYPERVISOR
    port: int = 22
    user: str = "root"
    driver: str = "libvirt"  # or "fake", the simulated node that ships with the product
    libvirt_uri: str = ""
    pool: str = "default"
    bridge: str = "br0"
    cpu_ratio: float = 4.0
    memory_ratio: float = 1.0
    disk_ratio: float = 1.0
    reserved_memory_bytes: int = 0
    heavy_slots: int = 2
    maintenance: bool = False
    backups: str = ""  # the target of its services' backups; '' = none are made
    backups_on_own_node: bool = False
    backups_at_once: int = 1
    disk_watermark_percent: float = 90.0
    metadata_watermark_percent: float = 80.0
    windows: tuple[Span, ...] = ()  # for maintenance, in the provider's zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The addresses and MAC of one service, out of the pools; ``job_id`` is the job that took them."""

    service_id: str
    job_id: str
    mac: str
    ipv4: tuple[IPv4Interface, ...] = ()
    ipv6: tuple[IPv6Interface, ...] = ()
    gateway4: IPv4Address | None = None
    gateway6: IPv6Address | None = None
    dns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSpec:
    """The wanted guest of a service, apart from where it runs and which addresses it gets."""

    service_id: str
    name: str
    plan: GuestPlan
    template: Template
    hostname: str
    ssh_keys: tuple[str, ...] = ()
    password_hash: str = ""
    zone: str = ""
    mail_out: bool = False


def guest_name(service_id: str) -> str:
    """The guest's name on its node; the same for the whole life of the service."""
    return f"orch.{service_id}"


def volume_name(service_id: str, role: str, job_id: str, suffix: str) -> str:
    """A volume's name in its pool. It carries the job that made it, so that ours and others' can be told apart."""
    return f"orch.{service_id}.{role}.{job_id}.{suffix}"
