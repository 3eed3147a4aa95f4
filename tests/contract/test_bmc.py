"""The contract of Bmc, on the simulated machine and on a Redfish BMC before a guest of the lab."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from orchestrator.drivers.fake import FakeWorld
from orchestrator.drivers.fake.bmc import FakeBmc, add_machine
from orchestrator.drivers.redfish import RedfishBmc
from orchestrator.ports.bmc import Bmc, BootFrom, MachinePower
from tests.lab import bmc as lab_bmc
from tests.lab.bmc import Machine, connection
from tests.lab.environment import Lab

LONG = 120.0
UUID = "7b1f6f0c-7f2c-4f62-9f4f-5c2a9d3c1e11"


@dataclass(frozen=True)
class Ground:
    """A machine that is off, with an empty drive and two images at URLs."""

    bmc: Bmc
    uuid: str
    mac: str
    images: tuple[str, str]


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Iterator[Machine]:
    with lab_bmc.machine(lab, 1) as made:
        yield made


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Two images behind a web server on the loopback."""
    directory = tmp_path_factory.mktemp("images")
    for name in ("a.iso", "b.iso"):
        (directory / name).write_bytes(name.encode() * 10_000)
    handler = partial(_Quiet, directory=str(directory))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield (f"http://127.0.0.1:{server.server_port}/a.iso", f"http://127.0.0.1:{server.server_port}/b.iso")
    server.shutdown()
    server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parent's name of it
        """Nothing is told."""


@pytest.fixture(scope="module", params=["fake", pytest.param("redfish", marks=pytest.mark.lab)])
def module_ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    if request.param == "fake":
        world = FakeWorld(tmp_path_factory.mktemp("world") / "world.json")
        add_machine(world, "m1", uuid=UUID, macs=("52:54:00:ee:00:01",))
        return Ground(FakeBmc(world, "m1"), UUID, "52:54:00:ee:00:01", ("http://c/a.iso", "http://c/b.iso"))
    made = request.getfixturevalue("machine")
    reached = connection(request.getfixturevalue("bmc_emulator"), made)
    return Ground(RedfishBmc(reached), made.uuid, made.mac, request.getfixturevalue("images"))


@pytest.fixture
def ground(module_ground: Ground) -> Iterator[Ground]:
    yield module_ground
    module_ground.bmc.turn_off(deadline=LONG)
    module_ground.bmc.eject_media(deadline=LONG)
    module_ground.bmc.boot_once(BootFrom.DISK, deadline=LONG)


def test_a_machine_is_told_of_as_it_is(ground: Ground) -> None:
    facts = ground.bmc.facts(deadline=LONG)
    assert (facts.uuid, facts.power, facts.boot_once, facts.media) == (ground.uuid, MachinePower.OFF, None, "")
    assert facts.macs == (ground.mac,)
    assert facts.memory_bytes > 0
    assert facts.processors > 0
    assert facts.health == "ok"


def test_it_is_turned_on_and_off_and_read_back_and_again_is_success(ground: Ground) -> None:
    for _ in range(2):
        assert ground.bmc.turn_on(deadline=LONG).power == MachinePower.ON
        assert ground.bmc.facts(deadline=LONG).power == MachinePower.ON
    for _ in range(2):
        assert ground.bmc.turn_off(deadline=LONG).power == MachinePower.OFF
        assert ground.bmc.facts(deadline=LONG).power == MachinePower.OFF


def test_off_when_asked_gently_is_success_where_it_is_off_already(ground: Ground) -> None:
    assert ground.bmc.turn_off(graceful=True, deadline=LONG).power == MachinePower.OFF


def test_the_next_boot_is_chosen_and_taken_back(ground: Ground) -> None:
    ground.bmc.insert_media(ground.images[0], deadline=LONG)
    for _ in range(2):
        assert ground.bmc.boot_once(BootFrom.CD, deadline=LONG).boot_once == BootFrom.CD
    assert ground.bmc.facts(deadline=LONG).boot_once == BootFrom.CD
    for _ in range(2):
        assert ground.bmc.boot_once(BootFrom.DISK, deadline=LONG).boot_once is None


def test_an_image_is_inserted_exchanged_and_ejected(ground: Ground) -> None:
    first, second = ground.images
    for url in (first, first, second):
        assert ground.bmc.insert_media(url, deadline=LONG).media == url
        assert ground.bmc.facts(deadline=LONG).media == url
    for _ in range(2):
        assert ground.bmc.eject_media(deadline=LONG).media == ""


def test_its_sensors_and_its_log_are_read(ground: Ground) -> None:
    sensors = ground.bmc.sensors(deadline=LONG)
    assert {each.unit for each in sensors} == {"celsius", "rpm"}
    assert [each.name for each in sensors] == sorted(each.name for each in sensors)
    assert ground.bmc.log(deadline=LONG) == ()
