"""The contract of Deployments: on the simulated machine, and on the store with its desk and the agent as a process of its own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from orchestrator.domain.errors import WrongState
from orchestrator.drivers.fake import FakeWorld
from orchestrator.drivers.fake.bmc import FakeBmc, add_machine
from orchestrator.drivers.fake.deployments import FakeDeployments, disk, plant, set_disks
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.ports.bmc import BootFrom
from orchestrator.ports.deployment import REPORTED, Deployment, Deployments, Expected, Network, Task, TaskState
from tests.deploy_machine import DISK_BYTES, MAC, UUID, Stand, machine_root, stand
from tests.store_files import fresh_database

LONG = 30.0
KNOWN = Expected(uuid=UUID, serials=("SER0",))
IMAGE = b"image" * 100_000
MARKER = "a-tenant-was-here"
LOOK = Task(key="look", kind="inspect", arguments={})
ERASE = Task(key="erase", kind="erase", arguments={"disks": ["SER0"]})


class Ground(Protocol):
    """A machine with the disk SER0 behind a port."""

    book: Deployments

    def boot(self, medium: str) -> None:
        """Power off and on, from that medium."""

    def image(self) -> dict[str, object]: ...
    def plant(self) -> None: ...
    def holds_marker(self) -> bool: ...
    def ended(self) -> bool: ...


class Simulated:
    def __init__(self, directory: Path) -> None:
        self._world = FakeWorld(directory / "world.json")
        add_machine(self._world, "m1", uuid=UUID, macs=(MAC,))
        set_disks(self._world, "m1", SER0=DISK_BYTES)
        self._bmc = FakeBmc(self._world, "m1")
        self.book: Deployments = FakeDeployments(self._world, SystemClock())

    def boot(self, medium: str) -> None:
        self._bmc.turn_off(deadline=LONG)
        self._bmc.insert_media(medium, deadline=LONG)
        self._bmc.boot_once(BootFrom.CD, deadline=LONG)
        self._bmc.turn_on(deadline=LONG)

    def image(self) -> dict[str, object]:
        return {"image": "x.raw", "sha256": "1" * 64, "bytes": 1000}

    def plant(self) -> None:
        plant(self._world, "m1", "SER0", MARKER)

    def holds_marker(self) -> bool:
        return MARKER in disk(self._world, "m1", "SER0")["markers"]

    def ended(self) -> bool:
        return self._bmc.facts(deadline=LONG).power == "off"


class OfTheStore:
    def __init__(self, made: Stand, root: Path) -> None:
        self._stand, self._root = made, root
        self._process: subprocess.Popen[str] | None = None
        self.book: Deployments = made.book

    def boot(self, medium: str) -> None:
        self.off()
        self._stand.boot(self._root, medium)
        self._process = self._stand.agent(self._root)

    def image(self) -> dict[str, object]:
        return self._stand.put_image("x.raw", IMAGE)

    def plant(self) -> None:
        with (self._root / "dev/sda").open("r+b") as file:
            file.seek(DISK_BYTES // 2)
            file.write(MARKER.encode() * 1000)

    def holds_marker(self) -> bool:
        return MARKER.encode() in (self._root / "dev/sda").read_bytes()

    def ended(self) -> bool:
        return (self._root / "run/ended").exists()

    def off(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture(params=["fake", "store"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    if request.param == "fake":
        yield Simulated(tmp_path)
        return
    db = fresh_database(tmp_path)
    with stand(tmp_path / "desk", db) as made:
        real = OfTheStore(made, machine_root(tmp_path / "machine"))
        yield real
        real.off()
    db.close()


def opened(ground: Ground, *tasks: Task, job_id: str = "j1", expected: Expected = KNOWN) -> str:
    medium = ground.book.open("m1", job_id=job_id, expected=expected, network=Network())
    for task in tasks:
        ground.book.give("m1", task, job_id=job_id)
    return medium


def seen(ground: Ground, job_id: str = "j1") -> Deployment:
    found = ground.book.deployment("m1", job_id=job_id)
    assert found is not None
    return found


def until(ground: Ground, holds: Callable[[Deployment], bool], job_id: str = "j1") -> Deployment:
    end = time.monotonic() + LONG
    while not holds(found := seen(ground, job_id)):
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


def states(found: Deployment) -> dict[str, str]:
    return {task.key: task.state for task in found.tasks}


def rests(found: Deployment) -> bool:
    return all(task.state in ("done", "failed") for task in found.tasks)


def of(found: Deployment, key: str) -> TaskState:
    return next(task for task in found.tasks if task.key == key)


def result(found: Deployment, key: str) -> dict[str, Any]:
    return dict(of(found, key).result)


def test_a_machine_that_is_off_has_not_come_and_its_tasks_wait(ground: Ground) -> None:
    opened(ground, LOOK, ERASE)
    found = seen(ground)
    assert (found.machine, found.job_id, found.claimed_at, found.refused, found.inspection) == ("m1", "j1", None, "", None)
    assert list(states(found).items()) == [("look", "waiting"), ("erase", "waiting")]


def test_a_machine_claims_and_does_its_tasks_in_turn_to_the_end(ground: Ground) -> None:
    ground.plant()
    write = Task(key="write", kind="write", arguments={**ground.image(), "serial": "SER0"})
    finish = Task(key="finish", kind="finish", arguments={"power": "off"})
    ground.boot(opened(ground, LOOK, ERASE, write, finish))
    found = until(ground, lambda found: rests(found) and ground.ended())
    assert set(states(found).values()) == {"done"}, found
    assert found.claimed_at is not None
    assert found.heard_at is not None
    assert found.opened_at <= found.claimed_at <= found.heard_at
    assert found.inspection is not None
    assert found.inspection.uuid == UUID
    assert [(each.serial, each.bytes) for each in found.inspection.disks] == [("SER0", DISK_BYTES)]
    assert [each.mac for each in found.inspection.nics] == [MAC]
    (row,) = result(found, "erase")["drives"]
    assert (row["serial"], row["problem"]) == ("SER0", "")
    assert {"method", "seconds", "samples", "tried", "unreached", "bytes", "model"} <= set(row)
    assert found.claimed_at.isoformat(timespec="seconds") <= str(result(found, "erase")[REPORTED])
    written = result(found, "write")
    assert written["sha256"] == written["read_back_sha256"] == ground.image()["sha256"]
    assert not ground.holds_marker()


def test_what_an_image_does_not_reach_stays_until_it_is_erased(ground: Ground) -> None:
    ground.plant()
    ground.boot(opened(ground, Task(key="write", kind="write", arguments={**ground.image(), "serial": "SER0"})))
    until(ground, rests)
    assert ground.holds_marker()


def test_a_task_is_given_once_however_often_and_never_with_something_else(ground: Ground) -> None:
    opened(ground, LOOK, LOOK)
    assert states(seen(ground)) == {"look": "waiting"}
    with pytest.raises(WrongState, match="something else"):
        ground.book.give("m1", Task(key="look", kind="erase", arguments={"disks": []}), job_id="j1")


def test_nothing_is_given_to_a_job_that_has_no_deployment_open(ground: Ground) -> None:
    with pytest.raises(WrongState, match="no deployment of m1 is open"):
        ground.book.give("m1", LOOK, job_id="j1")
    opened(ground, job_id="j2")
    with pytest.raises(WrongState, match="no deployment of m1 is open"):
        ground.book.give("m1", LOOK, job_id="j1")
    assert ground.book.deployment("m1", job_id="j1") is None


def test_a_task_that_fails_says_why_and_the_next_one_is_done(ground: Ground) -> None:
    wrong = Task(key="wrong", kind="erase", arguments={"disks": ["ELSEWHERE"]})
    ground.plant()
    ground.boot(opened(ground, wrong, LOOK))
    found = until(ground, rests)
    assert states(found) == {"wrong": "failed", "look": "done"}
    assert "there is no disk with the serial number ELSEWHERE" in of(found, "wrong").says
    assert ground.holds_marker()


def test_another_machine_is_refused_with_what_differs(ground: Ground) -> None:
    expected = Expected(uuid=UUID.replace("4", "5"), serials=("SER0", "SER9"))
    ground.boot(opened(ground, ERASE, expected=expected))
    ground.plant()
    found = until(ground, lambda found: bool(found.refused))
    assert found.claimed_at is None
    assert f"its UUID is {UUID}, and not {expected.uuid}" in found.refused
    assert "it has no disk with the serial number SER9" in found.refused
    assert states(found) == {"erase": "waiting"}
    assert ground.holds_marker()


def test_of_a_machine_of_which_nothing_is_known_yet_whatever_comes_is_believed(ground: Ground) -> None:
    ground.boot(opened(ground, LOOK, expected=Expected()))
    found = until(ground, rests)
    assert found.inspection is not None
    assert found.inspection.uuid == UUID


def test_a_machine_that_boots_again_from_the_same_medium_gets_nothing(ground: Ground) -> None:
    medium = opened(ground, LOOK)
    ground.boot(medium)
    until(ground, rests)
    ground.boot(medium)
    found = until(ground, lambda found: bool(found.refused))
    assert found.refused == "this token was claimed before, and is good for once"
    ground.plant()
    ground.book.give("m1", ERASE, job_id="j1")
    assert {states(seen(ground))["erase"] for _ in range(10)} == {"waiting"}
    assert ground.holds_marker()


def test_after_a_new_medium_was_opened_what_was_not_done_begins_anew(ground: Ground) -> None:
    first = opened(ground, LOOK)
    ground.boot(first)
    until(ground, rests)
    ground.book.give("m1", Task(key="bad", kind="erase", arguments={"disks": ["ELSEWHERE"]}), job_id="j1")
    until(ground, rests)
    second = opened(ground)
    assert second != first
    assert states(seen(ground)) == {"look": "done", "bad": "waiting"}
    assert seen(ground).claimed_at is None
    ground.boot(second)
    assert states(until(ground, rests)) == {"look": "done", "bad": "failed"}


def test_another_job_takes_the_machine_over_and_the_first_has_nothing_any_more(ground: Ground) -> None:
    opened(ground, ERASE, job_id="j1")
    ground.plant()
    ground.boot(opened(ground, LOOK, job_id="j2"))
    assert states(until(ground, rests, "j2")) == {"look": "done"}
    assert ground.book.deployment("m1", job_id="j1") is None
    assert ground.holds_marker()
    ground.book.close("m1", job_id="j1")
    assert states(seen(ground, "j2")) == {"look": "done"}


def test_closed_it_is_over_and_closing_again_is_success(ground: Ground) -> None:
    opened(ground, LOOK)
    for _ in range(2):
        ground.book.close("m1", job_id="j1")
        assert ground.book.deployment("m1", job_id="j1") is None


def test_closed_its_tasks_are_forgotten_and_the_same_job_begins_anew(ground: Ground) -> None:
    ground.boot(opened(ground, LOOK))
    assert states(until(ground, rests)) == {"look": "done"}
    ground.book.close("m1", job_id="j1")
    ground.book.open("m1", job_id="j1", expected=Expected(), network=Network())
    assert seen(ground).tasks == ()


def test_memory_and_disks_are_tested(ground: Ground) -> None:
    arguments = {"memory": True, "disks": ["SER0"], "seconds": 0.2}
    ground.boot(opened(ground, Task(key="test", kind="test", arguments=arguments)))
    tested = result(until(ground, rests), "test")
    assert tested["memory"]["bytes"] > 0
    assert [row["serial"] for row in tested["disks"]] == ["SER0"]
