"""Which orders no state of the nodes could ever carry out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.domain.errors import NoCapacity, NotFound, RequestError
from orchestrator.domain.plans import GuestPlan, Node, Plan, Template
from orchestrator.domain.sales import sellable
from tests.unit.decision_words import L, service

TEMPLATES = {n: Template(name=n, volume=f"{n}.qcow2", sha256="1" * 64, size_bytes=1 << 30) for n in ("debian", "tiny")}
PLAN = GuestPlan(
    name="small",
    vcpus=1,
    memory_bytes=1 << 30,
    disk_bytes=10 << 30,
    templates=("debian",),
    default_template="debian",
)
EAST = Node(name="n1", zone="east", address="192.0.2.1")
WEST = Node(name="n2", zone="west", address="192.0.2.2", maintenance=True)


def ordered(sold: Plan = PLAN, nodes: tuple[Node, ...] = (EAST, WEST), /, **values: str) -> None:
    sellable(service(L.ORDERED, **values), plans={"small": sold}, templates=TEMPLATES, nodes=nodes)


def only_in(*zones: str) -> Plan:
    return replace(PLAN, zones=zones)


@pytest.mark.parametrize(
    ("plan", "zone", "nodes"),
    [
        (PLAN, "", (EAST,)),
        (PLAN, "east", (EAST, WEST)),
        (PLAN, "west", (EAST, WEST)),
        (only_in("west", "north"), "", (EAST, WEST)),
        (only_in("east", "west"), "west", (EAST, WEST)),
    ],
)
def test_an_order_is_sold_where_a_declared_node_could_be_its_place_be_it_in_maintenance(
    plan: Plan, zone: str, nodes: tuple[Node, ...]
) -> None:
    ordered(plan, nodes, zone=zone)


@pytest.mark.parametrize(
    ("plan", "zone", "nodes", "says"),
    [
        (PLAN, "moon", (EAST, WEST), "there is no node in zone 'moon'"),
        (PLAN, "west", (EAST,), "there is no node in zone 'west'"),
        (only_in("east"), "west", (EAST, WEST), "zone 'west' is wanted, and plan 'small' is sold in east only"),
        (only_in("north"), "", (EAST, WEST), "there is no node where it could be: plan 'small' is sold in north only"),
        (only_in("north"), "north", (EAST, WEST), "there is no node in zone 'north'"),
        (PLAN, "", (), "there is no node at all"),
    ],
)
def test_an_order_that_no_declared_node_could_ever_carry_is_not(
    plan: Plan, zone: str, nodes: tuple[Node, ...], says: str
) -> None:
    with pytest.raises(NoCapacity) as refused:
        ordered(plan, nodes, zone=zone)
    assert refused.value.message == says


@pytest.mark.parametrize(("what", "file"), [("plan", "plans/"), ("template", "templates.yaml")])
def test_a_name_that_is_not_declared_is_named_with_the_file_it_belongs_in(what: str, file: str) -> None:
    with pytest.raises(NotFound) as refused:
        ordered(**{what: "unknown"})
    assert str(refused.value) == f"there is no {what} 'unknown' (add it to {file}, restart the controller)"


def test_what_cannot_be_given_to_a_guest_is_not_sold() -> None:
    with pytest.raises(RequestError, match="not sold with template tiny"):
        ordered(template="tiny")
    with pytest.raises(RequestError, match="no host name"):
        ordered(hostname="-")
