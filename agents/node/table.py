"""The fields of each command on a machine's guests (see ``agents.node.commands``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agents.node import arguments as a
from agents.node.arguments import Field
from agents.node.call import Call
from agents.node.doctor import doctor, hello
from agents.node.freeze import guest_freeze, guest_thaw
from agents.node.keys import secret_wipe
from agents.node.make import FORMATS, volume_make
from agents.node.residue import residue
from agents.node.templates import template_check
from agents.node.wipe import METHODS, volume_state, volume_wipe

TABLE: dict[str, tuple[Mapping[str, Field], Callable[[Call], dict[str, Any]]]] = {
    "hello": ({}, hello),
    "doctor": ({"pool_path": Field(a.path), "bridge": Field(a.interface), "backups": Field(a.flag, False)}, doctor),
    "template-check": ({"path": Field(a.path), "sha256": Field(a.sha256)}, template_check),
    "volume-state": ({"path": Field(a.path)}, volume_state),
    "volume-make": (
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
    "volume-wipe": (
        {"path": Field(a.path), "method": Field(a.one_of(*METHODS)), "samples": Field(a.count(1, 64), 16)},
        volume_wipe,
    ),
    "secret-wipe": ({"uuid": Field(a.uuid)}, secret_wipe),
    "guest-freeze": ({"guest": Field(a.guest), "seconds": Field(a.count(1, 60), 5)}, guest_freeze),
    "guest-thaw": ({"guest": Field(a.guest)}, guest_thaw),
    "residue": (
        {
            "service_id": Field(a.service_id),
            "pool_path": Field(a.path, ""),
            "clean": Field(a.flag),
            "repositories": Field(a.locations, ()),
        },
        residue,
    ),
}

LASTING = frozenset({"volume-wipe", "secret-wipe", "guest-thaw"})
"""Go on although nobody listens."""
