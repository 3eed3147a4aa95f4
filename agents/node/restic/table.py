"""The fields of each command on repositories (see ``agents.node.commands``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agents.node import arguments as a
from agents.node.arguments import Field
from agents.node.call import Call
from agents.node.restic import commands as c
from agents.node.restic import content
from agents.node.restic import fields as f

_ALWAYS = {"repository": f.REPOSITORY, "seconds": f.SECONDS}

TABLE: dict[str, tuple[Mapping[str, Field], Callable[[Call], dict[str, Any]]]] = {
    "repository-create": (_ALWAYS, c.repository_create),
    "repository-snapshots": ({**_ALWAYS, "tags": Field(f.tags, ())}, c.repository_snapshots),
    "repository-lacks": ({**_ALWAYS, "snapshot": f.SNAPSHOT, "paths": Field(f.paths)}, content.repository_lacks),
    "repository-check": (
        {
            **_ALWAYS,
            "snapshot": f.SNAPSHOT,
            "part": Field(a.count(0, 10_000), 0),
            "of": Field(a.count(1, 10_000), 1),
            "path": Field(a.path, ""),
            "samples": Field(a.count(0, 1000), 8),
            "limits": f.LIMITS,
        },
        c.repository_check,
    ),
    "repository-forget": (
        {**_ALWAYS, "snapshots": Field(f.snapshot_ids), "prune": f.FLAG, "limits": f.LIMITS},
        c.repository_forget,
    ),
    "repository-unlock": (_ALWAYS, c.repository_unlock),
    "repository-destroy": ({**_ALWAYS, "only_cache": f.FLAG}, c.repository_destroy),
    "directory-measure": ({"path": f.DIRECTORY, "seconds": f.SECONDS}, c.directory_measure),
    "directory-backup": (
        {
            **_ALWAYS,
            "path": f.DIRECTORY,
            "host": Field(a.service_id),
            "tags": Field(f.tags, ()),
            "limits": f.LIMITS,
            "parent": Field(f.snapshot_id, ""),
            "scan": f.FLAG,
            "full": f.FLAG,
            "most_bytes": f.MOST,
            "most_inodes": f.MOST,
        },
        c.directory_backup,
    ),
    "directory-restore": (
        {
            **_ALWAYS,
            "path": f.DIRECTORY,
            "snapshot": f.SNAPSHOT,
            "only": Field(f.paths, ()),
            "delete": f.FLAG,
            "verify": f.FLAG,
            "limits": f.LIMITS,
        },
        c.directory_restore,
    ),
}
