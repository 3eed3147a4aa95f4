"""Guests on one hypervisor."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from orchestrator.domain.plans import Lease, lower_rate


class Power(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    PAUSED = "paused"
    CRASHED = "crashed"


class PowerAction(StrEnum):
    START = "start"
    SHUTDOWN = "shutdown"  # asks the guest (ACPI); returns when it is off or the deadline has passed (Transient)
    DESTROY = "destroy"  # pulls the plug; returns when it is proven off
    REBOOT = "reboot"
    RESET = "reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestMark:
    """Our metadata inside the guest's definition on the node; what the host hook reads.

    ``holds``: reasons that stop the guest; not empty = the hook refuses a start. ``power_before`` and
    ``autostart_before`` are kept while suspended, so that unsuspend brings back exactly what was.
    ``limits``: reasons that throttle its network, to ``limited_rate`` bytes per second; ``network_before`` is the rate that it
    gets back (0 = no limit), None where it is not throttled.
    ``tokens``: tokens of acts without a visible end state (reboot), newest last, at most eight.
    ``spec_signature`` signs ``spec_digest`` (sha256 of the canonical JSON of the GuestSpec) with the controller's key.
    """

    service_id: str
    job_id: str
    spec_digest: str = ""
    spec_signature: str = ""
    holds: tuple[str, ...] = ()
    power_before: Power | None = None
    autostart_before: bool | None = None
    tokens: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    limited_rate: int = 0
    network_before: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRecord:
    """What is needed to know the guest's service again after the store was lost: JSON in ASCII, and the controller's signature of
    these bytes (``key id:value``). It stands beside the mark, so that writing one never overwrites the other."""

    text: str
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestDisk:
    """A disk as defined. ``secret_uuid`` names the libvirt secret of an encrypted volume. Limits of 0 = none."""

    path: str
    format: str
    target: str = "vda"
    capacity_bytes: int = 0
    secret_uuid: str = ""
    bytes_per_second: int = 0
    iops: int = 0
    read_only: bool = False
    cdrom: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestDefinition:
    """Everything libvirt is told about a guest. ``kernel``/``initrd`` are absolute paths on the node, or empty.

    ``vcpus_most``: as many it can be given while it runs; 0 = no more than it has. ``mail_out``: it may send to port 25
    of others.
    """

    name: str
    uuid: str
    mark: GuestMark
    vcpus: int
    memory_bytes: int
    cpu_percent: int
    disks: tuple[GuestDisk, ...]
    bridge: str
    lease: Lease
    network_bytes_per_second: int = 0
    kernel: str = ""
    initrd: str = ""
    kernel_arguments: str = ""
    agent: bool = True
    vcpus_most: int = 0
    mail_out: bool = False

    def over(self, standing: GuestMark | None) -> GuestDefinition:
        """This, for a guest that is there with the mark ``standing``: where that is throttled, it stays so.

        What is defined as its rate is what it gets back. A definition whose own mark says that it is throttled stands as it is.
        """
        if standing is None or not standing.limits or self.mark.limits:
            return self
        rate = lower_rate(standing.limited_rate, self.network_bytes_per_second)
        mark = replace(self.mark, limits=standing.limits, limited_rate=rate, network_before=self.network_bytes_per_second)
        return replace(self, mark=mark, network_bytes_per_second=rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFacts:
    """A guest as the hypervisor reports it, live values where it runs. ``mark`` None = not one of ours.

    ``addresses`` and ``mac_filtered`` are what the anti-spoofing filter lets through; ``cpu_percent`` per vCPU, 0 = no limit.
    ``network_at_start``, ``vcpus_at_start`` and ``memory_at_start``: what its next start gives it; of a guest that is off the
    same as the others. ``vcpus_most``: as many can be plugged into it while it runs. ``record`` as it stands there,
    whoever signed it. ``mail_out``: its filter lets it send to port 25 of others; ``mail_out_at_start``: after its next start.
    """

    name: str
    uuid: str
    power: Power
    autostart: bool
    mark: GuestMark | None
    vcpus: int
    memory_bytes: int
    cpu_percent: int = 0
    disks: tuple[GuestDisk, ...] = ()
    mac: str = ""
    bridge: str = ""
    addresses: tuple[str, ...] = ()
    filter_name: str = ""
    mail_out: bool = True
    mail_out_at_start: bool = True
    network_bytes_per_second: int = 0
    network_at_start: int = 0
    vcpus_at_start: int = 0
    memory_at_start: int = 0
    vcpus_most: int = 0
    managed_save: bool = False
    agent_connected: bool = False
    record: SignedRecord | None = None

    @property
    def needs_restart(self) -> bool:
        """It is defined with another size than it runs with."""
        return (self.vcpus, self.memory_bytes) != (self.vcpus_at_start, self.memory_at_start)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What a hypervisor has. Bytes; ``cpus`` are logical; ``accelerated`` False = software emulation.

    ``pool_path``: the directory of its storage pool. ``pool_data_percent``, ``pool_metadata_percent``: how full that is, by its
    node's agent; None = not told.
    """

    hostname: str
    cpus: int
    memory_bytes: int
    pool_capacity_bytes: int
    pool_available_bytes: int
    accelerated: bool
    libvirt_version: str
    hypervisor_version: str
    guests: int
    pool_path: str = ""
    pool_data_percent: float | None = None
    pool_metadata_percent: float | None = None
    details: dict[str, object] = field(default_factory=dict)


class Hypervisor(Protocol):
    def node_facts(self, *, deadline: float) -> NodeFacts: ...

    def guests(self, *, deadline: float) -> tuple[GuestFacts, ...]:
        """All guests of the node, others' too (their ``mark`` is None)."""
        ...

    def guest(self, name: str, *, deadline: float) -> GuestFacts | None:
        """The guest, or None where it is positively absent (an unreachable node raises)."""
        ...

    def define(self, definition: GuestDefinition, *, deadline: float) -> GuestFacts:
        """Define or redefine. Raises AlreadyExists where a guest of that name carries another service's mark or none.

        Also makes sure that the anti-spoofing filter the definition names stands on the node. A guest that is throttled stays
        so (``GuestDefinition.over``), and one with a signed record keeps it.
        """
        ...

    def power(self, name: str, action: PowerAction, *, deadline: float) -> GuestFacts:
        """Act and return when it took effect. START of a held guest raises Refused (the host hook's refusal).

        START of a running guest and SHUTDOWN or DESTROY of a stopped one are success.
        """
        ...

    def mark(self, name: str, mark: GuestMark, *, autostart: bool, deadline: float) -> GuestFacts:
        """Replace our metadata (live and persistent) and set autostart."""
        ...

    def keep_record(self, name: str, record: SignedRecord, *, deadline: float) -> None:
        """Put it beside our mark, in the place of the one that is there (live and persistent); nothing else is changed.

        Also on a guest that has no mark. Raises NotFound.
        """
        ...

    def set_network_rate(self, name: str, bytes_per_second: int, *, deadline: float) -> GuestFacts:
        """Let so much through the guest's interface in each direction, at once and after each start; 0 = no limit.

        Hypervisors count whole kilobytes (1000 bytes); less than one becomes one.
        """
        ...

    def set_mail(self, name: str, *, out: bool, deadline: float) -> GuestFacts:
        """Let the guest send to port 25 (TCP) of others or not, at once and after each start. Of connections that stand nothing
        goes out any more. A guest that runs is halted for the moment in which its filter is another's; what is cut off in between
        leaves it paused. Raises NotFound, and WrongState where no filter of ours is on its interface.
        """
        ...

    def undefine(self, name: str, *, deadline: float) -> None:
        """Remove the stopped guest with managed save, snapshot and checkpoint metadata and NVRAM; absent = success.

        Raises WrongState where it still runs.
        """
        ...

    def agent_ping(self, name: str, *, deadline: float) -> bool:
        """Whether the guest agent inside answers."""
        ...

    def close(self) -> None: ...
