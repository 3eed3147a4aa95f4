"""The libvirt connection when things go wrong: a daemon that hangs, dies or was replaced, many callers at once, and over SSH."""

from __future__ import annotations

import io
import json
import logging
import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.domain.errors import PermanentDriverError, TransientDriverError
from orchestrator.domain.plans import Node
from orchestrator.drivers.libvirt import Connection, LibvirtHypervisor, LibvirtVolumes, ssh_uri, write_wrapper
from orchestrator.drivers.libvirt.volumes import making_name
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.observe import logs
from orchestrator.ports.enrolment import HostKey
from orchestrator.ports.hypervisor import GuestFacts
from orchestrator.ports.volumes import VolumeSpec
from tests.contract.nodes import LONG, MIB
from tests.lab import daemons
from tests.lab.environment import Lab
from tests.lab.templates import Installed
from tests.local_agent import LocalAgent


@pytest.fixture
def connection(lab: Lab) -> Iterator[Connection]:
    opened = Connection(lab.uri, node="lab-node", clock=SystemClock())
    yield opened
    opened.close()


@pytest.fixture
def hypervisor(lab: Lab, connection: Connection) -> LibvirtHypervisor:
    return LibvirtHypervisor(connection, pool=lab.pool)


@contextmanager
def hanging_libvirtd() -> Iterator[None]:
    pid = int(daemons.LIBVIRTD_PID.read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_daemon_that_hangs_costs_no_more_than_the_deadline(hypervisor: LibvirtHypervisor) -> None:
    hypervisor.guests(deadline=LONG)
    with hanging_libvirtd():
        for _ in range(2):  # the second on a connection that cannot even be opened
            began = time.monotonic()
            with pytest.raises(TransientDriverError, match="did not answer within"):
                hypervisor.guests(deadline=1.0)
            assert time.monotonic() - began < 2.0
    assert hypervisor.guests(deadline=LONG) is not None


def test_a_call_that_is_given_up_does_not_take_the_connection_from_the_others(hypervisor: LibvirtHypervisor) -> None:
    hypervisor.guests(deadline=LONG)
    answers: list[tuple[GuestFacts, ...]] = []
    patient = threading.Thread(target=lambda: answers.append(hypervisor.guests(deadline=LONG)))
    with hanging_libvirtd():
        patient.start()
        with pytest.raises(TransientDriverError):
            hypervisor.guests(deadline=0.5)
    patient.join(timeout=LONG)
    assert len(answers) == 1


def test_a_daemon_that_was_killed_is_a_transient_error_and_its_successor_is_found(hypervisor: LibvirtHypervisor) -> None:
    hypervisor.guests(deadline=LONG)
    daemons.kill_libvirtd()
    try:
        with pytest.raises(TransientDriverError):
            hypervisor.guests(deadline=5.0)
    finally:
        daemons.start_libvirtd()
    assert hypervisor.guests(deadline=LONG) is not None


def test_a_daemon_killed_while_a_volume_is_made_leaves_nothing_that_stands_in_the_way(
    lab: Lab, tiny_template: Installed, connection: Connection
) -> None:
    agent = LocalAgent(lab.directory / "agent", [lab.pool_path])
    volumes = LibvirtVolumes(connection, agent=agent, pool=lab.pool, random=secrets.token_bytes)
    spec = VolumeSpec(name="orch.c1.root.job-1.qcow2", capacity_bytes=128 * MIB, template=tiny_template.volume)
    half_made = lab.pool_path / making_name(spec.name)

    def kill() -> None:
        daemons.wait_until("the volume to be begun", half_made.exists, seconds=LONG)
        daemons.kill_libvirtd()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(TransientDriverError):
            volumes.create(spec, deadline=LONG)
    finally:
        killer.join()
        daemons.start_libvirtd()
    found = volumes.volume(spec.name, deadline=LONG)
    assert found is not None  # the agent went on without it: whole, with its key
    assert (found.capacity_bytes, found.backing_path) == (spec.capacity_bytes, str(tiny_template.path))
    assert found.secret_uuid
    volumes.delete(spec.name, deadline=LONG)
    assert volumes.volume(spec.name, deadline=LONG) is None
    assert spec.name not in volumes.secrets(deadline=LONG)


def test_many_callers_share_one_connection(hypervisor: LibvirtHypervisor) -> None:
    answers: list[tuple[GuestFacts, ...]] = []
    callers = [threading.Thread(target=lambda: answers.append(hypervisor.guests(deadline=LONG))) for _ in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=LONG)
    assert len(answers) == 16


def test_a_call_is_told_in_the_log_with_the_job_that_makes_it(hypervisor: LibvirtHypervisor) -> None:
    stream, root = io.StringIO(), logging.getLogger()
    before, handler = root.level, logs.setup(stream=stream)
    try:
        with logs.about(job_id="j1", event_id="billing/msg_1"):
            hypervisor.guests(deadline=LONG)
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
    (line,) = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (line["by"], line["node"], line["code"], line["job_id"], line["event_id"]) == (
        "libvirt",
        "lab-node",
        "",
        "j1",
        "billing/msg_1",
    )
    assert line["call"]


def test_a_closed_connection_is_opened_again_when_it_is_needed(hypervisor: LibvirtHypervisor) -> None:
    hypervisor.guests(deadline=LONG)
    hypervisor.close()
    assert hypervisor.guests(deadline=LONG) is not None


def test_libvirt_prints_nothing_of_its_own(lab: Lab) -> None:
    script = (
        "from orchestrator.drivers.libvirt import Connection, LibvirtHypervisor\n"
        "from orchestrator.drivers.local.clock import SystemClock\n"
        f"node = LibvirtHypervisor(Connection({lab.uri!r}, node='n', clock=SystemClock()), pool='orch')\n"
        "print(node.guest('orch.absent', deadline=60))\n"
    )
    done = subprocess.run([".venv/bin/python", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("None\n", "")


def over_ssh(lab: Lab, directory: Path, line: str) -> LibvirtHypervisor:
    kind = line.split()[0]
    node = Node(name="lab-node", zone="z", address=lab.ssh_address, port=lab.ssh_port, user="root", pool=lab.pool)
    host_key = HostKey(kind=kind, fingerprint="", line=line)
    wrapper = write_wrapper(directory / "ssh", node, identity=lab.ssh_identity, host_key=host_key)
    return LibvirtHypervisor(Connection(ssh_uri(node, wrapper), node=node.name, clock=SystemClock()), pool=lab.pool)


def test_a_node_is_reached_over_ssh_with_its_pinned_key(lab: Lab, tmp_path: Path) -> None:
    line = " ".join(lab.ssh_host_key.read_text().split()[:2])
    hypervisor = over_ssh(lab, tmp_path / "with a blank", line)
    assert hypervisor.node_facts(deadline=LONG).hostname == "lab-node"
    hypervisor.close()


def test_another_host_key_than_the_pinned_one_is_refused_for_good(lab: Lab, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True, timeout=60)
    line = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    with pytest.raises(PermanentDriverError, match="Host key verification failed"):
        over_ssh(lab, tmp_path, line).node_facts(deadline=LONG)


def test_a_node_where_nobody_listens_is_a_transient_error(lab: Lab, tmp_path: Path) -> None:
    node = Node(name="gone", zone="z", address="127.0.0.1", port=9, user="root")
    host_key = HostKey(kind="ssh-ed25519", fingerprint="", line=" ".join(lab.ssh_host_key.read_text().split()[:2]))
    wrapper = write_wrapper(tmp_path, node, identity=lab.ssh_identity, host_key=host_key)
    hypervisor = LibvirtHypervisor(Connection(ssh_uri(node, wrapper), node="gone", clock=SystemClock()), pool=lab.pool)
    with pytest.raises(TransientDriverError):
        hypervisor.guests(deadline=LONG)
