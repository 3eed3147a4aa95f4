"""Machines: their states, what differs between what is declared and what is found, and which one is taken."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from orchestrator.domain.errors import NoCapacity, OrchestratorError, Refused, WrongState
from orchestrator.domain.machines import (
    TRANSITIONS,
    Found,
    MachineRecord,
    MachineState,
    MachineWanted,
    Told,
    choose,
    differences,
    moved,
    system_disk,
    system_mac,
)
from tests.machine_words import MAC, NOW, SERIAL, TOLD, UUID, inspection, machine, record, standing

S = MachineState
BEARING = {S.ALLOCATED, S.CLEANING, S.BROKEN}


def move(known: MachineRecord, to: MachineState, **values: str) -> MachineRecord:
    return moved(known, to, **{"reason": "because", **values}, now=NOW)


# -- states --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "to"), sorted(product(S, S)))
def test_a_move_that_the_table_does_not_have_is_refused_with_those_that_it_has(state: S, to: S) -> None:
    known = record(state=state, service_id="s1" if state in BEARING else "")
    if (state, to) in TRANSITIONS:
        return
    with pytest.raises(WrongState, match=f"machine m1 is {state} and cannot become {to}") as refused:
        move(known, to, service_id="s1", proof="certificate")
    ways = {new.value for old, new in TRANSITIONS if old == state}
    assert set(refused.value.hint.removeprefix("from there it can become ").split(", ")) == ways


def test_every_state_is_left_and_reached_again() -> None:
    assert {old for old, _ in TRANSITIONS} == set(S)
    assert {new for _, new in TRANSITIONS} == set(S)


def test_nothing_comes_to_available_but_by_enrolment_or_a_proven_erasure() -> None:
    assert {old for old, new in TRANSITIONS if new == S.AVAILABLE} == {S.DECLARED, S.CLEANING, S.TESTING}
    with pytest.raises(Refused, match="nothing proves that it was erased"):
        move(record(state=S.CLEANING, service_id="s1"), S.AVAILABLE)
    with pytest.raises(Refused, match="nothing proves"):
        move(record(state=S.CLEANING, service_id="s1"), S.AVAILABLE, proof=" ")
    free = move(record(state=S.CLEANING, service_id="s1"), S.AVAILABLE, proof="certificate c1")
    assert (free.state, free.service_id) == (S.AVAILABLE, "")


def test_a_machine_that_the_deploy_image_never_saw_is_not_free() -> None:
    with pytest.raises(Refused, match="the deploy image has not looked into it yet"):
        move(record(state=S.DECLARED, inspection=None), S.AVAILABLE)
    assert move(record(state=S.DECLARED), S.AVAILABLE).state == S.AVAILABLE


def test_whose_data_it_bears_is_forgotten_by_the_proof_of_its_erasure_alone() -> None:
    known = move(record(), S.ALLOCATED, service_id="s1", job_id="j1")
    assert (known.service_id, known.job_id) == ("s1", "j1")
    for to in (S.CLEANING, S.BROKEN, S.CLEANING, S.BROKEN):
        known = move(known, to)
        assert known.service_id == "s1"
    with pytest.raises(Refused, match="it bears the data of service s1, not proven erased"):
        move(known, S.MAINTENANCE)


def test_no_way_of_four_moves_makes_a_machine_free_that_bears_data() -> None:
    for steps in product(S, repeat=4):
        known = record(state=S.ALLOCATED, service_id="s1")
        for to in steps:
            try:
                known = move(known, to, service_id="s1")
            except OrchestratorError:
                continue
        assert (known.service_id, known.state in BEARING) == ("s1", True), steps


def test_a_machine_that_was_taken_out_has_to_be_enrolled_anew() -> None:
    out = move(record(), S.MAINTENANCE)
    with pytest.raises(WrongState):
        move(out, S.AVAILABLE)
    back = move(out, S.DECLARED)
    assert (back.state, back.enrolled, back.inspection) == (S.DECLARED, False, None)


def test_it_is_allocated_to_a_service() -> None:
    with pytest.raises(Refused, match="none was named"):
        move(record(), S.ALLOCATED)


# -- differences ---------------------------------------------------------------------------------


def said(*, grave: bool | None = None, **values: object) -> list[str]:
    declared = machine(**values.pop("declared", {}))  # type: ignore[arg-type]
    found = differences(declared, **values)  # type: ignore[arg-type]
    return [each.says for each in found if grave is None or each.grave == grave]


def test_a_machine_that_is_as_it_was_declared_does_not_differ() -> None:
    declared = {"macs": (MAC,), "disks": (SERIAL,)}
    assert said(declared=declared, told=Told.of(TOLD), found=Found.of(inspection()), uuid=UUID) == []
    assert said(told=Told.of(TOLD), found=Found.of(inspection())) == [], "what is not declared cannot differ"


def test_another_machine_than_the_one_that_is_meant_is_grave() -> None:
    other = UUID.replace("7", "8")
    (told,) = said(told=Told.of(TOLD | {"uuid": other}), uuid=UUID, grave=True)
    assert told == f"its BMC tells of machine {other}, and {UUID} was enrolled: board or cable was changed"
    (up,) = said(told=Told.of(TOLD), found=Found.of(inspection(uuid=other)), grave=True)
    assert up == f"the deploy image was up on machine {other}, its BMC tells of {UUID}"
    assert said(told=Told(uuid=""), grave=True) == [
        "its BMC does not tell the machine's UUID, so that nothing shows which machine it is"
    ]


def test_uuids_are_compared_whatever_their_letters() -> None:
    assert said(told=Told.of(TOLD), found=Found.of(inspection(uuid=UUID.upper()))) == []


def test_a_declared_disk_that_is_not_there_is_grave_and_one_that_is_not_declared_is_named() -> None:
    found = Found.of(inspection("NEW1", "B"))
    declared = {"disks": ("A", "B")}
    assert said(declared=declared, found=found, grave=True) == ["disk A is declared, and the deploy image did not find it"]
    assert said(declared=declared, found=found, grave=False) == [
        "disk NEW1 is in it, and is not declared: it is erased with the others"
    ]


def test_disks_that_cannot_be_told_apart_are_grave() -> None:
    assert said(found=Found.of(inspection("")), grave=True) == [
        "its disk sda tells no serial number: nothing could prove that it is the one meant"
    ]
    assert said(found=Found.of(inspection("A", "A")), grave=True) == ["2 of its disks tell the serial number A"]
    assert said(found=Found.of(inspection(disks=[])), grave=True) == ["the deploy image found no disk in it"]


def test_the_card_that_the_deploy_image_comes_by_has_to_be_there_the_others_are_named() -> None:
    first, second = "52:54:00:ee:00:0a", "52:54:00:ee:00:0b"
    found, declared = Found.of(inspection()), {"macs": (first, second)}
    assert said(declared=declared, found=found, grave=True) == [f"MAC {first} is declared, and the deploy image found none such"]
    assert said(declared=declared, found=found, grave=False) == [
        f"MAC {second} is declared, and the deploy image found none such",
        f"the deploy image found the MAC {MAC}, which is not declared",
    ]
    assert said(declared=declared | {"deploy_mac": second}, told=Told.of(TOLD), grave=True) == [], "what a BMC tells may be less"


def test_less_memory_and_fewer_processors_than_the_bmc_tells_are_named() -> None:
    found = Found.of(inspection(memory_bytes=32 << 30, cpus=1))
    assert said(told=Told.of(TOLD), found=found, grave=False) == [
        "the deploy image found 32 GiB of memory, its BMC tells of 64 GiB",
        "the deploy image found 1 processors, its BMC tells of 2",
    ]


def test_the_first_declared_disk_takes_the_system_and_else_the_smallest_that_does_not_turn() -> None:
    rows = (("sda", "BIG", 2, False), ("sdb", "TURNS", 1, True), ("sdc", "Z", 1, False), ("sdd", "A", 1, False))
    disks = [dict(zip(("name", "serial", "bytes", "rotational"), row, strict=True)) for row in rows]
    found = Found.of(inspection(disks=disks))
    chosen = system_disk(machine(), found)
    assert chosen is not None
    assert chosen.serial == "A"
    named = system_disk(machine(disks=("TURNS", "A")), found)
    assert named is not None
    assert named.serial == "TURNS"
    assert system_disk(machine(disks=("GONE",)), found) is None
    assert system_disk(machine(), Found.of(inspection(disks=[]))) is None


def test_the_system_comes_by_the_card_that_is_declared_and_else_by_the_first_that_had_a_link() -> None:
    cards = [("eno1", "52:54:00:ee:00:01", False), ("eno2", "52:54:00:EE:00:02", True), ("eno3", "52:54:00:ee:00:03", True)]
    found = Found.of(inspection(nics=[dict(zip(("name", "mac", "link"), card, strict=True)) for card in cards]))
    assert system_mac(machine(), found) == "52:54:00:ee:00:02"
    assert system_mac(machine(macs=("52:54:00:ee:00:03",)), found) == "52:54:00:ee:00:03"
    assert system_mac(machine(), Found.of(inspection(nics=[]))) == system_mac(machine(), None) == ""


# -- placing -------------------------------------------------------------------------------------

WANTED = MachineWanted(machine_class="small-1", zone="z1", zones=("z1", "z2"))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"machine_class": "large-1"}, "it is of class large-1, wanted is small-1"),
        ({"zone": "z2"}, "it is in zone z2, wanted is z1"),
        ({"maintenance": True}, "it is in maintenance (machines.yaml)"),
        ({"state": S.DECLARED, "enrolled_at": None}, "it is not enrolled"),
        ({"state": S.DECLARED, "inspection": None}, "it is not inspected yet"),
        ({"state": S.ALLOCATED, "service_id": "s9"}, "it has service s9"),
        ({"state": S.CLEANING, "service_id": "s9", "reason": "s9 ended"}, "it is being cleaned: s9 ended"),
        ({"state": S.BROKEN, "reason": "its fan stands"}, "it is broken: its fan stands"),
        ({"state": S.MAINTENANCE}, "it is in maintenance"),
        ({"up": False}, "its BMC does not answer (last heard 2026-11-20 12:00 UTC)"),
        ({"up": False, "seen_at": None}, "its BMC does not answer (never heard)"),
        (
            {"told": TOLD | {"uuid": "another"}},
            f"its BMC tells of machine another, and {UUID} was enrolled: board or cable was changed",
        ),
        ({"disks": ("GONE",)}, "disk GONE is declared, and the deploy image did not find it"),
        ({"state": S.DECLARED, "disks": ("GONE",)}, "disk GONE is declared, and the deploy image did not find it"),
    ],
)
def test_a_machine_that_is_not_taken_has_its_reason(values: dict[str, object], reason: str) -> None:
    one = standing("m0", **values)  # type: ignore[arg-type]
    placed = choose(WANTED, (standing("m1"), one))
    assert placed.node == "m1"
    assert [(v.node, v.fits, v.reasons) for v in placed.verdicts if v.node == "m0"] == [("m0", False, (reason,))]
    with pytest.raises(NoCapacity) as none:
        choose(WANTED, (one,))
    assert none.value.message == f"no machine of class small-1 is free: m0: {reason}"
    assert none.value.details["verdicts"] == [{"node": "m0", "fits": False, "reasons": [reason]}]


def test_of_those_that_fit_the_first_by_name_is_taken_whatever_their_order() -> None:
    two, three = standing("m2"), standing("m3")
    for given in ((two, three), (three, two)):
        placed = choose(WANTED, given)
        assert placed.node == "m2"
        assert [verdict.reasons[0] for verdict in placed.verdicts] == [
            "chosen: the first by name of those that can take it",
            "fits, but m2 comes first by name",
        ]


def test_a_zone_in_which_the_plan_is_not_sold_is_no_place() -> None:
    with pytest.raises(NoCapacity, match="it is in zone z3, the plan is sold in z1, z2"):
        choose(replace(WANTED, zone=""), (standing("m1", zone="z3"),))


def test_where_nothing_is_declared_that_is_said() -> None:
    with pytest.raises(NoCapacity, match="no machine is declared"):
        choose(WANTED, ())
