"""Reads from the store what the metrics show of dedicated machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from orchestrator.domain.machines import Machine, MachineState, Standing
from orchestrator.observe.snapshot import MachineGauges, MachinesCount
from orchestrator.store import machines
from orchestrator.store.database import Connection

_HEALTH = {"ok": 0, "warning": 1, "critical": 2}
_WELL = ("", "ok")


def scraped(conn: Connection, declared: Sequence[Machine]) -> tuple[tuple[MachinesCount, ...], tuple[MachineGauges, ...]]:
    """How many are in each state, none in a state among them; and each that is enrolled."""
    known = machines.standings(conn, declared)
    counted = Counter((each.machine.machine_class, each.machine.zone, each.record.state) for each in known)
    places = sorted({(each.machine.machine_class, each.machine.zone) for each in known})
    counts = tuple(
        MachinesCount(machine_class=name, zone=zone, state=state.value, count=counted[name, zone, state])
        for name, zone in places
        for state in MachineState
    )
    return counts, tuple(_gauges(each) for each in known if each.record.enrolled)


def _gauges(standing: Standing) -> MachineGauges:
    told = standing.record.told
    sensors: list[dict[str, Any]] = list(told.get("sensors", ()))
    degrees = [float(each["value"]) for each in sensors if each["unit"] == "celsius"]
    return MachineGauges(
        name=standing.machine.name,
        zone=standing.machine.zone,
        up=standing.record.up,
        on=told["power"] == "on" if "power" in told else None,
        health=_HEALTH.get(str(told.get("health", ""))),
        hottest_celsius=max(degrees, default=None),
        unwell_sensors=sum(each["health"] not in _WELL for each in sensors),
    )
