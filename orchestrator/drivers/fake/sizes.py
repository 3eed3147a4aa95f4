"""Sizes of guests on one simulated node: vCPUs are plugged at once where there is room, memory waits for a start."""

from __future__ import annotations

from orchestrator.domain.errors import NotFound, WrongState
from orchestrator.domain.sizes import size_words
from orchestrator.drivers.fake.hypervisor import LIVE_SIZE, facts_in, guest_in
from orchestrator.drivers.fake.world import FakeWorld, State
from orchestrator.ports.guest_sizes import GuestSize
from orchestrator.ports.hypervisor import GuestFacts


class FakeSizes:
    """The GuestSizes of one simulated node."""

    def __init__(self, world: FakeWorld, node: str) -> None:
        self._world = world
        self._node = node

    def resize(self, name: str, size: GuestSize, *, deadline: float) -> GuestFacts:
        def at_start(node: State) -> GuestFacts:
            guest = guest_in(node, name)
            definition = guest["definition"]
            if guest["power"] != "stopped":
                runs = facts_in(node, name)
                guest[LIVE_SIZE] = {"vcpus": runs.vcpus, "memory_bytes": runs.memory_bytes, "vcpus_most": runs.vcpus_most}
            limits = {"bytes_per_second": size.disk_bytes_per_second, "iops": size.disk_iops}
            definition["disks"] = [{**disk, **({} if disk["read_only"] else limits)} for disk in definition["disks"]]
            for what in ("vcpus", "memory_bytes", "cpu_percent", "vcpus_most"):
                definition[what] = getattr(size, what)
            return facts_in(node, name)

        def live(node: State) -> GuestFacts:
            guest = guest_in(node, name)
            runs = guest.get(LIVE_SIZE)
            if runs is not None and size.vcpus <= runs["vcpus_most"]:
                runs["vcpus"] = size.vcpus
            most = max(size.vcpus, size.vcpus_most)
            if runs == {"vcpus": size.vcpus, "memory_bytes": size.memory_bytes, "vcpus_most": most}:
                del guest[LIVE_SIZE]
            return facts_in(node, name)

        return self._world.act("sizes.resize", node=self._node, subject=name, deadline=deadline, stages=[at_start, live])

    def grow(self, name: str, capacity_bytes: int, *, deadline: float) -> GuestFacts:
        def stage(node: State) -> GuestFacts:
            disk = next((disk for disk in guest_in(node, name)["definition"]["disks"] if not disk["read_only"]), None)
            volume = None if disk is None else node["volumes"].get(disk["path"].rpartition("/")[2])
            if disk is None or volume is None:
                raise NotFound(f"{name} has no disk")
            if volume["capacity_bytes"] > capacity_bytes:
                raise WrongState(f"the disk of {name} has {size_words(volume['capacity_bytes'])} already: it is not made smaller")
            volume["capacity_bytes"] = disk["capacity_bytes"] = capacity_bytes
            return facts_in(node, name)

        return self._world.act("sizes.grow", node=self._node, subject=name, deadline=deadline, stages=[stage])
