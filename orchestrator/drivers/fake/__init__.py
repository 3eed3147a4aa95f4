"""The simulated node that ships with the product: for trying out, and for every test of what lies above the drivers."""

from orchestrator.drivers.fake.access import FakeAccess
from orchestrator.drivers.fake.agent import FakeAgent
from orchestrator.drivers.fake.consoles import FakeConsoles
from orchestrator.drivers.fake.exports import FakeExports
from orchestrator.drivers.fake.hosting import FakeHostingNode
from orchestrator.drivers.fake.hypervisor import FakeHypervisor
from orchestrator.drivers.fake.outside import FakeClock, FakeEnrolment, FakeNotifier
from orchestrator.drivers.fake.reach import FakeReach
from orchestrator.drivers.fake.repositories import FakeRepositories
from orchestrator.drivers.fake.sizes import FakeSizes
from orchestrator.drivers.fake.volumes import FakeVolumes
from orchestrator.drivers.fake.world import FakeWorld

__all__ = [
    "FakeAccess",
    "FakeAgent",
    "FakeClock",
    "FakeConsoles",
    "FakeEnrolment",
    "FakeExports",
    "FakeHostingNode",
    "FakeHypervisor",
    "FakeNotifier",
    "FakeReach",
    "FakeRepositories",
    "FakeSizes",
    "FakeVolumes",
    "FakeWorld",
]
