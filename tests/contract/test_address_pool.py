from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.domain.plans import AddressRange
from orchestrator.drivers.fake.outside import FakeClock
from orchestrator.ports.address_pool import AddressPool
from orchestrator.store.address_pool import StoreAddressPool
from tests.contract.address_pool import COOL_DOWN, AddressPoolContract
from tests.store_files import OpensDatabases


class TestStoreAddressPool(OpensDatabases, AddressPoolContract):
    def make(self, ranges: Sequence[AddressRange], clock: FakeClock, directory: Path) -> AddressPool:
        return StoreAddressPool(self.open(directory), ranges, clock, COOL_DOWN)
