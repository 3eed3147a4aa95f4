"""Hosting nodes for the tests: servers of the lab, enrolled by a controller. All tests of a session share them.

A test makes accounts of its own on them and clears them away; what all share (nginx, MariaDB, sshd) it leaves as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.plans import Node, NodeKind
from orchestrator.drivers.ssh import SshTransport
from orchestrator.ports.enrolment import EnrolmentReport
from tests.enrolled import SECONDS, Controller, controller
from tests.lab import hosting
from tests.lab.environment import Lab
from tests.lab.hosting import HostingNode


@dataclass(frozen=True)
class HostingServer:
    """One enrolled hosting node. ``server`` is how a person gets at it, ``controller`` how the product does."""

    server: HostingNode
    controller: Controller
    report: EnrolmentReport
    """What its enrolment found."""

    @property
    def node(self) -> Node:
        """As a configuration names it."""
        return self.controller.node

    @property
    def address(self) -> str:
        return self.server.address

    def run(self, *argv: str) -> str:
        """See `HostingNode.run`."""
        return self.server.run(*argv)

    def transport(self) -> SshTransport:
        """A new connection to its agent; whoever asks for it closes it."""
        return self.controller.transport(self.report.host_key)

    def call(self, command: str, arguments: dict[str, Any], *, deadline: float = SECONDS) -> dict[str, Any]:
        """One command of its agent, over a connection of its own."""
        transport = self.transport()
        try:
            return transport.call(command, arguments, deadline=deadline)
        finally:
            transport.close()


@contextmanager
def standing(lab: Lab, directory: Path, number: int) -> Iterator[HostingServer]:
    """The ``number``-th hosting node of the lab, booted and enrolled by a controller of its own."""
    with hosting.running(lab, number) as server:
        node = Node(name=server.name, zone="z1", address=server.address, kind=NodeKind.HOSTING)
        made = controller(lab, directory, node)
        yield HostingServer(server=server, controller=made, report=made.enrol())


@pytest.fixture(scope="session")
def hosting_node(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostingServer]:
    """The hosting node that the tests share."""
    with standing(lab, tmp_path_factory.mktemp("hosting"), 0) as ground:
        yield ground


@pytest.fixture(scope="session")
def other_hosting_node(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostingServer]:
    """A second one: for what moves from one node to another."""
    with standing(lab, tmp_path_factory.mktemp("hosting"), 1) as ground:
        yield ground
