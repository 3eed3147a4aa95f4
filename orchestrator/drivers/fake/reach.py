"""The simulated network: the addresses of running simulated guests answer as SSH servers do."""

from __future__ import annotations

from orchestrator.drivers.fake.world import FakeWorld

BANNER = "SSH-2.0-Simulated"


class FakeReach:
    """Reach over all simulated nodes; a guest that runs answers on every address of its lease, and on port 22 only."""

    def __init__(self, world: FakeWorld) -> None:
        self._world = world

    def banner(self, address: str, port: int, *, deadline: float) -> str:
        if port != 22:
            return ""
        for node in self._world.read()["nodes"].values():
            for guest in node["guests"].values():
                lease = guest["definition"]["lease"]
                held = {str(interface).partition("/")[0] for interface in (*lease["ipv4"], *lease["ipv6"])}
                if node["up"] and guest["power"] == "running" and address in held:
                    return BANNER
        return ""
