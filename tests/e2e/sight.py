"""What there is of a service, seen from outside: libvirt, the pool's files, the secrets, and the rows of the store.

The engine's tables and the product's own code are not asked. What differs each time (ids, addresses, times) is masked, so that
two services that were treated alike look alike.
"""

from __future__ import annotations

import difflib
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from orchestrator import wiring
from orchestrator.store.database import Connection
from tests.e2e.site import Site
from tests.e2e.traces import virsh

CONSOLES = Path("/var/log/libvirt/qemu")
READY = "tiny: ready"
HOLD = re.compile(r"<orch:hold reason=['\"]([a-z]+)")
# Where libvirt, QEMU and our agent keep files on a node.
PLACES = ("/etc/libvirt", "/run/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/lib/orchestrator-node", "/dev/shm")
_MASKS = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "HASH"),
    (re.compile(r"\bj[0-9a-z]{15}\b"), "JOB"),
    (re.compile(r"spec-signature=\\?['\"][^'\"\\]*\\?['\"]"), "SIGNED"),
    (re.compile(r"\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b"), "MAC"),
    (re.compile(r"\b10\.77\.0\.\d+"), "V4"),
    (re.compile(r"\b(fd77|fe80)::[0-9a-f:]+"), "V6"),
    (re.compile(r"\d{4}-\d\d-\d\dT[0-9:.+]+"), "TIME"),
)


def guest(service: str) -> str:
    return f"orch.{service}"


def mine(name: str, service: str) -> bool:
    """Whether a name on the node is the service's guest, or of something that belongs to it."""
    return name == guest(service) or f"{guest(service)}." in name


def look(site: Site, service: str) -> dict[str, Any]:
    """Everything, masked."""
    seen = {
        "guests": _guests(service),
        "volumes": volumes(site, service),
        "secrets": secrets(service),
        "rows": rows(site, service),
    }
    return masked(seen, service)


def masked(seen: dict[str, Any], service: str) -> dict[str, Any]:
    text = json.dumps(seen, sort_keys=True, indent=1).replace(service, "SERVICE")
    for pattern, word in _MASKS:
        text = pattern.sub(word, text)
    found: dict[str, Any] = json.loads(text)
    return found


def difference(wanted: Any, seen: Any) -> list[str]:
    """The lines in which two looks differ; none where they are alike."""
    before, after = (json.dumps(look, sort_keys=True, indent=1).splitlines() for look in (wanted, seen))
    return list(difflib.unified_diff(before, after, "wanted", "found", lineterm="", n=1))


def _guests(service: str) -> list[dict[str, Any]]:
    names = [name for name in _names("list", "--all", "--name") if mine(name, service)]
    return [guest_facts(name) for name in names]


def guest_facts(name: str) -> dict[str, Any]:
    """How a guest is defined, and how it is."""
    definition = virsh("dumpxml", "--inactive", name).stdout
    info = dict(line.split(":", 1) for line in virsh("dominfo", name).stdout.splitlines() if ":" in line)
    return {
        "power": info["State"].strip(),
        "autostart": info["Autostart"].strip(),
        "holds": sorted(HOLD.findall(definition)),
        "definition": _without_history(definition),
    }


def _without_history(definition: str) -> list[str]:
    """The lines of a definition but for the traces that earlier jobs left in our mark."""
    lines = (line for line in definition.splitlines() if "<orch:token " not in line and "</orch:guest>" not in line)
    return [line.replace("/>", ">") if "<orch:guest " in line else line for line in lines]


def power(service: str) -> str:
    return virsh("domstate", guest(service)).stdout.strip()


def holds(service: str) -> list[str]:
    return sorted(HOLD.findall(virsh("dumpxml", "--inactive", guest(service)).stdout))


def volumes(site: Site, service: str) -> list[dict[str, Any]]:
    """The files in the pool whose names are the service's, whatever libvirt makes of them."""
    found = []
    for path in sorted(site.lab.pool_path.iterdir()):
        if mine(path.name, service):
            told = subprocess.run(["qemu-img", "info", "-U", "--output=json", path], capture_output=True, text=True, timeout=60)
            info = json.loads(told.stdout or "{}")
            keep = {key: info.get(key) for key in ("format", "virtual-size", "backing-filename", "encrypted")}
            found.append({"name": path.name, **keep})
    return found


def disk(site: Site, service: str) -> Path:
    """The file of the service's one disk."""
    (found,) = (path for path in site.lab.pool_path.iterdir() if path.name.startswith(f"{guest(service)}.disk."))
    return found


def secrets(service: str) -> list[str]:
    return sorted(line.split(maxsplit=1)[1] for line in virsh("secret-list").stdout.splitlines() if mine(line, service))


def files(site: Site, service: str) -> list[str]:
    """Every file on the node that is named after the service, in the pool and wherever libvirt keeps some."""
    places = [place for place in (*PLACES, str(site.lab.pool_path)) if Path(place).exists()]
    found = subprocess.run(["find", *places, "-name", f"*{guest(service)}*"], capture_output=True, text=True, timeout=60)
    return sorted(line for line in found.stdout.splitlines() if re.search(rf"{re.escape(guest(service))}(\.|$)", line))


def rows(site: Site, service: str) -> dict[str, Any]:
    """What the store holds of the service."""
    with store(site) as conn:

        def all_of(sql: str) -> list[Any]:
            return list(conn.execute(sa.text(sql), {"id": service}).scalars())

        return {
            "state": all_of("SELECT state FROM services WHERE id = :id"),
            "proven": all_of("SELECT suspension_proven_at IS NOT NULL FROM services WHERE id = :id"),
            "limited": all_of("SELECT limited_proven_at IS NOT NULL FROM services WHERE id = :id"),
            "no return": all_of("SELECT point_of_no_return IS NOT NULL FROM services WHERE id = :id"),
            "holds": sorted(all_of("SELECT reason FROM holds WHERE service_id = :id")),
            "addresses": sorted(all_of("SELECT family FROM addresses WHERE service_id = :id AND released_at IS NULL")),
            "macs": len(all_of("SELECT mac FROM macs WHERE service_id = :id AND released_at IS NULL")),
            "reserved": sorted(all_of("SELECT node FROM reservations WHERE service_id = :id")),
            "certificates": len(all_of("SELECT id FROM certificates WHERE service_id = :id")),
            "locks": len(all_of("SELECT token FROM service_locks WHERE service_id = :id")),
        }


@contextmanager
def store(site: Site) -> Iterator[Connection]:
    """The site's database as it is now, whatever it is."""
    db = wiring.database_of(wiring.load_config(site.config).settings)
    try:
        with db.read() as conn:
            yield conn
    finally:
        db.close()


def leases(site: Site) -> dict[str, str]:
    """Every address that is held, and by whom; an address held twice shows itself by a guest without one."""
    with store(site) as conn:
        held = conn.execute(sa.text("SELECT address, service_id FROM addresses WHERE released_at IS NULL"))
        return {str(address): str(holder) for address, holder in held}


def address(site: Site, service: str) -> str:
    """The service's IPv4 address."""
    return next(address for address, holder in leases(site).items() if holder == service and "." in address)


def left(site: Site, service: str) -> dict[str, Any]:
    """What is left of a service on the node and of what it drew from the pools: empty where nothing is."""
    held = rows(site, service)
    found = {
        "guests": [name for name in _names("list", "--all", "--name") if mine(name, service)],
        "volumes": [volume["name"] for volume in volumes(site, service)],
        "secrets": secrets(service),
        **{key: held[key] for key in ("addresses", "macs", "reserved", "locks")},
    }
    return {key: value for key, value in found.items() if value}


def boots(service: str) -> int:
    """How often the tiny guest came up, by its console's log."""
    log = CONSOLES / f"{guest(service)}.console.log"
    return log.read_text(errors="replace").count(READY) if log.exists() else 0


def _names(*words: str) -> list[str]:
    return virsh(*words).stdout.split()
