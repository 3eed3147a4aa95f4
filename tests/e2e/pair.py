"""A controller with two hypervisors, the lab's own machine and its second one, and small services on them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.e2e.billing import Billing
from tests.e2e.site import NODE, SECRET, Site
from tests.e2e.stand import COPIES, PLANS, Stand, patient
from tests.fault.crashing import Board
from tests.lab.environment import Lab
from tests.lab.neighbour import Neighbour
from tests.lab.templates import Installed

OTHER = "hv2"


@dataclass
class Pair(Stand):
    """``machine``: the second one."""

    machine: Neighbour | None = None

    def placed(self, node: str, *, plan: str) -> str:
        """A new service, up, on the node."""
        away = {NODE: OTHER, OTHER: NODE}[node]
        self.site.cli("node", "drain", away, "--why", "a test places elsewhere")
        try:
            (service,) = self.new()
            self.done([self.order(service, plan=plan)])
        finally:
            self.site.cli("node", "undrain", away, "--why", "it is placed")
        self.answering([service])
        return service

    def node_of(self, service: str) -> str:
        return str(self.site.http("GET", f"/v1/services/{service}").json()["node"])


@contextmanager
def standing(lab: Lab, machine: Neighbour, directory: Path, template: Installed) -> Iterator[Pair]:
    """Served, with both nodes enrolled."""
    template = patient(template)
    machine.put(template.path, template.kernel, template.initrd)
    board = Board(directory / "board")
    board.prepare()
    copies = directory / "copies"
    copies.mkdir()
    with Billing(SECRET) as billing:
        site = Site(
            lab=lab,
            directory=directory,
            templates=(template,),
            plans=PLANS,
            billing=billing,
            main=(sys.executable, "-m", "tests.fault.crashing", str(board.directory)),
            settings={"backups": {"targets": [{"name": COPIES, "location": str(copies)}], "drills": 0}},
            nodes=(_entry(NODE, lab), _entry(OTHER, machine.lab)),
        )
        pair = Pair(site=site, board=board, machine=machine)
        try:
            site.prepare()
            site.start()
            for node, at in ((NODE, lab), (OTHER, machine.lab)):
                report = replace(site, lab=at).enrol(node)
                assert report["complete"], report
                site.wait_for_node(node)
            yield pair
        finally:
            site.kill()
            pair.sweep()


def _entry(name: str, lab: Lab) -> dict[str, Any]:
    return {
        "name": name,
        "zone": "lab",
        "address": lab.ssh_address,
        "port": lab.ssh_port,
        "pool": lab.pool,
        "bridge": lab.bridge,
        "cpu_ratio": 100,
        "disk_ratio": 100,
        "memory_ratio": 4,
        "backups": COPIES,
        "backups_on_own_node": True,
    }
