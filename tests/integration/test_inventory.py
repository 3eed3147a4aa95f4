"""What operators do with machines, on simulated ones: enrolling, examining, taking out, and the power switch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.errors import (
    NotFound,
    PermanentDriverError,
    PreconditionError,
    Refused,
    TransientDriverError,
    WrongState,
)
from orchestrator.domain.machines import MachineState, MachineWanted
from orchestrator.drivers.fake.bmc import FakeBmc, FakeMachineAccess, add_machine, boots, renew_certificate
from orchestrator.drivers.fake.outside import FakeClock
from orchestrator.drivers.fake.world import FakeWorld
from orchestrator.engine.inventory import NOT_INSPECTED, Finding, Inventory, fingerprint
from orchestrator.engine.machine_watch import MachineWatch
from orchestrator.ports.bmc import Bmc, MachinePower
from orchestrator.store import audit
from orchestrator.store import machines as store
from orchestrator.store.database import Database
from orchestrator.store.machines import StoreMachinePool
from tests.machine_words import MAC, UUID, inspection, machine

OTHER = UUID.replace("7", "8")
S = MachineState


class Ground:
    """Two simulated machines, m1 and m2, and everything that an operator has of them."""

    def __init__(self, db: Database, directory: Path, **values: Any) -> None:
        self.db, self.clock = db, FakeClock()
        self.world = FakeWorld(directory / "world.json")
        add_machine(self.world, "m1", uuid=UUID, serial="SN1", macs=(MAC,))
        add_machine(self.world, "m2", uuid=OTHER, macs=("52:54:00:ee:00:02",))
        self.declared = (machine("m1", **values), machine("m2"))
        self.access = FakeMachineAccess(self.world)
        self.pool = StoreMachinePool(db, self.declared, self.clock)
        self.watch = MachineWatch(db, self.declared, self.bmc, self.clock)
        self.inventory = Inventory(db, self.declared, access=self.access, bmc=self.bmc, look=self.watch.look, clock=self.clock)

    def bmc(self, name: str) -> Bmc:
        with self.db.read() as conn:
            return FakeBmc(self.world, name, certificate_sha256=store.get(conn, name).certificate_sha256)

    def state(self, name: str = "m1") -> MachineState:
        return self.pool.machine(name).record.state

    def enrol(self, name: str = "m1", **values: Any) -> Any:
        return self.inventory.enrol(name, self.inventory.certificate(name).sha256, who="anna", **values)

    def free(self, name: str = "m1") -> None:
        self.enrol(name)
        assert self.pool.inspected(name, inspection(f"serial-{name}", uuid=UUID if name == "m1" else OTHER)).state == S.AVAILABLE

    def change(self, name: str, **values: Any) -> None:
        with self.world.change() as state:
            state["nodes"][name]["machine"].update(values)

    def trail(self) -> list[tuple[str, str, dict[str, Any]]]:
        with self.db.read() as conn:
            rows, _ = audit.list_page(conn)
        return [(row.who, row.what, row.facts) for row in reversed(rows)]


@pytest.fixture
def ground(db: Database, tmp_path: Path) -> Ground:
    return Ground(db, tmp_path)


# -- enrolment -----------------------------------------------------------------------------------


def test_enrolment_pins_the_certificate_and_the_machine_and_says_what_it_waits_for(ground: Ground) -> None:
    found = ground.enrol()
    record = ground.pool.machine("m1").record
    assert (found.differences, found.waits) == ((), NOT_INSPECTED)
    assert record == found.standing.record
    assert (record.state, record.uuid, record.up) == (S.DECLARED, UUID, True)
    assert record.certificate_sha256 == ground.inventory.certificate("m1").sha256
    assert (record.told["power"], record.told["serial"], len(record.told["sensors"])) == ("off", "SN1", 2)
    assert ground.trail() == [
        ("anna", "machine enrolled", {"machine": "m1", "certificate_sha256": record.certificate_sha256, "uuid": UUID})
    ]


def test_a_certificate_that_was_not_compared_is_not_pinned(ground: Ground) -> None:
    with pytest.raises(PreconditionError, match="does not present the certificate AB:AB:") as refused:
        ground.inventory.enrol("m1", "ab" * 32, who="anna")
    assert fingerprint(ground.inventory.certificate("m1").sha256) in refused.value.hint
    assert not ground.pool.machine("m1").record.enrolled


def test_dry_it_tells_the_same_and_changes_nothing(ground: Ground) -> None:
    would = ground.enrol(dry=True)
    assert ground.trail() == []
    assert not ground.pool.machine("m1").record.enrolled
    assert would == ground.enrol()


def test_every_difference_is_named(db: Database, tmp_path: Path) -> None:
    ground = Ground(db, tmp_path, macs=("52:54:00:ee:00:0a",))
    assert [each.says for each in ground.enrol().differences] == [
        "MAC 52:54:00:ee:00:0a is declared, and its BMC tells none such",
        f"its BMC tells the MAC {MAC}, which is not declared",
    ]


def test_a_machine_is_not_enrolled_under_two_names(ground: Ground) -> None:
    ground.enrol("m1")
    ground.change("m2", uuid=UUID)
    with pytest.raises(WrongState, match=f"tells of machine {UUID}, which is enrolled as m1"):
        ground.enrol("m2")
    assert not ground.pool.machine("m2").record.enrolled


def test_enrolled_anew_a_free_machine_stays_free_with_its_new_certificate(ground: Ground) -> None:
    ground.free()
    renew_certificate(ground.world, "m1", "cd" * 32)
    with pytest.raises(PermanentDriverError, match="another certificate"):
        ground.bmc("m1").facts(deadline=5)
    assert ground.enrol().waits == ""
    assert (ground.state(), ground.pool.machine("m1").record.certificate_sha256) == (S.AVAILABLE, "cd" * 32)
    assert ground.bmc("m1").facts(deadline=5).power == MachinePower.OFF


def test_another_board_is_enrolled_only_in_a_machine_that_was_taken_out_and_inspected_anew(ground: Ground) -> None:
    ground.free()
    changed = UUID.replace("7", "9")
    ground.change("m1", uuid=changed)
    with pytest.raises(WrongState, match=f"tells of machine {changed}, and {UUID} was enrolled"):
        ground.enrol()
    ground.inventory.maintain("m1", on=True, who="anna", why="a new board")
    ground.inventory.maintain("m1", on=False, who="anna", why="it is in")
    found = ground.enrol()
    assert [each.says for each in found.differences] == [
        f"it was machine {UUID} before, and is {changed} now: board or cable was changed"
    ]
    assert (found.waits, ground.pool.machine("m1").record.inspection) == (NOT_INSPECTED, None)
    assert ground.state() == S.DECLARED


def test_a_bmc_that_does_not_answer_leaves_everything_as_it_was(ground: Ground) -> None:
    ground.world.fault("bmc.facts", error=TransientDriverError("it hangs"))
    with pytest.raises(TransientDriverError):
        ground.enrol()
    assert ground.trail() == []


def test_sensors_that_cannot_be_read_are_no_reason_not_to_enrol(ground: Ground) -> None:
    ground.world.fault("bmc.sensors", error=PermanentDriverError("no thermal"))
    assert ground.enrol().standing.record.told["sensors"] == []


def test_what_is_in_the_drive_is_not_written_down(ground: Ground) -> None:
    """Whoever knows the address of a deployment's medium may be let in by it."""
    ground.bmc("m1").insert_media("https://c/secret-token", deadline=5)
    told = ground.enrol().standing.record.told
    assert told["media_inserted"] is True
    assert "secret-token" not in str(told)


# -- watching ------------------------------------------------------------------------------------


def test_what_answers_is_seen_and_what_does_not_is_noted(ground: Ground) -> None:
    ground.free("m1")
    ground.free("m2")
    ground.world.set_node("m1", up=False)
    ground.bmc("m2").turn_on(deadline=5)
    ground.clock.sleep(60)
    ground.watch.once()
    one, two = (each.record for each in ground.pool.machines())
    assert (one.up, bool(one.problem), one.told["power"]) == (False, True, "off")
    assert (two.up, two.problem, two.told["power"], two.seen_at) == (True, "", "on", ground.clock.now())
    placed = ground.pool.allocate(service_id="s1", job_id="j1", wanted=MachineWanted(machine_class="small-1"))
    assert placed.node == "m2"
    assert placed.verdicts[0].reasons[0].startswith("its BMC does not answer (last heard ")


def test_a_bmc_that_a_job_keeps_busy_is_none_that_does_not_answer(ground: Ground) -> None:
    ground.free()

    class Busy(FakeBmc):
        def facts(self, *, deadline: float) -> Any:
            raise TransientDriverError("another call did not end", busy=True)

    MachineWatch(ground.db, ground.declared, lambda name: Busy(ground.world, name), ground.clock).look("m1")
    assert ground.pool.machine("m1").record.up


# -- looking -------------------------------------------------------------------------------------


def test_the_doctor_says_what_is_well_and_what_to_do(ground: Ground) -> None:
    assert ground.inventory.doctor("m1") == (Finding(name="enrolled", ok=False, mend="orchestrator machine enrol m1"),)
    ground.enrol()
    rows = {each.name: each for each in ground.inventory.doctor("m1")}
    assert [name for name, row in rows.items() if not row.ok] == ["inspected"]
    assert rows["inspected"].mend == NOT_INSPECTED
    ground.pool.inspected("m1", inspection(uuid=OTHER))
    assert {each.found for each in ground.inventory.doctor("m1") if not each.ok} == {
        f"the deploy image was up on machine {OTHER}, its BMC tells of {UUID}"
    }


def test_the_doctor_names_a_renewed_certificate_and_a_bmc_that_is_gone(ground: Ground) -> None:
    ground.free()
    renew_certificate(ground.world, "m1", "cd" * 32)
    rows = [(each.name, each.ok) for each in ground.inventory.doctor("m1")]
    assert rows == [("certificate", False), ("BMC", False)]
    ground.world.set_node("m1", up=False)
    assert [(each.name, each.ok) for each in ground.inventory.doctor("m1")] == [("BMC", False)]


def test_the_log_is_that_of_an_enrolled_machine(ground: Ground) -> None:
    ground.enrol()
    assert ground.inventory.log("m1") == ()
    with pytest.raises(NotFound):
        ground.inventory.log("m9")


# -- states --------------------------------------------------------------------------------------


def test_a_machine_is_taken_out_and_put_back_to_be_enrolled_anew(ground: Ground) -> None:
    ground.free()
    assert ground.inventory.maintain("m1", on=True, who="anna", why="a fan", dry=True).state == S.MAINTENANCE
    assert ground.state() == S.AVAILABLE, "dry"
    for _ in range(2):
        assert ground.inventory.maintain("m1", on=True, who="anna", why="a fan").state == S.MAINTENANCE
    assert ground.trail()[-1] == (
        "anna",
        "machine maintenance",
        {"machine": "m1", "from": "available", "to": "maintenance", "reason": "a fan"},
    )
    assert [what for _, what, _ in ground.trail()].count("machine maintenance") == 1
    ground.inventory.maintain("m1", on=False, who="anna", why="it turns")
    assert ground.pool.inspected("m1", inspection()).state == S.DECLARED, "it is not enrolled"
    ground.free()


def test_a_machine_that_has_a_service_or_its_data_is_left_to_its_job(ground: Ground) -> None:
    ground.free()
    ground.pool.allocate(service_id="s1", job_id="j1", wanted=MachineWanted(machine_class="small-1"))
    with pytest.raises(WrongState, match="machine m1 has service s1"):
        ground.inventory.maintain("m1", on=True, who="anna", why="w")
    with pytest.raises(WrongState, match="machine m1 has service s1"):
        ground.inventory.fail("m1", who="anna", why="w")
    ground.pool.move("m1", S.BROKEN, reason="no erase", service_id="s1", job_id="j1")
    with pytest.raises(Refused, match="bears the data of service s1"):
        ground.inventory.maintain("m1", on=True, who="anna", why="w")


def test_an_operator_calls_a_machine_broken(ground: Ground) -> None:
    ground.free()
    assert ground.inventory.fail("m1", who="anna", why="it smells").reason == "it smells"
    assert ground.state() == S.BROKEN
    assert ground.enrol().waits == ""
    assert ground.state() == S.BROKEN, "it comes back by being mended: maintenance on and off"


# -- power ---------------------------------------------------------------------------------------


def test_a_machine_that_has_no_service_is_turned_on_and_off(ground: Ground) -> None:
    ground.enrol()
    assert ground.inventory.power("m1", on=True, graceful=False, who="anna", why="a look", dry=True) == "off"
    assert boots(ground.world, "m1") == []
    assert ground.inventory.power("m1", on=True, graceful=False, who="anna", why="a look") == "on"
    assert ground.pool.machine("m1").record.told["power"] == "on"
    assert ground.inventory.power("m1", on=False, graceful=True, who="anna", why="enough") == "off"
    assert [what for _, what, _ in ground.trail()] == ["machine enrolled", "machine is turned on", "machine is turned off"]


@pytest.mark.parametrize("to", [S.ALLOCATED, S.CLEANING, S.BROKEN])
def test_the_power_of_a_machine_that_has_a_service_is_its_services(ground: Ground, to: S) -> None:
    ground.free()
    ground.pool.allocate(service_id="s1", job_id="j1", wanted=MachineWanted(machine_class="small-1"))
    if to != S.ALLOCATED:
        ground.pool.move("m1", to, reason="r", service_id="s1", job_id="j1")
    with pytest.raises(Refused, match=f"machine m1 has service s1 .{to}."):
        ground.inventory.power("m1", on=True, graceful=False, who="anna", why="w")
    assert boots(ground.world, "m1") == []
