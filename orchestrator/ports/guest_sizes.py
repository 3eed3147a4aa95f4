"""How large guests on one hypervisor are. Apart from ``hypervisor``, to which one guest is like another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from orchestrator.ports.hypervisor import GuestFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSize:
    """As ``GuestDefinition`` and its first disk say it; the disk's own size and the network's rate are apart."""

    vcpus: int
    memory_bytes: int
    cpu_percent: int
    disk_bytes_per_second: int = 0
    disk_iops: int = 0
    vcpus_most: int = 0


class GuestSizes(Protocol):
    def resize(self, name: str, size: GuestSize, *, deadline: float) -> GuestFacts:
        """Define the guest with this size, and give it as much of that at once as can be while it runs.

        The limits hold at once; vCPUs are plugged, or unplugged where the guest lets go of them, up to ``vcpus_most`` of its last
        start; memory waits for the next start. What is still to come the facts tell (``GuestFacts.needs_restart``).
        """
        ...

    def grow(self, name: str, capacity_bytes: int, *, deadline: float) -> GuestFacts:
        """Make the guest's first disk that large, whether it runs or not; it is that large already = success.

        Raises WrongState where it is larger: what is beyond the new end would be lost.
        """
        ...
