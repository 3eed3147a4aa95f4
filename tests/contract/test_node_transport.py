"""The NodeTransport suite on the simulated agent, and on the real one behind the lab's sshd."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from orchestrator.drivers.fake.agent import FakeAgent
from orchestrator.drivers.fake.world import POOL_PATH, FakeWorld
from orchestrator.ports.node_transport import NodeTransport
from tests.contract.node_transport import SECONDS, NodeTransportContract
from tests.enrolled import Controller, agent, enrolled  # noqa: F401 - fixtures
from tests.lab.environment import Lab

MEGABYTE = 1024 * 1024


class TestFakeAgent(NodeTransportContract):
    @pytest.fixture
    def agent(self, tmp_path: Path) -> FakeAgent:
        self.world = FakeWorld(tmp_path / "world.json")
        self.world.add_node("n1")
        return FakeAgent(self.world, "n1")

    def put_volume(self, name: str) -> str:
        with self.world.change() as state:
            state["nodes"]["n1"]["volumes"][name] = {
                "format": "raw",
                "capacity_bytes": MEGABYTE,
                "allocated_bytes": MEGABYTE,
                "backing": "",
                "secret_uuid": "",
                "corrupt": False,
                "sha256": "",
                "markers": [],
            }
        return f"{POOL_PATH}/{name}"

    def put_template(self, name: str) -> tuple[str, str]:
        self.world.add_template("n1", name, sha256="5" * 64)
        return f"{POOL_PATH}/{name}", "5" * 64

    def put_log(self, guest: str) -> str:
        path = f"/var/log/libvirt/qemu/{guest}.log"
        with self.world.change() as state:
            state["nodes"]["n1"]["files"].append(path)
        return path

    def pool_path(self) -> str:
        return POOL_PATH

    def bridge(self) -> str:
        return "br0"


class TestAgentOverSsh(NodeTransportContract):
    @pytest.fixture(autouse=True)
    def node(self, lab: Lab, enrolled: Controller) -> None:  # noqa: F811
        self.lab = lab

    def put_volume(self, name: str) -> str:
        path = self.lab.pool_path / name
        path.write_bytes(hashlib.shake_128(name.encode()).digest(MEGABYTE))
        return str(path)

    def put_template(self, name: str) -> tuple[str, str]:
        path = self.lab.pool_path / name
        path.write_bytes(name.encode() * 1000)
        return str(path), hashlib.sha256(path.read_bytes()).hexdigest()

    def put_log(self, guest: str) -> str:
        path = Path(f"/var/log/libvirt/qemu/{guest}.log")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("log\n")
        return str(path)

    def pool_path(self) -> str:
        return str(self.lab.pool_path)

    def bridge(self) -> str:
        return self.lab.bridge

    def test_what_is_written_to_the_pool_is_what_it_is_full_of(self, agent: NodeTransport) -> None:  # noqa: F811
        file = self.lab.pool_path / "filler.bin"
        before = agent.call("pool-fill", {"path": self.pool_path()}, deadline=SECONDS)["data_percent"]
        try:
            with file.open("wb") as there:
                os.posix_fallocate(there.fileno(), 0, 1 << 30)
            after = agent.call("pool-fill", {"path": self.pool_path()}, deadline=SECONDS)["data_percent"]
        finally:
            file.unlink()
        total = os.statvfs(self.lab.pool_path)
        assert after - before == pytest.approx(100 * (1 << 30) / (total.f_blocks * total.f_frsize), abs=1.0)
