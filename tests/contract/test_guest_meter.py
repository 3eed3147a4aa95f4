"""The GuestMeter suite over the simulated agent, and over the real one with a guest that has booted."""

from __future__ import annotations

import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from orchestrator.domain import traffic
from orchestrator.domain.calendar import Calendar
from orchestrator.domain.traffic import GuestTraffic, Reading
from orchestrator.drivers.fake.agent import FakeAgent
from orchestrator.drivers.fake.traffic import pass_through
from orchestrator.drivers.libvirt.meter import AgentGuestMeter
from orchestrator.drivers.ssh import SshTransport
from orchestrator.ports.guest_meter import GuestMeter
from orchestrator.ports.hypervisor import Hypervisor, PowerAction
from orchestrator.store import guest_traffic
from orchestrator.store.database import Database, sqlite_url
from tests.contract.nodes import LONG, FakeNode, LibvirtNode, definition_of
from tests.enrolled import Controller, agent, enrolled  # noqa: F401 - fixtures
from tests.integration.libvirt_guests import Running, running_guest
from tests.lab import daemons, guests, tiny
from tests.lab.environment import Lab
from tests.lab.templates import Installed
from tests.store_files import fresh_database

BYTES = 280_000
# Headers, ARP, answers to what nobody listens for: more than that is no part of what was sent.
MORE = 200_000


@dataclass(frozen=True)
class Stage:
    """A guest that runs on a node."""

    meter: GuestMeter
    hypervisor: Hypervisor
    name: str

    def read(self) -> Reading | None:
        return next((each for each in self.meter.read(deadline=LONG) if each.name == self.name), None)


class GuestMeterContract(ABC):
    @abstractmethod
    def goes_in(self) -> None:
        """``BYTES`` go to the guest."""

    @abstractmethod
    def comes_out(self) -> None:
        """``BYTES`` come from it."""

    @abstractmethod
    def up(self) -> None:
        """Until the guest has booted."""

    @abstractmethod
    def restart_libvirt(self) -> None:
        """Where there is one."""

    def total(self, stage: Stage, db: Database) -> int:
        """What is kept after one more reading, by a controller that was started for it."""
        calendar = Calendar(ZoneInfo("Asia/Jakarta"))
        reading = stage.read()
        with db.write() as conn:
            before = guest_traffic.get(conn, "s60")
            counted: GuestTraffic | None = before
            if reading is not None:
                now = datetime.now(UTC)
                counted = traffic.added(before, reading, service_id="s60", node="n1", calendar=calendar, now=now)
                guest_traffic.put(conn, counted)
        db.close()
        assert counted is not None
        return sum(counted.traffic.values())

    def test_what_goes_in_and_out_is_counted_from_the_guest_s_side(self, stage: Stage) -> None:
        first = stage.read()
        assert first is not None
        self.goes_in()
        second = stage.read()
        assert second is not None
        assert second.run == first.run
        assert second.age_seconds >= first.age_seconds
        assert BYTES <= second.in_bytes - first.in_bytes < BYTES + MORE
        assert second.out_bytes - first.out_bytes < MORE
        self.comes_out()
        third = stage.read()
        assert third is not None
        assert BYTES <= third.out_bytes - second.out_bytes < BYTES + MORE
        assert third.in_bytes - second.in_bytes < MORE

    def test_nothing_is_lost_over_restarts_of_libvirt_controller_and_guest(self, stage: Stage, tmp_path: Path) -> None:
        fresh_database(tmp_path).close()

        def opened() -> Database:
            return Database(sqlite_url(tmp_path / "store.sqlite"))

        start, before = self.total(stage, opened()), stage.read()
        self.goes_in()
        self.restart_libvirt()
        first = self.total(stage, opened())
        assert BYTES <= first - start < BYTES + MORE
        stage.hypervisor.power(stage.name, PowerAction.DESTROY, deadline=LONG)
        assert stage.read() is None, "it does not run"
        assert self.total(stage, opened()) == first
        stage.hypervisor.power(stage.name, PowerAction.START, deadline=LONG)
        self.up()
        after = stage.read()
        assert before is not None
        assert after is not None
        assert after.run != before.run
        for _ in range(2):
            self.goes_in()
        second = self.total(stage, opened())
        assert 2 * BYTES <= second - first < 2 * (BYTES + MORE)


class TestSimulated(GuestMeterContract):
    @pytest.fixture
    def stage(self, tmp_path: Path) -> Stage:
        self.node = FakeNode(tmp_path)
        definition = definition_of(self.node, 60)
        self.node.hypervisor.define(definition, deadline=LONG)
        self.node.hypervisor.power(definition.name, PowerAction.START, deadline=LONG)
        return Stage(AgentGuestMeter(FakeAgent(self.node.world, "n1"), name="n1"), self.node.hypervisor, definition.name)

    def goes_in(self) -> None:
        pass_through(self.node.world, "n1", "orch.s60", in_bytes=BYTES)

    def comes_out(self) -> None:
        pass_through(self.node.world, "n1", "orch.s60", out_bytes=BYTES)

    def up(self) -> None:
        assert self.node.world.node("n1")["guests"]["orch.s60"]["power"] == "running"

    def restart_libvirt(self) -> None:
        """There is none."""


@pytest.fixture(scope="module")
def booted(lab: Lab, tiny_template: Installed) -> Iterator[Running]:
    node = LibvirtNode(lab, tiny_template)
    with running_guest(node, 60, encrypted=False) as running:
        yield running
    node.connection.close()


class TestOverSsh(GuestMeterContract):
    @pytest.fixture
    def stage(self, booted: Running, agent: SshTransport) -> Stage:  # noqa: F811
        self.running = booted
        return Stage(AgentGuestMeter(agent, name="n1"), booted.node.hypervisor, booted.definition.name)

    def goes_in(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            for _ in range(BYTES // 1400):
                link.sendto(b"x" * 1400, (self.running.address, 9))
                time.sleep(0.002)
        time.sleep(0.5)  # the host's queue runs empty

    def comes_out(self) -> None:
        tiny.show(self.running.address, 0, BYTES // 2)  # in hexadecimal digits

    def up(self) -> None:
        console = Path(f"/var/log/libvirt/qemu/{self.running.definition.name}.console.log")
        daemons.wait_until("the guest", lambda: bool(guests.banner(self.running.address)), seconds=LONG, log=console)

    def restart_libvirt(self) -> None:
        daemons.kill_libvirtd()
        daemons.start_libvirtd()
