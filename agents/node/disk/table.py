"""The fields of each command on guests' disks (see ``agents.node.commands``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from agents.node import arguments as a
from agents.node.arguments import Field
from agents.node.call import Call
from agents.node.disk import commands as c
from agents.node.restic import fields as f

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _name(value: Any) -> str:
    """As libvirt knows exports and bitmaps by."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("is not a name of letters, digits and _ . -")
    return value


_VOLUME = {"format": Field(a.one_of(*a.FORMATS), "qcow2"), "secret_uuid": Field(a.uuid, "")}
_RUN = {"repository": f.REPOSITORY, "seconds": f.SECONDS, "limits": f.LIMITS}

TABLE: dict[str, tuple[Mapping[str, Field], Callable[[Call], dict[str, Any]]]] = {
    "disk-backup": (
        {
            **_RUN,
            **_VOLUME,
            "path": Field(a.path, ""),
            "socket": Field(a.path, ""),
            "export": Field(_name, ""),
            "bitmap": Field(_name, ""),
            "host": Field(a.service_id),
            "tags": Field(f.tags, ()),
            "parent": Field(f.snapshot_id, ""),
            "samples": Field(a.count(0, 1000), 8),
        },
        c.disk_backup,
    ),
    "disk-digest": ({**_VOLUME, "path": Field(a.path)}, c.disk_digest),
    "disk-restore": ({**_RUN, **_VOLUME, "path": Field(a.path), "snapshot": f.SNAPSHOT}, c.disk_restore),
}
