"""The fields of each command on a machine's guests (see ``agents.node.commands``)."""

from __future__ import annotations

from collections.abc import Mapping

from agents.node import arguments as a
from agents.node.arguments import Field
from agents.node.later import Run, later

TABLE: dict[str, tuple[Mapping[str, Field], Run]] = {
    "hello": ({}, later("hello", "hello")),
    "doctor": (
        {"pool_path": Field(a.path), "bridge": Field(a.interface), "backups": Field(a.flag, False)},
        later("doctor", "doctor"),
    ),
    "pool-fill": ({"path": Field(a.path)}, later("fill", "pool_fill")),
    "guest-traffic": ({}, later("traffic", "guest_traffic")),
    "template-check": ({"path": Field(a.path), "sha256": Field(a.sha256)}, later("templates", "template_check")),
    "volume-state": ({"path": Field(a.path)}, later("wipe", "volume_state")),
    "volume-make": (
        {
            "path": Field(a.path),
            "capacity_bytes": Field(a.count(1, 1 << 60)),
            "seconds": Field(a.count(1, 24 * 3600)),
            "template": Field(a.path, ""),
            "template_format": Field(a.one_of(*a.FORMATS), "qcow2"),
            "full_copy": Field(a.flag, False),
            "passphrase": Field(a.passphrase, ""),
        },
        later("make", "volume_make"),
    ),
    "volume-wipe": (
        {"path": Field(a.path), "method": Field(a.one_of(*a.METHODS)), "samples": Field(a.count(1, 64), 16)},
        later("wipe", "volume_wipe"),
    ),
    "secret-wipe": ({"uuid": Field(a.uuid)}, later("keys", "secret_wipe")),
    "guest-freeze": ({"guest": Field(a.guest), "seconds": Field(a.count(1, 60), 5)}, later("freeze", "guest_freeze")),
    "guest-thaw": ({"guest": Field(a.guest)}, later("freeze", "guest_thaw")),
    "residue": (
        {
            "service_id": Field(a.service_id),
            "pool_path": Field(a.path, ""),
            "clean": Field(a.flag),
            "repositories": Field(a.locations, ()),
        },
        later("residue", "residue"),
    ),
}

LASTING = frozenset({"volume-wipe", "secret-wipe", "guest-thaw"})
"""Go on although nobody listens."""
