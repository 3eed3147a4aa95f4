"""The BMC of a simulated machine: behaves as the real driver does behind the port."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.drivers.fake.world import FakeWorld, State
from orchestrator.ports.bmc import BmcFacts, BootFrom, LogEntry, MachinePower, Sensor

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
                "machine": {
                    "uuid": uuid,
                    "serial": serial,
                    "macs": sorted(macs),
                    "power": MachinePower.OFF.value,
                    "boot_once": None,
                    "media": "",
                    "boots": [],
                },
            },
        )


def boots(world: FakeWorld, name: str) -> list[str]:
    """What the machine booted from each time that it was turned on: ``disk``, or the URL of what was in its drive."""
    return list(world.node(name)["machine"]["boots"])


class FakeBmc:
    """The port ``Bmc``, on one machine of the simulated world."""

    def __init__(self, world: FakeWorld, machine: str) -> None:
        self._world = world
        self._machine = machine

    def facts(self, *, deadline: float) -> BmcFacts:
        return self._act("facts", _look, deadline)

    def turn_on(self, *, deadline: float) -> BmcFacts:
        def stage(machine: State) -> None:
            if machine["power"] == MachinePower.OFF:
                machine["power"] = MachinePower.ON.value
                cd = machine["boot_once"] == BootFrom.CD and machine["media"]
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
