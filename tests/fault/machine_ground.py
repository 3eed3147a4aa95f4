"""The dedicated machines of a battery: enough of them, looked into, and what is on their disks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from orchestrator.domain.machines import Machine, MachineState
from orchestrator.drivers.fake import FakeWorld
from orchestrator.drivers.fake.bmc import add_machine
from orchestrator.drivers.fake.deployments import plant, set_disks
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.store import machines as machine_store
from orchestrator.store.database import Connection, Database
from tests.fault.house import TEMPLATE
from tests.machine_words import machine

RAW = replace(TEMPLATE, format="raw", volume="debian.raw")
LETTERS = "the letters of {}"
_NUMBER = 16  # as many as a battery has services


def _name(number: int) -> str:
    return f"m{number:02}"


def _mac(number: int) -> str:
    return f"52:54:00:fa:00:{number:02x}"


MACHINES: tuple[Machine, ...] = tuple(machine(_name(number), macs=(_mac(number),)) for number in range(_NUMBER))


def furnish(world: FakeWorld, db: Database) -> None:
    """All of them are enrolled, and available."""
    now = SystemClock().now()
    for number, each in enumerate(MACHINES):
        uuid = f"00000000-0000-4000-8000-{number:012}"
        serial = f"{each.name.upper()}D0"
        add_machine(world, each.name, uuid=uuid, macs=each.macs)
        set_disks(world, each.name, **{serial: 1 << 40})
        disk = {"name": "nvme0n1", "serial": serial, "bytes": 1 << 40, "rotational": False}
        nic = {"name": "eth0", "mac": each.macs[0], "link": True}
        found = {"uuid": uuid, "memory_bytes": 64 << 30, "cpus": 16, "disks": [disk], "nics": [nic]}
        with db.write() as conn:
            machine_store.set_enrolled(conn, each.name, certificate_sha256="0" * 64, told={"uuid": uuid}, now=now, who="anna")
        pool = machine_store.StoreMachinePool(db, MACHINES, SystemClock())
        assert pool.inspected(each.name, found).state == MachineState.AVAILABLE


def fill(world: FakeWorld, db: Database) -> None:
    """Each tenant writes to his disk."""
    with db.read() as conn:
        records = machine_store.list_all(conn)
    for record in records:
        if record.service_id:
            plant(world, record.name, f"{record.name.upper()}D0", LETTERS.format(record.service_id))


def machines_of(world: FakeWorld, conn: Connection, service_id: str) -> list[dict[str, Any]]:
    """Every machine that is the service's, or has something of it on a disk."""
    records = {record.name: record for record in machine_store.list_all(conn)}
    found = []
    for name, record in sorted(records.items()):
        there = world.read()["nodes"][name]["machine"]
        kept = ("image", "seed", "markers", "passwords")
        disks = [{"passwords": {}, **{key: disk[key] for key in kept if key in disk}} for disk in there.get("disks", ())]
        if record.service_id != service_id and not any(_bears(disk, service_id) for disk in disks):
            continue
        deployment = there.get("deployment") or {"closed": True}
        found.append(
            {
                "state": record.state.value,
                "service": record.service_id,
                "power": there["power"],
                "media": bool(there["media"]),
                "boot_once": there["boot_once"],
                "deployed": not deployment["closed"],
                "rescue": there.get("rescue", {}).get("boot") == len(there["boots"]),
                "disks": [disk | {"seed": sorted(disk["seed"])} for disk in disks],
            }
        )
    return found


def _bears(disk: dict[str, Any], service_id: str) -> bool:
    """Whether the seed is the service's, or something that its tenant wrote is there."""
    instance = json.loads(disk["seed"].get("meta-data", "{}")).get("instance-id", "")
    return instance.startswith(f"{service_id}-") or LETTERS.format(service_id) in disk["markers"]
