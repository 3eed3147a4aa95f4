from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.domain.plans import Node
from orchestrator.drivers.fake.outside import FakeClock
from orchestrator.ports.ledger import Ledger
from orchestrator.store.ledger import StoreLedger
from tests.contract.ledger import LedgerContract
from tests.store_files import OpensDatabases


class TestStoreLedger(OpensDatabases, LedgerContract):
    def make(self, nodes: Sequence[Node], clock: FakeClock, directory: Path) -> Ledger:
        return StoreLedger(self.open(directory), nodes, clock)
