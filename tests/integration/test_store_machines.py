"""The pool of machines in the store: who gets which, what moves are written, and what is remembered."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.domain.errors import NoCapacity, NotFound, Refused, WrongState
from orchestrator.domain.machines import Machine, MachineState, MachineWanted, Standing
from orchestrator.drivers.fake.outside import FakeClock
from orchestrator.store import audit, machines
from orchestrator.store.database import Database
from orchestrator.store.machines import StoreMachinePool
from tests.machine_words import TOLD, UUID, inspection, machine

S = MachineState
WANTED = MachineWanted(machine_class="small-1")
CLOCK = FakeClock()
SHA = "a" * 64


def pool_of(db: Database, *names: str) -> StoreMachinePool:
    """Machines that are enrolled and available."""
    declared = tuple(machine(name) for name in names)
    pool = StoreMachinePool(db, declared, CLOCK)
    for name in names:
        enrol(db, name)
        pool.inspected(name, inspection(f"serial-{name}"))
    return pool


def enrol(db: Database, name: str) -> None:
    with db.write() as conn:
        machines.set_enrolled(conn, name, certificate_sha256=SHA, told=TOLD, now=CLOCK.now(), who="anna")


def states(pool: StoreMachinePool) -> dict[str, tuple[str, str]]:
    return {each.machine.name: (each.record.state.value, each.record.service_id) for each in pool.machines()}


def trail(db: Database) -> list[tuple[str, str, str, str]]:
    with db.read() as conn:
        rows, _ = audit.list_page(conn)
    return [(row.what, row.facts["machine"], row.service_id, row.job_id) for row in reversed(rows)]


def test_a_machine_comes_to_be_available_when_it_is_enrolled_and_inspected(db: Database) -> None:
    pool = StoreMachinePool(db, (machine("m1"),), CLOCK)
    assert pool.machine("m1").record.state == S.DECLARED
    assert pool.inspected("m1", inspection()).state == S.DECLARED, "it is not enrolled"
    enrol(db, "m1")
    assert pool.machine("m1").record.inspection is None, "what was found before says nothing of the machine that is enrolled"
    record = pool.inspected("m1", inspection())
    assert (record.state, record.certificate_sha256, record.uuid, record.up) == (S.AVAILABLE, SHA, UUID, True)
    assert record == pool.machine("m1").record
    assert record.inspection == inspection()


def test_one_that_differs_gravely_stays_declared(db: Database) -> None:
    pool = StoreMachinePool(db, (machine("m1", disks=("OTHER",)),), CLOCK)
    enrol(db, "m1")
    assert pool.inspected("m1", inspection()).state == S.DECLARED
    assert pool.inspected("m1", inspection("OTHER")).state == S.AVAILABLE


def test_what_was_never_declared_is_not_found(db: Database) -> None:
    pool = pool_of(db, "m1")
    for ask in (pool.machine, lambda name: pool.inspected(name, {}), lambda name: moves(pool, name, S.BROKEN)):
        with pytest.raises(NotFound, match=r"no machine m9 in machines\.yaml"):
            ask("m9")


def moves(pool: StoreMachinePool, name: str, to: S, *, service_id: str = "s1", proof: str = "") -> object:
    return pool.move(name, to, reason="because", service_id=service_id, job_id="j2", proof=proof)


def test_a_service_has_one_machine_however_often_it_asks_and_whoever_does(db: Database) -> None:
    pool = pool_of(db, "m1", "m2")
    assert pool.allocate(service_id="s1", job_id="j1", wanted=WANTED).node == "m1"
    again = pool.allocate(service_id="s1", job_id="j2", wanted=WANTED)
    assert (again.node, again.verdicts[0].reasons) == ("m1", ("it has the service already",))
    assert states(pool) == {"m1": ("allocated", "s1"), "m2": ("available", "")}
    assert pool.machine("m1").record.job_id == "j1"
    assert [each.machine.name for each in pool.of_service("s1")] == ["m1"]
    assert pool.of_service("") == ()
    second = pool.allocate(service_id="s2", job_id="j3", wanted=WANTED)
    assert [(v.node, v.reasons[0]) for v in second.verdicts] == [
        ("m1", "it has service s1"),
        ("m2", "chosen: the first by name of those that can take it"),
    ]
    with pytest.raises(NoCapacity, match="m1: it has service s1; m2: it has service s2"):
        pool.allocate(service_id="s3", job_id="j4", wanted=WANTED)


def test_its_whole_way_is_in_the_audit(db: Database) -> None:
    pool = pool_of(db, "m1")
    pool.allocate(service_id="s1", job_id="j1", wanted=WANTED)
    for to, proof in ((S.CLEANING, ""), (S.BROKEN, ""), (S.CLEANING, ""), (S.AVAILABLE, "certificate c1")):
        moves(pool, "m1", to, proof=proof)
    assert trail(db) == [
        ("machine enrolled", "m1", "", ""),
        ("machine inspected", "m1", "", ""),
        ("machine available", "m1", "", ""),
        ("machine allocated", "m1", "s1", "j1"),
        ("machine cleaning", "m1", "s1", "j2"),
        ("machine broken", "m1", "s1", "j2"),
        ("machine cleaning", "m1", "s1", "j2"),
        ("machine available", "m1", "s1", "j2"),
    ]
    with db.read() as conn:
        last = audit.list_page(conn, limit=1)[0][0]
    assert last.facts == {"machine": "m1", "from": "cleaning", "to": "available", "reason": "because", "proof": "certificate c1"}
    assert states(pool) == {"m1": ("available", "")}


def test_a_move_that_was_made_is_success_and_written_once(db: Database) -> None:
    pool = pool_of(db, "m1")
    pool.allocate(service_id="s1", job_id="j1", wanted=WANTED)
    for _ in range(2):
        moves(pool, "m1", S.CLEANING)
    assert trail(db)[-2:] == [("machine allocated", "m1", "s1", "j1"), ("machine cleaning", "m1", "s1", "j2")]


def test_nobody_moves_the_machine_of_another_service(db: Database) -> None:
    pool = pool_of(db, "m1")
    pool.allocate(service_id="s1", job_id="j1", wanted=WANTED)
    for to in (S.CLEANING, S.BROKEN):
        with pytest.raises(WrongState, match="machine m1 has service s1, not s2"):
            moves(pool, "m1", to, service_id="s2")
    with pytest.raises(Refused, match="allocated by placing"):
        moves(pool, "m1", S.ALLOCATED)
    moves(pool, "m1", S.CLEANING)
    with pytest.raises(Refused, match="nothing proves that it was erased"):
        moves(pool, "m1", S.AVAILABLE)


def test_a_machine_that_is_not_declared_any_more_is_not_given_and_not_forgotten(db: Database) -> None:
    pool = pool_of(db, "m1", "m2")
    pool.allocate(service_id="s1", job_id="j1", wanted=WANTED)
    left = StoreMachinePool(db, (machine("m2"),), CLOCK)
    assert [each.machine.name for each in left.machines()] == ["m2"]
    assert states(StoreMachinePool(db, (machine("m1"), machine("m2")), CLOCK))["m1"] == ("allocated", "s1")


# -- several at once -----------------------------------------------------------------------------


class Behind(StoreMachinePool):
    """A controller that sees the machines as they were a while ago."""

    def __init__(self, db: Database, declared: tuple[Machine, ...], seen: tuple[Standing, ...]) -> None:
        super().__init__(db, declared, CLOCK)
        self._seen = seen
        self.looked = 0

    def machines(self) -> tuple[Standing, ...]:
        self.looked += 1
        return self._seen if self.looked == 1 else super().machines()


def test_a_machine_that_another_controller_took_meanwhile_is_not_taken_twice(db: Database) -> None:
    pool = pool_of(db, "m1", "m2")
    behind = Behind(db, (machine("m1"), machine("m2")), pool.machines())
    assert pool.allocate(service_id="s1", job_id="j1", wanted=WANTED).node == "m1"
    assert behind.allocate(service_id="s2", job_id="j2", wanted=WANTED).node == "m2"
    assert behind.looked == 2
    assert states(pool) == {"m1": ("allocated", "s1"), "m2": ("allocated", "s2")}


def test_a_service_that_another_controller_placed_meanwhile_gets_no_second_machine(db: Database) -> None:
    pool = pool_of(db, "m1", "m2")
    seen = tuple(each for each in pool.machines() if each.machine.name == "m2")
    assert pool.allocate(service_id="s1", job_id="j1", wanted=WANTED).node == "m1"
    behind = Behind(db, (machine("m1"), machine("m2")), seen)
    assert behind.allocate(service_id="s1", job_id="j2", wanted=WANTED).node == "m1"
    assert states(pool) == {"m1": ("allocated", "s1"), "m2": ("available", "")}


NAMES = tuple(f"m{number:02}" for number in range(9))
# Every process wants more machines than there are, and prints what it got; it starts when its input closes.
CHILD = """
import json, sys
from tests.integration.test_store_machines import take
database, name = sys.argv[1:]
print("ready", flush=True)
sys.stdin.read()
print(json.dumps(take(database, name)))
"""


def take(database: str, name: str) -> list[str]:
    db = Database(database)
    pool = StoreMachinePool(db, tuple(machine(each) for each in NAMES), FakeClock())

    def one(number: int) -> str:
        try:
            return pool.allocate(service_id=f"{name}-{number}", job_id="j", wanted=WANTED).node
        except NoCapacity:
            return ""

    with ThreadPoolExecutor(4) as threads:
        found = [each for each in threads.map(one, range(5)) if each]
    db.close()
    return found


def test_of_several_controllers_each_machine_goes_to_exactly_one(db: Database) -> None:
    pool = pool_of(db, *NAMES)
    url, here = db.url.render_as_string(hide_password=False), Path(__file__).parents[2]
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, url, f"p{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=here,
        )
        for number in range(2)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.close()
    taken: list[str] = []
    for child in children:
        assert child.stdout is not None
        taken += json.loads(child.stdout.read())
        child.stdout.close()
        assert child.wait(60) == 0
    assert sorted(taken) == sorted(NAMES), "ten wanted one of nine"
    assert {state for state, _ in states(pool).values()} == {"allocated"}
    assert len({service for _, service in states(pool).values()}) == len(NAMES)
