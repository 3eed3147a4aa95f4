"""The gauges of dedicated machines: few, because each is there for every machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from orchestrator.observe.snapshot import MachineGauges, MachinesCount

_LABELS = ("machine", "zone")
_GAUGES: tuple[tuple[str, str, Callable[[MachineGauges], float | None]], ...] = (
    ("machine_up", "1 where the BMC of an enrolled machine answered when it was last asked.", lambda each: float(each.up)),
    (
        "machine_on",
        "1 where the machine is on, as its BMC last told.",
        lambda each: None if each.on is None else float(each.on),
    ),
    (
        "machine_health",
        "0 ok, 1 warning, 2 critical, as its BMC last told; no series where it tells none.",
        lambda each: each.health,
    ),
    (
        "machine_hottest_celsius",
        "The highest of the machine's temperatures; no series where none is told.",
        lambda each: each.hottest_celsius,
    ),
    (
        "machine_unwell_sensors",
        "Sensors of the machine that are not well by its BMC's own limits.",
        lambda each: each.unwell_sensors,
    ),
)


def machine_gauges(counts: tuple[MachinesCount, ...], machines: tuple[MachineGauges, ...], kept_off: int) -> Iterator[Metric]:
    number = GaugeMetricFamily(
        "orchestrator_machines", "Declared machines, by class, zone and state.", labels=("class", "zone", "state")
    )
    for row in counts:
        number.add_metric((row.machine_class, row.zone, row.state), row.count)
    yield number
    times = "How often in the last 24 hours the machine of a suspended service was found on, and switched off again."
    yield GaugeMetricFamily("orchestrator_machines_kept_off", times, value=kept_off)
    for name, help_text, read in _GAUGES:
        family = GaugeMetricFamily(f"orchestrator_{name}", help_text, labels=_LABELS)
        for machine in machines:
            value = read(machine)
            if value is not None:
                family.add_metric((machine.name, machine.zone), value)
        yield family
