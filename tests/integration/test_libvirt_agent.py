"""The guest agent inside a real Debian guest, asked through libvirt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.ports.hypervisor import Power, PowerAction
from tests.contract.nodes import LONG, LibvirtNode
from tests.integration.libvirt_guests import define_guest, remove_guest
from tests.lab import daemons
from tests.lab.environment import Lab
from tests.lab.templates import Installed

SECONDS_TO_BOOT = 240.0


@pytest.fixture
def node(lab: Lab, debian_template: Installed) -> Iterator[LibvirtNode]:
    made = LibvirtNode(lab, debian_template)
    yield made
    made.connection.close()


@pytest.mark.guest
def test_the_agent_answers_once_the_guest_is_up_and_lets_it_shut_down(node: LibvirtNode) -> None:
    definition, volumes = define_guest(node, 60, size=node.boot.size_bytes, agent=True)
    hypervisor, console = node.hypervisor, Path(f"/var/log/libvirt/qemu/{definition.name}.console.log")
    try:
        hypervisor.power(definition.name, PowerAction.START, deadline=LONG)
        assert hypervisor.agent_ping(definition.name, deadline=10) is False
        daemons.wait_until(
            "the agent", lambda: hypervisor.agent_ping(definition.name, deadline=10), seconds=SECONDS_TO_BOOT, log=console
        )
        facts = hypervisor.guest(definition.name, deadline=LONG)
        assert facts is not None
        assert facts.agent_connected
        assert hypervisor.power(definition.name, PowerAction.SHUTDOWN, deadline=LONG).power is Power.STOPPED
        assert hypervisor.agent_ping(definition.name, deadline=10) is False
    finally:
        remove_guest(node, definition.name, volumes)
