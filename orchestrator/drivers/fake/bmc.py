"""The BMC of a simulated machine: behaves as the real driver does behind the port."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from orchestrator.domain.errors import PermanentDriverError
from orchestrator.domain.machines import Machine
from orchestrator.drivers.fake.world import FakeWorld, State
from orchestrator.ports.bmc import BmcFacts, BootFrom, LogEntry, MachinePower, Sensor
from orchestrator.ports.machine_access import BmcCertificate

_SENSORS = (
    Sensor(name="CPU Temp", value=41.0, unit="celsius", health="ok"),
    Sensor(name="System Fan", value=2100.0, unit="rpm", health="ok"),
)


def add_machine(world: FakeWorld, name: str, *, uuid: str, serial: str = "", macs: tuple[str, ...] = ()) -> None:
    """Seed a machine that is off; one of that name already there is kept as it is."""
    with world.change() as state:
        state["nodes"].setdefault(
            name,
            {
                "name": name,
                "up": True,
                "guests": {},
                "machine": {
                    "uuid": uuid,
                    "serial": serial,
                    "macs": sorted(macs),
                    "power": MachinePower.OFF.value,
                    "boot_once": None,
                    "media": "",
                    "boots": [],
                    "certificate": hashlib.sha256(f"simulated {name}".encode()).hexdigest(),
                },
            },
        )


def forget(world: FakeWorld, name: str, *, forgets: bool = True) -> None:
    """From now on the machine boots from its disk, whatever its BMC says was chosen."""
    with world.change() as state:
        state["nodes"][name]["machine"]["forgets"] = forgets


def boots(world: FakeWorld, name: str) -> list[str]:
    """What the machine booted from each time that it was turned on: ``disk``, or the URL of what was in its drive."""
    return list(world.node(name)["machine"]["boots"])


def renew_certificate(world: FakeWorld, name: str, sha256: str) -> None:
    """Its BMC presents another one from now on."""
    with world.change() as state:
        state["nodes"][name]["machine"]["certificate"] = sha256


class FakeMachineAccess:
    """The port ``MachineAccess``, to the machines of the simulated world."""

    def __init__(self, world: FakeWorld) -> None:
        self._world = world

    def certificate(self, machine: Machine, *, deadline: float) -> BmcCertificate:
        def stage(node: State) -> str:
            return str(node["machine"]["certificate"])

        name = machine.name
        sha256 = self._world.act("bmc.certificate", node=name, subject=name, deadline=deadline, stages=[stage])
        return BmcCertificate(sha256=sha256, subject=f"CN={name}")

    def bmc(self, machine: Machine, *, certificate_sha256: str) -> FakeBmc:
        return FakeBmc(self._world, machine.name, certificate_sha256=certificate_sha256)


class FakeBmc:
    """The port ``Bmc``, on one machine of the simulated world. ``certificate_sha256`` '' = whatever it presents is believed."""

    def __init__(self, world: FakeWorld, machine: str, *, certificate_sha256: str = "") -> None:
        self._world = world
        self._machine = machine
        self._sha256 = certificate_sha256

    def facts(self, *, deadline: float) -> BmcFacts:
        return self._act("facts", _look, deadline)

    def turn_on(self, *, deadline: float) -> BmcFacts:
        def stage(machine: State) -> None:
            if machine["power"] == MachinePower.OFF:
                machine["power"] = MachinePower.ON.value
                cd = machine["boot_once"] == BootFrom.CD and machine["media"] and not machine.get("forgets")
                machine["boots"].append(machine["media"] if cd else BootFrom.DISK.value)
                machine["boot_once"] = None

        return self._act("turn_on", stage, deadline)

    def turn_off(self, *, graceful: bool = False, deadline: float) -> BmcFacts:
        return self._act("turn_off", lambda machine: machine.update(power=MachinePower.OFF.value), deadline)

    def boot_once(self, source: BootFrom, *, deadline: float) -> BmcFacts:
        chosen = source.value if source == BootFrom.CD else None
        return self._act("boot_once", lambda machine: machine.update(boot_once=chosen), deadline)

    def insert_media(self, url: str, *, deadline: float) -> BmcFacts:
        return self._act("insert_media", lambda machine: machine.update(media=url), deadline)

    def eject_media(self, *, deadline: float) -> BmcFacts:
        return self._act("eject_media", lambda machine: machine.update(media=""), deadline)

    def sensors(self, *, deadline: float) -> tuple[Sensor, ...]:
        self._act("sensors", _look, deadline)
        return _SENSORS

    def log(self, *, deadline: float) -> tuple[LogEntry, ...]:
        self._act("log", _look, deadline)
        return ()

    def close(self) -> None:
        """Nothing is kept open."""

    def _act(self, method: str, stage: Callable[[State], None], deadline: float) -> BmcFacts:
        def on_machine(node: State) -> BmcFacts:
            if self._sha256 not in ("", node["machine"]["certificate"]):
                raise PermanentDriverError(
                    f"the BMC of {self._machine} shows another certificate than the one that is pinned", hint="enrol it again"
                )
            stage(node["machine"])
            return _facts(node["machine"])

        return self._world.act(f"bmc.{method}", node=self._machine, subject=self._machine, deadline=deadline, stages=[on_machine])


def _look(_machine: State) -> None:
    """Nothing is changed."""


def _facts(machine: State) -> BmcFacts:
    return BmcFacts(
        uuid=machine["uuid"],
        power=MachinePower(machine["power"]),
        boot_once=BootFrom(machine["boot_once"]) if machine["boot_once"] else None,
        media=machine["media"],
        manufacturer="Simulated",
        serial=machine["serial"],
        memory_bytes=64 << 30,
        processors=16,
        macs=tuple(machine["macs"]),
        health="ok",
    )
