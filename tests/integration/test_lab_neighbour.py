"""The lab's second machine: it is another host on the same bridge, and none of its daemons is the first one's."""

from __future__ import annotations

import socket
import subprocess

import pytest

from tests.lab import neighbour
from tests.lab.environment import Lab
from tests.lab.neighbour import Neighbour

pytestmark = pytest.mark.lab


def virsh(lab: Lab, *words: str) -> str:
    return subprocess.run(["virsh", "-q", "-c", lab.uri, *words], capture_output=True, text=True, timeout=60, check=True).stdout


def ssh(machine: Lab, *words: str) -> str:
    options = ["-o", f"UserKnownHostsFile={machine.ssh_known_hosts}", "-o", "BatchMode=yes", "-i", str(machine.ssh_identity)]
    command = ["ssh", "-p", str(machine.ssh_port), *options, f"root@{machine.ssh_address}", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_it_is_another_host_with_a_pool_and_a_libvirtd_of_its_own(lab: Lab, second_machine: Neighbour) -> None:
    assert second_machine.run("hostname").stdout.strip() == neighbour.NAME
    assert f"<uuid>{neighbour.HOST_UUID}</uuid>" in second_machine.virsh("capabilities").stdout
    assert neighbour.HOST_UUID not in virsh(lab, "capabilities")
    assert second_machine.lab.pool_device != lab.pool_device
    second_machine.virsh("vol-create-as", lab.pool, "only-here.raw", "1M", "--format", "raw")
    try:
        assert "only-here.raw" not in virsh(lab, "vol-list", lab.pool)
    finally:
        second_machine.virsh("vol-delete", "only-here.raw", lab.pool)


def test_its_sshd_has_keys_of_its_own_and_leads_onto_it(lab: Lab, second_machine: Neighbour) -> None:
    assert ssh(second_machine.lab, "hostname").strip() == neighbour.NAME
    assert ssh(lab, "hostname").strip() != neighbour.NAME
    assert second_machine.lab.ssh_host_key.read_text() != lab.ssh_host_key.read_text()


def test_while_it_hangs_it_is_not_gone_and_does_not_answer(lab: Lab, second_machine: Neighbour) -> None:
    address = (neighbour.ADDRESS, neighbour.SSH_PORT)
    with second_machine.hung(), socket.create_connection(address, timeout=2) as link, pytest.raises(TimeoutError):
        link.recv(4)
    assert ssh(second_machine.lab, "hostname").strip() == neighbour.NAME
    assert virsh(lab, "version")
