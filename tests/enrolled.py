"""The lab's machine as an enrolled node: what a test needs to call its agent with the controller's key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agents.build import Bundle, bundle
from orchestrator.domain.plans import Node
from orchestrator.drivers.local.keys import LocalSecrets, init_keys
from orchestrator.drivers.ssh import SshEnrolment, SshTransport
from orchestrator.ports.enrolment import EnrolmentReport, HostKey
from tests.lab.environment import Lab

SECONDS = 240.0


@dataclass(frozen=True)
class Controller:
    """A controller's keys and the node as its configuration names it. ``identity`` is its SSH key, ``operator`` a person's."""

    secrets: LocalSecrets
    identity: Path
    operator: Path
    node: Node

    bundle: Bundle = field(default_factory=bundle)

    def enrolment(self) -> SshEnrolment:
        return SshEnrolment(bundle=self.bundle, secrets=self.secrets, identity=self.identity)

    def host_key(self) -> HostKey:
        return self.enrolment().host_keys(self.node, deadline=SECONDS)[0]

    def enrol(self, *, host_key: HostKey | None = None, said: list[str] | None = None, install: bool = False) -> EnrolmentReport:
        return self.enrolment().enrol(
            self.node,
            host_key=host_key or self.host_key(),
            identity=str(self.operator),
            say=(said if said is not None else []).append,
            deadline=SECONDS,
            install=install,
        )

    def transport(self, host_key: HostKey | None = None) -> SshTransport:
        """A new connection to the node's agent; asked for its key first, unless that is given."""
        key = host_key or self.host_key()
        return SshTransport(address=self.node.address, port=self.node.port, key_path=self.identity, host_key=key)


def controller(lab: Lab, directory: Path, node: Node | None = None) -> Controller:
    """A new controller whose state lies in ``directory``; its node is the lab's machine, or ``node``."""
    state = directory / "state"
    state.mkdir(mode=0o700)
    init_keys(state)
    return Controller(
        secrets=LocalSecrets(state, {}),
        identity=state / "ssh" / "controller",
        operator=lab.ssh_identity,
        node=node or Node(name="n1", zone="z1", address=lab.ssh_address, port=lab.ssh_port, pool=lab.pool, bridge=lab.bridge),
    )


@pytest.fixture(scope="module")
def enrolled(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Controller:
    """A controller that has enrolled the lab's machine."""
    made = controller(lab, tmp_path_factory.mktemp("controller"))
    assert made.enrol().complete
    return made


@pytest.fixture
def agent(enrolled: Controller) -> Iterator[SshTransport]:
    """A fresh connection to its agent."""
    transport = enrolled.transport()
    yield transport
    transport.close()
