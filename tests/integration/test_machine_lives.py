"""The lives of simulated dedicated machines, by the product's own steps and playbooks: what is on their disks is what counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import wiring
from orchestrator.domain.errors import NotFound, PermanentDriverError, Refused, TransientDriverError, WrongState
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.machines import MachineState, MachineWanted, gone_disks, without_disk
from orchestrator.drivers.fake.bmc import FakeBmc, add_machine, boots, forget
from orchestrator.drivers.fake.deployments import FakeDeployments, disk, plant, set_disks
from orchestrator.drivers.fake.outside import FakeClock
from orchestrator.engine.inspecting import Inspecting, job_of
from orchestrator.engine.machine_watch import MachineWatch
from orchestrator.ports.bmc import BootFrom, MachinePower
from orchestrator.ports.deployment import Task
from orchestrator.steps.base import StepContext
from orchestrator.steps.machine_bench import Bench
from orchestrator.steps.registry import STEPS
from orchestrator.store import addresses, audit, certificates
from orchestrator.store import machines as machine_store
from orchestrator.store.machines import StoreMachinePool
from tests.fault.controller import ARCHIVING
from tests.fault.house import TEMPLATE, House, prepared, seeded_world
from tests.live import KEY
from tests.machine_words import PLAN, machine
from tests.store_files import engine_database

UUID = "0b8f2c1e-3c4d-4e5f-8a9b-0c1d2e3f4a5b"
MAC = "52:54:00:fa:00:01"
SECONDS = 60.0
RAW = replace(TEMPLATE, name="debian", format="raw", volume="debian.raw")


class Rack(House):
    """A house with one machine, ``m1``, of two disks, enrolled and looked into as the product does it."""

    def pool(self) -> StoreMachinePool:
        return StoreMachinePool(self.db, self.catalog.machines, self.clock)

    def bmc(self) -> FakeBmc:
        return FakeBmc(self.world, "m1")

    def inspecting(self) -> Inspecting:
        return Inspecting(
            self.pool(), lambda name: FakeBmc(self.world, name), FakeDeployments(self.world, self.clock), self.clock
        )

    def watch(self) -> MachineWatch:
        return MachineWatch(self.db, self.catalog.machines, lambda name: FakeBmc(self.world, name), self.clock)

    def enrol(self) -> None:
        with self.db.write() as conn:
            told = {"uuid": UUID, "macs": [MAC], "memory_bytes": 64 << 30, "processors": 16}
            machine_store.set_enrolled(conn, "m1", certificate_sha256="0" * 64, told=told, now=self.clock.now(), who="anna")

    def look_into(self) -> None:
        inspecting = self.inspecting()
        for _ in range(8):
            inspecting.once()

    def machine(self) -> Any:
        return self.pool().machine("m1").record

    def ordered(self, service_id: str = "s1") -> str:
        given: dict[str, Any] = {"client_id": "c1", "plan": "metal", "order_id": f"o-{service_id}", "ssh_keys": [KEY]}
        return self.event("order.paid", service_id, **given).job_id

    def audit(self, service_id: str) -> list[str]:
        with self.db.read() as conn:
            found, _ = audit.list_page(conn, limit=1000, service_id=service_id)
        return [entry.what for entry in found]

    def certificate(self, service_id: str) -> Any:
        with self.db.read() as conn:
            found = certificates.of_service(conn, service_id)
        assert found is not None
        return found.certificate

    def done(self, job_id: str) -> Any:
        job = self.wait(job_id, seconds=SECONDS)
        assert job.state == JobState.DONE, job.error
        return job

    def runs(self) -> None:
        """By the job that follows the payment."""
        until = self.clock.monotonic() + SECONDS
        while self.bmc().facts(deadline=5).power != MachinePower.ON:
            assert self.clock.monotonic() < until
            self.clock.sleep(0.05)

    def ends(self, service_id: str = "s1") -> Any:
        self.done(self.event("service.suspend", service_id, version=2).job_id)
        return self.wait(self.event("service.terminate", service_id, version=3, reason="he left").job_id, seconds=SECONDS)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Rack]]:
    directory = prepared(tmp_path / "state", engine_database)
    world = seeded_world(directory)
    add_machine(world, "m1", uuid=UUID, serial="SIM-m1", macs=(MAC,))
    set_disks(world, "m1", A1=1 << 40, B2=2 << 40)
    running: list[Rack] = []

    def start(**more: Any) -> Rack:
        books = wiring.load_all_playbooks()
        given = {"plan": PLAN, "machines": (machine(macs=(MAC,)),), "template": RAW, **more}
        made = Rack(directory, steps=STEPS, playbooks=books, **given)
        made.engine.start()
        running.append(made)
        return made

    yield start
    for made in running:
        made.close()


@pytest.fixture
def rack(opened: Callable[..., Rack]) -> Rack:
    made = opened()
    made.enrol()
    made.look_into()
    return made


def test_an_enrolled_machine_is_looked_into_and_is_available_then(rack: Rack) -> None:
    assert rack.machine().state == MachineState.AVAILABLE
    assert [each["serial"] for each in rack.machine().inspection["disks"]] == ["A1", "B2"]
    facts = rack.bmc().facts(deadline=5)
    assert (facts.power, facts.media, facts.boot_once) == (MachinePower.OFF, "", None)
    assert FakeDeployments(rack.world, rack.clock).deployment("m1", job_id=job_of("m1")) is None


def test_a_stolen_token_that_is_shown_again_sends_the_thief_away_and_the_look_goes_on(opened: Callable[..., Rack]) -> None:
    """What the machine's own image has claimed it keeps."""
    rack = opened()
    rack.enrol()
    inspecting, deployments = rack.inspecting(), FakeDeployments(rack.world, rack.clock)
    inspecting.once()
    for _ in range(8):
        found = deployments.deployment("m1", job_id=job_of("m1"))
        if found is not None and found.claimed_at is not None:
            break
    with rack.world.change() as state:
        state["nodes"]["m1"]["machine"]["deployment"]["refused"] = "this token was claimed before, and is good for once"
    for _ in range(8):
        inspecting.once()
    assert rack.machine().state == MachineState.AVAILABLE


def test_a_disk_that_was_replaced_is_declared_gone_and_the_service_can_end(rack: Rack) -> None:
    rack.done(rack.ordered())
    set_disks(rack.world, "m1", N9=1 << 40, B2=2 << 40)
    plant(rack.world, "m1", "B2", "the shop")
    ending = rack.wait(rack.event("service.terminate", "s1", version=2, reason="he left").job_id, seconds=SECONDS)
    assert (ending.state, "no disk with the serial number A1" in ending.error) == (JobState.FAILED, True), ending.error
    with rack.db.write() as conn:
        for name, serial, error in (("m1", "A7", NotFound), ("m9", "A1", WrongState)):
            with pytest.raises(error):
                machine_store.disk_gone(conn, name, serial, who="anna", why="it failed", now=rack.clock.now())
        for _ in range(2):
            machine_store.disk_gone(conn, "m1", "A1", who="anna", why="it failed", now=rack.clock.now())
    assert rack.audit("s1").count("machine disk gone") == 1
    refused = rack.wait(
        rack.engine.command(IntentKind.REINSTALL, "s1", who="anna", why="x", arguments={}).job_id, seconds=SECONDS
    )
    assert (refused.state, "which takes the system is not certain" in refused.error) == (JobState.FAILED, True), refused.error
    assert disk(rack.world, "m1", "B2")["markers"] == ["the shop"]
    done = rack.wait(rack.event("service.terminate", "s1", version=3, reason="he left").job_id, seconds=SECONDS)
    assert done.state == JobState.DONE, done.error
    assert [disk(rack.world, "m1", serial)["markers"] for serial in ("N9", "B2")] == [[], []]
    volumes = {volume["name"]: volume["limits"] for volume in rack.certificate("s1")["volumes"]}
    assert set(volumes) == {"N9", "B2"}
    assert all(any("drive A1, declared gone by anna at" in each for each in limits) for limits in volumes.values())
    assert [each["serial"] for each in rack.machine().inspection["disks"]] == ["N9", "B2"]
    assert (rack.machine().state, "gone" in rack.machine().inspection) == (MachineState.AVAILABLE, False)
    rack.done(rack.ordered("s2"))


def test_with_its_last_disk_gone_a_machine_is_proven_by_its_board_or_not_at_all(rack: Rack) -> None:
    rack.done(rack.ordered())
    record = rack.machine()
    for serial in ("A1", "B2"):
        without = without_disk(record, serial, by="anna", why="it failed", now=rack.clock.now())
        record = replace(record, inspection=without)
    assert (record.inspection["disks"], len(gone_disks(record.inspection))) == ([], 2)
    bare = replace(rack.machine(), uuid="", inspection={"disks": [{"serial": "A1"}]})
    with pytest.raises(Refused):
        without_disk(bare, "A1", by="anna", why="it failed", now=rack.clock.now())
    with pytest.raises(WrongState):
        without_disk(replace(bare, state=MachineState.AVAILABLE, service_id=""), "A1", by="a", why="b", now=rack.clock.now())


def test_a_machine_that_is_on_is_not_switched_off_to_be_looked_into(opened: Callable[..., Rack]) -> None:
    rack = opened()
    rack.bmc().turn_on(deadline=5)
    rack.enrol()
    rack.look_into()
    assert (rack.machine().state, rack.bmc().facts(deadline=5).power) == (MachineState.DECLARED, MachinePower.ON)
    rack.bmc().turn_off(deadline=5)
    rack.look_into()
    assert rack.machine().state == MachineState.AVAILABLE


def test_from_a_paid_order_to_the_erasure_and_to_the_next_tenant(rack: Rack) -> None:
    rack.done(rack.ordered())
    first = disk(rack.world, "m1", "A1")
    assert (first["image"], rack.machine().service_id) == (RAW.sha256, "s1")
    assert KEY.split()[1] in first["seed"]["user-data"]
    assert MAC in first["seed"]["network-config"]
    assert disk(rack.world, "m1", "B2")["image"] == "", "only the disk of the system is written"
    assert boots(rack.world, "m1")[-1] == BootFrom.DISK.value
    for serial in ("A1", "B2"):
        plant(rack.world, "m1", serial, "the first tenant's")

    rack.done(rack.event("service.suspend", "s1", version=2).job_id)
    assert rack.bmc().facts(deadline=5).power == MachinePower.OFF
    rack.bmc().turn_on(deadline=5)
    rack.watch().once()
    assert rack.bmc().facts(deadline=5).power == MachinePower.OFF, "it is kept off"
    assert rack.audit("s1").count("machine kept off") == 1
    rack.done(rack.event("service.unsuspend", "s1", version=3).job_id)
    rack.watch().once()
    assert rack.bmc().facts(deadline=5).power == MachinePower.ON
    assert disk(rack.world, "m1", "A1")["markers"] == ["the first tenant's"]

    job = rack.done(rack.event("service.terminate", "s1", version=4, reason="he left").job_id)
    assert [disk(rack.world, "m1", serial)["markers"] for serial in ("A1", "B2")] == [[], []]
    assert (rack.machine().state, rack.machine().service_id, rack.state("s1")) == (MachineState.AVAILABLE, "", "erased")
    certificate = rack.certificate("s1")
    assert (certificate["job"], [each["name"] for each in certificate["volumes"]]) == (job.id, ["A1", "B2"])
    assert all(each["verified"] for each in certificate["volumes"])
    facts = rack.bmc().facts(deadline=5)
    assert (facts.power, facts.media) == (MachinePower.OFF, "")

    rack.done(rack.ordered("s2"))
    assert rack.machine().service_id == "s2"


def test_where_no_macs_are_declared_the_system_comes_by_the_card_that_had_a_link(
    opened: Callable[..., Rack],
) -> None:
    rack = opened(machines=(machine(),))
    rack.enrol()
    rack.look_into()
    rack.done(rack.ordered())
    assert MAC in disk(rack.world, "m1", "A1")["seed"]["network-config"]


@pytest.mark.parametrize("kind", ["inspect", "write", "finish"])
def test_what_fails_while_it_is_installed_leaves_an_empty_machine_in_the_pool(rack: Rack, kind: str) -> None:
    rack.world.fault(f"deploy.{kind}", error=PermanentDriverError("the drive says no"))
    job = rack.wait(rack.ordered(), seconds=SECONDS)
    assert (job.state, "the drive says no" in job.error) == (JobState.FAILED, True)
    assert [disk(rack.world, "m1", serial)["image"] for serial in ("A1", "B2")] == ["", ""]
    assert (rack.machine().state, rack.machine().service_id) == (MachineState.AVAILABLE, "")
    assert (rack.bmc().facts(deadline=5).power, rack.bmc().facts(deadline=5).media) == (MachinePower.OFF, "")
    with rack.db.read() as conn:
        assert addresses.held(conn, "s1") == ()
    rack.engine.retry(job.id, "anna")
    rack.done(job.id)
    assert disk(rack.world, "m1", "A1")["image"] == RAW.sha256


def test_a_drive_that_cannot_be_erased_keeps_the_machine_out_of_the_pool_until_it_is(rack: Rack) -> None:
    rack.done(rack.ordered())
    plant(rack.world, "m1", "B2", "the first tenant's")
    rack.world.fault("deploy.erase", error=PermanentDriverError("B2: it does not let itself be written"))
    job = rack.ends()
    assert (job.state, "B2: it does not let itself be written" in job.error) == (JobState.NEEDS_OPERATOR, True)
    assert (rack.machine().state, rack.machine().service_id) == (MachineState.BROKEN, "s1")
    other = rack.wait(rack.ordered("s2"), seconds=SECONDS)
    assert (other.state, other.error_code) == (JobState.FAILED, "no-capacity")
    rack.engine.retry(job.id, "anna")
    rack.done(job.id)
    assert (disk(rack.world, "m1", "B2")["markers"], rack.machine().state) == ([], MachineState.AVAILABLE)


def test_another_machine_behind_the_bmc_is_neither_written_nor_erased(rack: Rack) -> None:
    rack.done(rack.ordered())
    plant(rack.world, "m1", "A1", "somebody else's")
    with rack.world.change() as state:
        state["nodes"]["m1"]["machine"]["uuid"] = "11111111-2222-4333-8444-555555555555"
    job = rack.wait(rack.event("service.suspend", "s1", version=2).job_id, seconds=SECONDS)
    assert job.state != JobState.DONE
    assert "was enrolled" in job.error
    assert disk(rack.world, "m1", "A1")["markers"] == ["somebody else's"]


def test_other_disks_than_were_found_are_not_erased_in_their_place(rack: Rack) -> None:
    """Cables of two machines were exchanged behind their boards: the image comes up, and is sent away."""
    rack.done(rack.ordered())
    rack.done(rack.event("service.suspend", "s1", version=2).job_id)
    set_disks(rack.world, "m1", X9=1 << 40)
    plant(rack.world, "m1", "X9", "somebody else's")
    job = rack.wait(rack.event("service.terminate", "s1", version=3, reason="he left").job_id, seconds=SECONDS)
    assert ("is not that machine" in job.error, "A1" in job.error) == (True, True)
    assert (disk(rack.world, "m1", "X9")["erased"], rack.machine().service_id) == (0, "s1")


def test_paid_before_the_erasure_begins_nothing_is_erased(rack: Rack) -> None:
    rack.done(rack.ordered())
    plant(rack.world, "m1", "A1", "the shop")
    rack.done(rack.event("service.suspend", "s1", version=2).job_id)
    rack.world.fault("bmc.insert_media", delay=2.0)
    ending = rack.event("service.terminate", "s1", version=3, reason="he left").job_id
    rack.wait(ending, JobState.RUNNING)
    rack.event("invoice.paid", "s1", invoice_id="i1", paid_until="2100-01-01T00:00:00Z")
    job = rack.wait(ending, seconds=SECONDS)
    assert (job.state, job.error_code) == (JobState.FAILED, "fence-closed")
    assert (disk(rack.world, "m1", "A1")["markers"], disk(rack.world, "m1", "A1")["erased"]) == (["the shop"], 0)
    rack.runs()
    assert (rack.machine().state, rack.state("s1"), rack.bmc().facts(deadline=5).media) == (MachineState.ALLOCATED, "active", "")


def test_where_an_archive_is_promised_the_machine_itself_is_kept_until_it_is_erased(opened: Callable[..., Rack]) -> None:
    rack = opened(policies={ARCHIVING.name: ARCHIVING})
    rack.enrol()
    rack.look_into()
    rack.done(rack.ordered())
    plant(rack.world, "m1", "A1", "the shop")
    rack.done(rack.event("service.suspend", "s1", version=2).job_id)
    rack.done(rack.event("service.terminate", "s1", version=3, reason="he left").job_id)
    assert (rack.state("s1"), rack.machine().state, disk(rack.world, "m1", "A1")["markers"]) == (
        "archived",
        MachineState.ALLOCATED,
        ["the shop"],
    )
    rack.bmc().turn_on(deadline=5)
    rack.watch().once()
    assert rack.bmc().facts(deadline=5).power == MachinePower.OFF

    back = rack.event("invoice.paid", "s1", invoice_id="i1", paid_until="2100-01-01T00:00:00Z").job_id
    rack.done(back)
    assert (rack.state("s1"), rack.bmc().facts(deadline=5).power) == ("active", MachinePower.ON)
    assert disk(rack.world, "m1", "A1")["markers"] == ["the shop"]

    rack.done(rack.event("service.suspend", "s1", version=4).job_id)
    rack.done(rack.event("service.terminate", "s1", version=5, reason="he left").job_id)
    rack.done(rack.engine.command(IntentKind.ERASE, "s1", who="anna", why="its time is over", arguments={}).job_id)
    assert (rack.state("s1"), rack.machine().state, disk(rack.world, "m1", "A1")["markers"]) == (
        "erased",
        MachineState.AVAILABLE,
        [],
    )
    assert [each["name"] for each in rack.certificate("s1")["volumes"]] == ["A1", "B2"]
    with rack.db.read() as conn:
        assert addresses.held(conn, "s1") == ()


def test_a_machine_that_its_own_job_has_switched_on_is_not_switched_off_under_it(rack: Rack) -> None:
    rack.done(rack.ordered())
    rack.done(rack.event("service.suspend", "s1", version=2).job_id)
    rack.world.fault("deploy.erase", delay=2.0)
    ending = rack.event("service.terminate", "s1", version=3, reason="he left").job_id
    rack.runs()
    rack.watch().once()
    rack.done(ending)
    assert "machine kept off" not in rack.audit("s1")


def test_another_machine_in_the_middle_of_an_erasure_does_not_make_it_undone(rack: Rack) -> None:
    """Boards were exchanged while it was off: what was begun cannot be taken for nothing."""
    clock = FakeClock(rack.clock.now())
    erasing = bench(rack)
    erasing.up()
    erase = Task(key="erase", kind="erase", arguments={"disks": ["A1"]})
    FakeDeployments(rack.world, clock).give("m1", erase, job_id="j1")
    rack.bmc().turn_off(deadline=5)
    set_disks(rack.world, "m1", X9=1 << 40)
    with pytest.raises(PermanentDriverError, match="is not that machine"):
        bench(rack).run(erase)
    assert bench(rack).state("erase") is not None
    assert rack.bmc().facts(deadline=5).power == MachinePower.OFF


def bench(rack: Rack, told: Callable[[float, str], None] = lambda _fraction, _says: None) -> Bench:
    """On the machine, in a time that passes only while somebody waits."""
    clock = FakeClock(rack.clock.now())
    rack.pool().allocate(service_id="s1", job_id="j1", wanted=MachineWanted(machine_class="small-1"))
    ports = replace(rack.ports, clock=clock, deployments=FakeDeployments(rack.world, clock))
    asked = StepContext(job_id="j1", service_id="s1", ports=ports, deadline=7200.0, progress=told, stopping=lambda: False)
    return Bench(asked, "m1")


WRITE = Task(key="w", kind="write", arguments={"image": "x", "sha256": "f" * 64, "bytes": 1 << 20, "serial": "A1", "seed": {}})


def test_a_machine_that_loses_its_power_in_the_middle_starts_the_task_over(rack: Rack) -> None:
    cuts = [0.5, 0.5]

    def cut(fraction: float, _says: str) -> None:
        if cuts and fraction == cuts[0]:
            cuts.pop()
            rack.bmc().turn_off(deadline=5)

    result = bench(rack, cut).run(WRITE)
    assert (result["read_back_sha256"], cuts, disk(rack.world, "m1", "A1")["image"]) == ("f" * 64, [], "f" * 64)


def test_one_that_loses_it_again_and_again_is_given_up(rack: Rack) -> None:
    def cut(fraction: float, _says: str) -> None:
        if fraction == 0.5:
            rack.bmc().turn_off(deadline=5)

    with pytest.raises(TransientDriverError, match="went silent 4 times in the middle of write"):
        bench(rack, cut).run(WRITE)


def test_a_bmc_that_boots_from_the_disk_instead_costs_time_and_nothing_else(rack: Rack) -> None:
    plant(rack.world, "m1", "A1", "a tenant's")
    lying = bench(rack)
    forget(rack.world, "m1")
    with pytest.raises(TransientDriverError, match="did not come up"):
        lying.run(WRITE)
    assert (disk(rack.world, "m1", "A1")["image"], disk(rack.world, "m1", "A1")["markers"]) == ("", ["a tenant's"])
    forget(rack.world, "m1", forgets=False)
    assert lying.run(WRITE)["read_back_sha256"] == "f" * 64


def test_nothing_is_done_to_a_machine_of_another_service(rack: Rack) -> None:
    bench(rack)
    other = StepContext(
        job_id="j2", service_id="s2", ports=rack.ports, deadline=60.0, progress=lambda _f, _s: None, stopping=lambda: False
    )
    with pytest.raises(WrongState, match="is service s1's, not s2's"):
        Bench(other, "m1")
