"""The table of commands: which fields each takes, and what it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.node import arguments as a
from agents.node.arguments import Field
from agents.node.call import Call
from agents.node.disk.table import TABLE as DISKS
from agents.node.doctor import doctor, hello
from agents.node.freeze import guest_freeze, guest_thaw
from agents.node.hosting.table import LASTING
from agents.node.hosting.table import TABLE as ACCOUNTS
from agents.node.keys import secret_wipe
from agents.node.make import FORMATS, volume_make
from agents.node.residue import residue
from agents.node.restic.table import TABLE as REPOSITORIES
from agents.node.templates import template_check
from agents.node.wipe import METHODS, volume_state, volume_wipe

Run = Callable[[Call], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Command:
    """``fields`` is all that a request may hold; ``run`` gets them checked. ``lasting``: goes on although nobody listens."""

    fields: Mapping[str, Field]
    run: Run
    lasting: bool = False


COMMANDS: dict[str, Command] = {
    "hello": Command({}, hello),
    "doctor": Command({"pool_path": Field(a.path), "bridge": Field(a.interface), "backups": Field(a.flag, False)}, doctor),
    "template-check": Command({"path": Field(a.path), "sha256": Field(a.sha256)}, template_check),
    "volume-state": Command({"path": Field(a.path)}, volume_state),
    "volume-make": Command(
        {
            "path": Field(a.path),
            "capacity_bytes": Field(a.count(1, 1 << 60)),
            "seconds": Field(a.count(1, 24 * 3600)),
            "template": Field(a.path, ""),
            "template_format": Field(a.one_of(*FORMATS), "qcow2"),
            "full_copy": Field(a.flag, False),
            "passphrase": Field(a.passphrase, ""),
        },
        volume_make,
    ),
    "volume-wipe": Command(
        {"path": Field(a.path), "method": Field(a.one_of(*METHODS)), "samples": Field(a.count(1, 64), 16)},
        volume_wipe,
        lasting=True,
    ),
    "secret-wipe": Command({"uuid": Field(a.uuid)}, secret_wipe, lasting=True),
    "guest-freeze": Command({"guest": Field(a.guest), "seconds": Field(a.count(1, 60), 5)}, guest_freeze),
    "guest-thaw": Command({"guest": Field(a.guest)}, guest_thaw, lasting=True),
    "residue": Command(
        {
            "service_id": Field(a.service_id),
            "pool_path": Field(a.path, ""),
            "clean": Field(a.flag),
            "repositories": Field(a.locations, ()),
        },
        residue,
    ),
    **{name: Command(fields, run) for name, (fields, run) in {**REPOSITORIES, **DISKS}.items()},
    **{name: Command(fields, run, lasting=name in LASTING) for name, (fields, run) in ACCOUNTS.items()},
}
