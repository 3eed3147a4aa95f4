"""Placement: what fits goes to the node with most left, every node is told why, and nothing is ever promised over the ratios."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.errors import NoCapacity
from orchestrator.domain.placement import Capacity, Filled, NodeState, Wanted, capacity, place, shortages
from orchestrator.domain.plans import Node

GIB = 2**30
WANTED = Wanted(vcpus=2, memory_bytes=4 * GIB, disk_bytes=40 * GIB)


def state(name: str = "hv1", *, zone: str = "jkt1", node: dict[str, Any] | None = None, **changes: Any) -> NodeState:
    """A node with 8 CPUs (32 vCPUs by its ratio), 64 GiB and 1000 GiB, nothing promised."""
    values: dict[str, Any] = {
        "enrolled": True,
        "up": True,
        "cpus": 8,
        "memory_bytes": 64 * GIB,
        "disk_bytes": 1000 * GIB,
        "promised_vcpus": 0,
        "promised_memory_bytes": 0,
        "promised_disk_bytes": 0,
        "guests": 0,
    }
    return NodeState(node=Node(name=name, zone=zone, address="192.0.2.1", **(node or {})), **{**values, **changes})


REFUSALS = [
    (state(zone="sby1"), Wanted(vcpus=1, memory_bytes=GIB, disk_bytes=GIB, zone="jkt1"), ["in zone sby1, wanted is jkt1"]),
    (state(), Wanted(vcpus=1, memory_bytes=GIB, disk_bytes=GIB, zones=("a", "b")), ["in zone jkt1, the plan is sold in a, b"]),
    (state(node={"maintenance": True}), WANTED, ["in maintenance"]),
    (state(drained="new disks"), WANTED, ["it is drained (new disks)"]),
    (state(filled=Filled(data_percent=90.0)), WANTED, ["its pool is 90 % full, from 90 % on it takes nothing new"]),
    (state(filled=Filled(metadata_percent=85.5)), WANTED, ["the metadata of its pool is 85 % full, from 80 % on"]),
    (
        state(
            filled=Filled(data_percent=51, metadata_percent=61),
            node={"disk_watermark_percent": 50, "metadata_watermark_percent": 60.5},
        ),
        WANTED,
        ["its pool is 51 % full, from 50 % on", "the metadata of its pool is 61 % full, from 60.5 % on"],
    ),
    (state(enrolled=False), WANTED, ["not enrolled"]),
    (state(up=False, seen_at=datetime(2026, 11, 20, 18, 5, tzinfo=UTC)), WANTED, ["down (last seen 2026-11-20 18:05 UTC)"]),
    (state(up=False), WANTED, ["down (never seen up)"]),
    (state(cpus=None), WANTED, ["capacity is not known"]),
    (state(memory_bytes=None), WANTED, ["capacity is not known"]),
    (state(disk_bytes=None), WANTED, ["capacity is not known"]),
    (state(promised_vcpus=31), WANTED, ["vCPU is full: 2 wanted, 1 free of 32"]),
    (state(promised_memory_bytes=61 * GIB), WANTED, ["memory is full: 4 GiB wanted, 3 GiB free of 64 GiB"]),
    (state(promised_disk_bytes=961 * GIB), WANTED, ["disk is full: 40 GiB wanted, 39 GiB free of 1000 GiB"]),
    (state(promised_vcpus=99), WANTED, ["vCPU is full: 2 wanted, 0 free of 32"]),
    (
        state(node={"reserved_memory_bytes": 61 * GIB, "maintenance": True}, promised_vcpus=32),
        WANTED,
        ["in maintenance", "vCPU is full", "memory is full: 4 GiB wanted, 3 GiB free of 3 GiB"],
    ),
]


@pytest.mark.parametrize(("node", "wanted", "reasons"), REFUSALS)
def test_a_node_that_cannot_take_it_says_each_reason(node: NodeState, wanted: Wanted, reasons: list[str]) -> None:
    with pytest.raises(NoCapacity) as caught:
        place(wanted, [node])
    (verdict,) = caught.value.details["verdicts"]
    assert len(verdict["reasons"]) == len(reasons)
    for said, words in zip(verdict["reasons"], reasons, strict=True):
        assert words in said
        assert words in caught.value.message


FITS_EXACTLY = [
    state(promised_vcpus=30),
    state(promised_memory_bytes=60 * GIB),
    state(promised_disk_bytes=960 * GIB),
    state(cpus=1, node={"cpu_ratio": 2.0}),
    state(memory_bytes=2 * GIB, node={"memory_ratio": 2.0}),
    state(disk_bytes=10 * GIB, node={"disk_ratio": 4.0}),
    state(memory_bytes=5 * GIB, node={"reserved_memory_bytes": GIB}),
]


@pytest.mark.parametrize("node", FITS_EXACTLY)
def test_the_last_free_place_is_taken(node: NodeState) -> None:
    assert place(WANTED, [node]).node == "hv1"


CHOICES = [
    ("most memory left", [state("a", promised_memory_bytes=32 * GIB), state("b")], "b"),
    ("the tightest resource counts", [state("a", promised_vcpus=28), state("b", promised_memory_bytes=40 * GIB)], "b"),
    (
        "shares, not amounts",
        [state("a", disk_bytes=2000 * GIB, promised_disk_bytes=1900 * GIB), state("b", disk_bytes=100 * GIB)],
        "b",
    ),
    ("of equals the first by name", [state("c"), state("a"), state("b")], "a"),
    ("not one that is full", [state("a", promised_vcpus=32), state("b", promised_memory_bytes=50 * GIB)], "b"),
    ("not another zone", [state("a", zone="sby1"), state("b", promised_memory_bytes=50 * GIB)], "b"),
]


@pytest.mark.parametrize(("why", "nodes", "chosen"), CHOICES, ids=[why for why, _, _ in CHOICES])
def test_the_choice(why: str, nodes: list[NodeState], chosen: str) -> None:
    assert place(replace(WANTED, zone="jkt1"), nodes).node == chosen


def test_every_node_is_told_where_it_stood() -> None:
    nodes = [state("c", enrolled=False), state("b", promised_memory_bytes=32 * GIB), state("a"), state("d")]
    verdicts = place(WANTED, nodes).verdicts
    assert [(verdict.node, verdict.fits) for verdict in verdicts] == [("a", True), ("b", True), ("c", False), ("d", True)]
    assert verdicts[0].reasons == ("chosen: 93 % of its memory would stay free, its tightest resource",)
    assert verdicts[1].reasons == ("fits, but a has more left: 43 % of its memory would stay free, there 93 % of the memory",)
    assert verdicts[2].reasons == ("it is not enrolled",)
    assert "a has as much left and comes first by name" in verdicts[3].reasons[0]


def test_no_node_at_all_is_said_so() -> None:
    with pytest.raises(NoCapacity, match="no node is declared"):
        place(WANTED, [])


def test_ratios_count_as_the_decimals_they_are_written_as() -> None:
    node = state(cpus=100, memory_bytes=100, disk_bytes=3, node={"cpu_ratio": 1.15, "memory_ratio": 0.29, "disk_ratio": 1.5})
    assert capacity(node) == Capacity(vcpus=115, memory_bytes=29, disk_bytes=4), "1.15 * 100 is 114.99… in binary"


def test_a_host_that_keeps_more_than_it_has_offers_nothing() -> None:
    found = capacity(state(memory_bytes=GIB, node={"reserved_memory_bytes": 2 * GIB}))
    assert found is not None
    assert found.memory_bytes == 0


_COUNT = st.none() | st.integers(0, 64)
_BYTES = st.none() | st.integers(0, 64 * GIB)
_RATIO = st.sampled_from([0.1, 0.5, 1.0, 1.1, 1.5, 2.0, 4.0, 16.0])


@st.composite
def _states(draw: st.DrawFn, name: str) -> NodeState:
    node = Node(
        name=name,
        zone=draw(st.sampled_from(["a", "b"])),
        address="192.0.2.1",
        cpu_ratio=draw(_RATIO),
        memory_ratio=draw(_RATIO),
        disk_ratio=draw(_RATIO),
        reserved_memory_bytes=draw(st.sampled_from([0, GIB])),
        maintenance=draw(st.booleans()) and draw(st.booleans()),
    )
    return NodeState(
        node=node,
        enrolled=draw(st.sampled_from([True, True, True, False])),
        up=draw(st.sampled_from([True, True, True, False])),
        cpus=draw(_COUNT),
        memory_bytes=draw(_BYTES),
        disk_bytes=draw(_BYTES),
        promised_vcpus=draw(st.integers(0, 64)),
        promised_memory_bytes=draw(st.integers(0, 32 * GIB)),
        promised_disk_bytes=draw(st.integers(0, 32 * GIB)),
        guests=0,
    )


@st.composite
def _clusters(draw: st.DrawFn) -> list[NodeState]:
    return [draw(_states(f"hv{position}")) for position in range(draw(st.integers(0, 5)))]


_WANTED = st.builds(
    Wanted,
    vcpus=st.integers(1, 16),
    memory_bytes=st.integers(1, 8 * GIB),
    disk_bytes=st.integers(1, 8 * GIB),
    zone=st.sampled_from(["", "a", "b"]),
    zones=st.sampled_from([(), ("a",), ("a", "b")]),
)


def _outcome(wanted: Wanted, nodes: list[NodeState]) -> object:
    try:
        return place(wanted, nodes)
    except NoCapacity as error:
        return error.message, error.details["verdicts"]


def _may_take(wanted: Wanted, node: NodeState) -> bool:
    """The rule, written down a second time and differently: in exact fractions, over everything promised afterwards."""
    if node.node.maintenance or not node.enrolled or not node.up:
        return False
    if wanted.zone not in ("", node.node.zone) or (wanted.zones and node.node.zone not in wanted.zones):
        return False
    if node.cpus is None or node.memory_bytes is None or node.disk_bytes is None:
        return False
    for has, ratio, after in (
        (node.cpus, node.node.cpu_ratio, node.promised_vcpus + wanted.vcpus),
        (
            max(0, node.memory_bytes - node.node.reserved_memory_bytes),
            node.node.memory_ratio,
            node.promised_memory_bytes + wanted.memory_bytes,
        ),
        (node.disk_bytes, node.node.disk_ratio, node.promised_disk_bytes + wanted.disk_bytes),
    ):
        if after > has * Fraction(repr(ratio)):
            return False
    return True


@given(_WANTED, _clusters())
def test_a_node_fits_exactly_where_the_rule_lets_it_and_never_over_its_ratios(wanted: Wanted, nodes: list[NodeState]) -> None:
    allowed = {node.node.name for node in nodes if _may_take(wanted, node)}
    try:
        placement = place(wanted, nodes)
    except NoCapacity as error:
        assert not allowed
        told = {verdict["node"]: verdict["reasons"] for verdict in error.details["verdicts"]}
    else:
        assert placement.node in allowed
        assert {verdict.node for verdict in placement.verdicts if verdict.fits} == allowed
        told = {verdict.node: list(verdict.reasons) for verdict in placement.verdicts}
    assert set(told) == {node.node.name for node in nodes}, "a verdict for every node"
    assert all(told.values()), "and a reason in each"


@given(_WANTED, _clusters(), st.randoms(use_true_random=False))
def test_the_order_of_the_nodes_does_not_matter(wanted: Wanted, nodes: list[NodeState], shuffle: random.Random) -> None:
    shuffled = list(nodes)
    shuffle.shuffle(shuffled)
    assert _outcome(wanted, nodes) == _outcome(wanted, shuffled) == _outcome(wanted, shuffled)


@given(st.lists(_WANTED, max_size=30), _clusters())
def test_guests_placed_one_after_the_other_never_overfill_a_node(guests: list[Wanted], nodes: list[NodeState]) -> None:
    empty = [replace(node, promised_vcpus=0, promised_memory_bytes=0, promised_disk_bytes=0) for node in nodes]
    by_name = {node.node.name: node for node in empty}
    for wanted in guests:
        try:
            name = place(wanted, list(by_name.values())).node
        except NoCapacity:
            continue
        taken = by_name[name]
        by_name[name] = replace(
            taken,
            promised_vcpus=taken.promised_vcpus + wanted.vcpus,
            promised_memory_bytes=taken.promised_memory_bytes + wanted.memory_bytes,
            promised_disk_bytes=taken.promised_disk_bytes + wanted.disk_bytes,
        )
    for node in by_name.values():
        assert capacity(node) is None or shortages(node, vcpus=0, memory_bytes=0, disk_bytes=0) == ()
