"""What every Ledger must do; a suite for one implementation inherits this and says how to make one."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.domain.errors import AlreadyExists, NoCapacity
from orchestrator.domain.placement import NodeState, Reservation
from orchestrator.domain.plans import Node
from orchestrator.drivers.fake.outside import FakeClock
from orchestrator.ports.ledger import Ledger

GIB = 2**30
N1 = Node(name="n1", zone="z1", address="192.0.2.10", cpu_ratio=2.0, reserved_memory_bytes=GIB)
N2 = replace(N1, name="n2")
# n1 takes 8 vCPUs, 4 GiB of memory and 50 GiB of disk.
LIMIT = NodeState(
    node=N1,
    enrolled=True,
    up=True,
    cpus=4,
    memory_bytes=5 * GIB,
    disk_bytes=50 * GIB,
    promised_vcpus=0,
    promised_memory_bytes=0,
    promised_disk_bytes=0,
    guests=0,
)
ONE = Reservation(service_id="s1", job_id="j1", node="n1", vcpus=2, memory_bytes=GIB, disk_bytes=10 * GIB)


class LedgerContract(ABC):
    """``make(nodes, clock, directory)`` opens an empty ledger for these declared nodes."""

    @abstractmethod
    def make(self, nodes: Sequence[Node], clock: FakeClock, directory: Path) -> Ledger: ...

    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Ledger:
        return self.make([N1, N2], FakeClock(), tmp_path)

    def test_a_declared_node_that_was_never_seen_is_listed_without_capacity(self, ledger: Ledger) -> None:
        state = ledger.nodes()[0]
        assert (state.node, state.enrolled, state.up, state.cpus) == (N1, False, False, None)

    def test_a_reservation_counts_on_its_node_only(self, ledger: Ledger) -> None:
        ledger.reserve(ONE, limit=LIMIT)
        first, second = ledger.nodes()
        assert (first.promised_vcpus, first.promised_memory_bytes, first.promised_disk_bytes) == (2, GIB, 10 * GIB)
        assert first.guests == 1
        assert second.promised_vcpus == 0
        assert ledger.reservation("s1") == ONE

    def test_the_same_reservation_again_counts_once(self, ledger: Ledger) -> None:
        ledger.reserve(ONE, limit=LIMIT)
        ledger.reserve(ONE, limit=LIMIT)
        assert ledger.nodes()[0].promised_vcpus == 2

    def test_a_service_is_promised_on_one_node_at_a_time(self, ledger: Ledger) -> None:
        ledger.reserve(ONE, limit=LIMIT)
        with pytest.raises(AlreadyExists, match="n1"):
            ledger.reserve(replace(ONE, node="n2"), limit=replace(LIMIT, node=N2))
        assert ledger.reservation("s1") == ONE

    @pytest.mark.parametrize(
        "wanted",
        [
            replace(ONE, service_id="s2", vcpus=7),
            replace(ONE, service_id="s2", memory_bytes=3 * GIB + 1),
            replace(ONE, service_id="s2", disk_bytes=40 * GIB + 1),
        ],
    )
    def test_what_does_not_fit_beside_the_others_is_refused(self, ledger: Ledger, wanted: Reservation) -> None:
        ledger.reserve(ONE, limit=LIMIT)
        with pytest.raises(NoCapacity, match="n1"):
            ledger.reserve(wanted, limit=LIMIT)
        assert ledger.reservation("s2") is None
        assert ledger.nodes_ever("s2") == ()

    def test_a_node_is_filled_to_its_ratios_exactly(self, ledger: Ledger) -> None:
        ledger.reserve(ONE, limit=LIMIT)
        rest = replace(ONE, service_id="s2", vcpus=6, memory_bytes=3 * GIB, disk_bytes=40 * GIB)
        ledger.reserve(rest, limit=LIMIT)
        assert ledger.nodes()[0].promised_vcpus == 8

    def test_promises_made_since_the_caller_looked_count(self, ledger: Ledger) -> None:
        stale = LIMIT
        ledger.reserve(replace(ONE, vcpus=8), limit=stale)
        with pytest.raises(NoCapacity):
            ledger.reserve(replace(ONE, service_id="s2", vcpus=1), limit=stale)

    def test_what_is_promised_on_another_node_takes_nothing_of_this_one(self, ledger: Ledger) -> None:
        ledger.reserve(replace(ONE, vcpus=8), limit=LIMIT)
        other = replace(ONE, service_id="s2", node="n2", vcpus=8)
        ledger.reserve(other, limit=replace(LIMIT, node=N2))
        assert [state.promised_vcpus for state in ledger.nodes()] == [8, 8]

    def test_a_node_of_unknown_capacity_takes_nothing(self, ledger: Ledger) -> None:
        with pytest.raises(NoCapacity):
            ledger.reserve(ONE, limit=replace(LIMIT, cpus=None))

    def test_another_size_on_the_same_node_replaces_the_former_and_is_not_counted_beside_it(self, ledger: Ledger) -> None:
        ledger.reserve(replace(ONE, vcpus=6), limit=LIMIT)
        bigger = replace(ONE, vcpus=8, job_id="j2")
        ledger.reserve(bigger, limit=LIMIT)
        assert ledger.reservation("s1") == bigger

    def test_released_capacity_is_free_again_and_the_node_is_remembered(self, ledger: Ledger) -> None:
        ledger.reserve(replace(ONE, vcpus=8), limit=LIMIT)
        for _ in range(2):
            ledger.release_reservation("s1")
        assert ledger.reservation("s1") is None
        assert ledger.nodes_ever("s1") == ("n1",)
        ledger.reserve(replace(ONE, service_id="s2", vcpus=8), limit=LIMIT)

    def test_every_node_of_a_service_is_remembered(self, ledger: Ledger) -> None:
        ledger.reserve(ONE, limit=LIMIT)
        ledger.release_reservation("s1")
        ledger.reserve(replace(ONE, node="n2"), limit=replace(LIMIT, node=N2))
        assert set(ledger.nodes_ever("s1")) == {"n1", "n2"}
        assert ledger.nodes_ever("s2") == ()

    def test_concurrent_reservations_never_overfill_a_node(self, ledger: Ledger) -> None:
        refused: list[str] = []

        def reserve(number: int) -> None:
            try:
                ledger.reserve(replace(ONE, service_id=f"s{number}", memory_bytes=1, disk_bytes=1), limit=LIMIT)
            except NoCapacity as exc:
                refused.append(exc.message)

        threads = [threading.Thread(target=reserve, args=(n,)) for n in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert ledger.nodes()[0].promised_vcpus == 8
        assert len(refused) == 6

    def test_the_first_certificate_of_a_job_stands(self, ledger: Ledger) -> None:
        first = {"id": "wipe-j1", "says": ["ünïcode", {"bytes": 2**62}]}
        ledger.keep_certificate(service_id="s1", job_id="j1", certificate=first)
        ledger.keep_certificate(service_id="s1", job_id="j1", certificate={"id": "wipe-j1", "says": "another"})
        assert ledger.certificate("s1") == first
        assert ledger.certificate("s2") is None
