"""The simulated network: the addresses of running simulated guests and machines answer as SSH servers do."""

from __future__ import annotations

import json

from orchestrator.drivers.fake.world import FakeWorld, State

BANNER = "SSH-2.0-Simulated"


class FakeReach:
    """Reach over all simulated nodes; a guest that runs answers on every address of its lease, a machine that runs from its disk
    on those that its seed names, one that runs a rescue system on those that it was given; on port 22 only."""

    def __init__(self, world: FakeWorld) -> None:
        self._world = world

    def banner(self, address: str, port: int, *, deadline: float) -> str:
        if port != 22:
            return ""
        for node in self._world.read()["nodes"].values():
            if "machine" in node and _answers(node["machine"], address):
                return BANNER
            for guest in node.get("guests", {}).values():
                lease = guest["definition"]["lease"]
                held = {str(interface).partition("/")[0] for interface in (*lease["ipv4"], *lease["ipv6"])}
                if node["up"] and guest["power"] == "running" and address in held:
                    return BANNER
        return ""


def _answers(machine: State, address: str) -> bool:
    if machine["power"] != "on" or not machine["boots"]:
        return False
    rescue = machine.get("rescue")
    if rescue and rescue["boot"] == len(machine["boots"]):
        return address in {each.partition("/")[0] for each in rescue["addresses"]}
    if machine["boots"][-1] != "disk":
        return False
    seeds = [json.loads(each["seed"].get("network-config", "{}")) for each in machine.get("disks", ())]
    held = (str(one) for seed in seeds for link in seed.get("ethernets", {}).values() for one in link["addresses"])
    return address in {each.partition("/")[0] for each in held}
