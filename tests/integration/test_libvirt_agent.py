"""The guest agent inside a real Debian guest, asked through libvirt and by the node's own agent."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from agents.node.freeze import HOLD_SECONDS
from orchestrator.domain.errors import WrongState
from orchestrator.ports.hypervisor import Power, PowerAction
from tests.contract.nodes import LONG, LibvirtNode, sh
from tests.integration.libvirt_guests import define_guest, remove_guest
from tests.lab import daemons
from tests.lab.environment import Lab
from tests.lab.templates import Installed
from tests.live import CRYPT, KEY
from tests.local_agent import words

SECONDS_TO_BOOT = 240.0
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f anna"
OWN_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA his-own"

pytestmark = [pytest.mark.lab, pytest.mark.guest]


@pytest.fixture(scope="module")
def node(lab: Lab, debian_template: Installed) -> Iterator[LibvirtNode]:
    made = LibvirtNode(lab, debian_template)
    yield made
    made.connection.close()


@pytest.fixture(scope="module")
def guest(node: LibvirtNode) -> Iterator[str]:
    """Its name, once its agent answers."""
    definition, volumes = define_guest(node, 60, size=node.boot.size_bytes, agent=True)
    hypervisor, console = node.hypervisor, Path(f"/var/log/libvirt/qemu/{definition.name}.console.log")
    try:
        hypervisor.power(definition.name, PowerAction.START, deadline=LONG)
        assert hypervisor.agent_ping(definition.name, deadline=10) is False
        daemons.wait_until(
            "the agent", lambda: hypervisor.agent_ping(definition.name, deadline=10), seconds=SECONDS_TO_BOOT, log=console
        )
        yield definition.name
    finally:
        remove_guest(node, definition.name, volumes)


def frozen(guest: str) -> bool:
    """Whether the guest's agent says so; while it is, it answers to nothing else."""
    asked = json.dumps({"execute": "guest-fsfreeze-status"})
    said: str = json.loads(sh("virsh", "qemu-agent-command", guest, asked))["return"]
    return said == "frozen"


def test_a_guest_is_frozen_until_it_is_told_to_thaw(node: LibvirtNode, guest: str) -> None:
    assert node.agent.call("guest-freeze", {"guest": guest, "seconds": 60}, deadline=90)["frozen"] >= 1
    assert frozen(guest)
    assert node.agent.call("guest-thaw", {"guest": guest}, deadline=60)["held"] is True
    assert not frozen(guest)


def test_a_guest_thaws_although_nobody_comes_back(node: LibvirtNode, guest: str) -> None:
    """The call that froze it is killed with all that it can reach, and nothing ever asks for the thaw."""
    with subprocess.Popen(words(node.agent.place, "guest-freeze"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as call:
        assert call.stdin is not None
        assert call.stdout is not None
        call.stdin.write(json.dumps({"guest": guest, "seconds": 60}).encode())
        call.stdin.close()
        assert json.loads(call.stdout.readline())["result"]["frozen"] >= 1
        call.send_signal(signal.SIGKILL)
    assert frozen(guest)
    time.sleep(HOLD_SECONDS / 2)
    daemons.wait_until("the thaw", lambda: not frozen(guest), seconds=HOLD_SECONDS + 20)
    assert node.agent.call("guest-thaw", {"guest": guest}, deadline=60)["held"] is False


def root(guest: str, command: str) -> str:
    """What the command prints in the guest, run as root by its agent."""
    asked = {"execute": "guest-exec", "arguments": {"path": "/bin/sh", "arg": ["-c", command], "capture-output": True}}
    pid = json.loads(sh("virsh", "qemu-agent-command", guest, json.dumps(asked)))["return"]["pid"]
    status = json.dumps({"execute": "guest-exec-status", "arguments": {"pid": pid}})
    for _ in range(100):
        said = json.loads(sh("virsh", "qemu-agent-command", guest, status))["return"]
        if said["exited"]:
            return base64.b64decode(said.get("out-data", "")).decode()
        time.sleep(0.2)
    raise AssertionError(f"{command} does not end")


def test_a_password_is_set_as_its_hash(node: LibvirtNode, guest: str) -> None:
    node.access.set_password(guest, user="root", password_hash=CRYPT, deadline=LONG)
    assert root(guest, "getent shadow root").split(":")[1] == CRYPT
    assert CRYPT not in Path(f"/var/log/libvirt/qemu/{guest}.log").read_text()


def test_keys_are_let_in_and_taken_away_and_what_else_stands_there_stays(node: LibvirtNode, guest: str) -> None:
    root(guest, "rm -rf /root/.ssh")
    assert node.access.keys(guest, user="root", deadline=LONG) == ()
    change = partial(node.access.change_keys, guest, user="root", deadline=LONG)
    change(add=(KEY, OTHER_KEY), remove=())
    assert set(node.access.keys(guest, user="root", deadline=LONG)) == {KEY, OTHER_KEY}
    own = f"\\n# mine\\nno-pty {OWN_KEY}"
    # qemu-guest-agent ends the file without a line break.
    root(guest, f"printf '%b\\n' '{own}' >> /root/.ssh/authorized_keys")
    change(add=(OTHER_KEY,), remove=(KEY,))
    assert set(node.access.keys(guest, user="root", deadline=LONG)) == {OTHER_KEY, f"no-pty {OWN_KEY}"}
    assert root(guest, "cat /root/.ssh/authorized_keys").splitlines() == [OTHER_KEY, "# mine", f"no-pty {OWN_KEY}"]
    assert root(guest, "stat -c '%a %U' /root/.ssh /root/.ssh/authorized_keys").splitlines() == ["700 root", "600 root"]


def test_a_guest_without_an_agent_is_said_not_to_be_frozen(node: LibvirtNode) -> None:
    definition, volumes = define_guest(node, 61, size=node.boot.size_bytes)
    try:
        answer = node.agent.call("guest-freeze", {"guest": definition.name, "seconds": 10}, deadline=60)
        assert answer["frozen"] == 0
        assert answer["why"]
        with pytest.raises(WrongState, match="no guest agent answers"):
            node.access.set_password(definition.name, user="root", password_hash=CRYPT, deadline=LONG)
        with pytest.raises(WrongState, match="no guest agent answers"):
            node.access.change_keys(definition.name, user="root", add=(KEY,), remove=(), deadline=LONG)
    finally:
        remove_guest(node, definition.name, volumes)


def test_the_agent_lets_the_guest_shut_down_and_is_gone_with_it(node: LibvirtNode, guest: str) -> None:
    facts = node.hypervisor.guest(guest, deadline=LONG)
    assert facts is not None
    assert facts.agent_connected
    assert node.hypervisor.power(guest, PowerAction.SHUTDOWN, deadline=LONG).power is Power.STOPPED
    assert node.hypervisor.agent_ping(guest, deadline=10) is False
