"""Machines for tests, in few words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from orchestrator.domain.machines import Machine, MachineRecord, MachineState, Standing
from orchestrator.domain.plans import MachinePlan

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
UUID = "7b1f6f0c-7f2c-4f62-9f4f-5c2a9d3c1e11"
MAC = "52:54:00:ee:00:01"
SERIAL = "S4EMNX0R1"
PLAN = MachinePlan(name="metal", machine_class="small-1", templates=("debian",), default_template="debian")
TOLD = {"uuid": UUID, "macs": [MAC], "memory_bytes": 64 << 30, "processors": 2}


def machine(name: str = "m1", **values: Any) -> Machine:
    return Machine(**({"name": name, "zone": "z1", "machine_class": "small-1", "driver": "fake"} | values))


def inspection(*serials: str, **values: Any) -> dict[str, Any]:
    """As a record keeps it: one disk of 1 TiB for each serial number."""
    disks = [
        {"name": f"sd{chr(97 + at)}", "serial": serial, "bytes": 1 << 40, "rotational": False}
        for at, serial in enumerate(serials or (SERIAL,))
    ]
    nics = [{"name": "eno1", "mac": MAC, "link": True}]
    return {"uuid": UUID, "memory_bytes": 62 << 30, "cpus": 32, "disks": disks, "nics": nics, **values}


def record(name: str = "m1", state: MachineState = MachineState.AVAILABLE, **values: Any) -> MachineRecord:
    """An enrolled machine that answers and was inspected."""
    known: dict[str, Any] = {
        "enrolled_at": NOW,
        "changed_at": NOW,
        "seen_at": NOW,
        "up": True,
        "uuid": UUID,
        "inspection": inspection(),
    }
    return MachineRecord(**({"name": name, "state": state} | known | values))


def standing(name: str = "m1", state: MachineState = MachineState.AVAILABLE, **values: Any) -> Standing:
    """``values`` are the record's, or, where a machine has them, the machine's."""
    mine = {key: values.pop(key) for key in [*values] if key in Machine.__dataclass_fields__}
    return Standing(machine=machine(name, **mine), record=record(name, state, **values))
