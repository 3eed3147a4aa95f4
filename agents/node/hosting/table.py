"""The fields of each command on hosting accounts (see ``agents.node.commands``).

What checks and what runs them is imported when one is called: a call on a volume has no use for it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from agents.node import arguments as a
from agents.node.arguments import Check, Field
from agents.node.later import Run, later


def _check(name: str) -> Check:
    def check(value: Any) -> Any:
        return getattr(importlib.import_module("agents.node.hosting.fields"), name)(value)

    return check


def _later(module: str, name: str) -> Run:
    return later(f"hosting.{module}", name)


_OF_ONE = {"user": Field(_check("user")), "service_id": Field(a.service_id)}
_ACT = {**_OF_ONE, "job_id": Field(_check("job_id"))}
_ADOPTION = {"adoption": Field(_check("adoption"))}

TABLE: dict[str, tuple[Mapping[str, Field], Run]] = {
    "hosting-doctor": ({"backups": Field(a.flag, False), "quick": Field(a.flag, False)}, _later("doctor", "hosting_doctor")),
    "hosting-prepare": ({"backups": Field(a.flag, False)}, _later("prepare", "hosting_prepare")),
    "account-apply": ({"account": Field(_check("account")), "job_id": Field(_check("job_id"))}, _later("apply", "account_apply")),
    "account-facts": ({"users": Field(_check("users"), ())}, _later("commands", "account_facts")),
    "account-suspend": (_ACT, _later("suspend", "account_suspend")),
    "account-probe": ({**_OF_ONE, "cron_seconds": Field(a.count(0, 70), 70)}, _later("probe", "account_probe")),
    "account-unsuspend": (_ACT, _later("suspend", "account_unsuspend")),
    "account-usage": ({"users": Field(_check("users"), ())}, _later("usage", "account_usage")),
    "account-wipe": (_ACT, _later("wipe", "account_wipe")),
    "account-pack": (_ACT, _later("packing", "account_pack")),
    "account-load": ({**_ACT, "databases": Field(_check("databases"), ())}, _later("loading", "account_load")),
    "account-unpack": (_OF_ONE, _later("packing", "account_unpack")),
    "account-restored": ({**_OF_ONE, "keep": Field(_check("backups"))}, _later("restored", "account_restored")),
    "account-tarball": (
        {
            "file": Field(_check("tarball")),
            "most_bytes": Field(a.count(0, 1 << 50)),
            "most_inodes": Field(a.count(0, 1 << 40)),
        },
        _later("moving", "account_tarball"),
    ),
    "account-import": ({**_ACT, "file": Field(_check("tarball")), "sha256": Field(a.sha256)}, _later("moving", "account_import")),
    "account-import-undo": (_ACT, _later("moving", "account_import_undo")),
    "account-adopt-look": ({**_OF_ONE, **_ADOPTION}, _later("adoptlook", "account_adopt_look")),
    "account-adopt": ({**_ACT, **_ADOPTION}, _later("adopting", "account_adopt")),
    "account-adopt-back": ({**_ACT, "stranger": Field(_check("stranger"))}, _later("adopting", "account_adopt_back")),
    "account-gather": ({**_ACT, **_ADOPTION}, _later("gathering", "account_gather")),
    "account-gathered": (_ACT, _later("gathering", "account_gathered")),
    "account-residue": (
        {
            "service_id": Field(a.service_id),
            "user": Field(_check("user")),
            "uid": Field(_check("uid")),
            "clean": Field(a.flag, False),
        },
        _later("residue", "account_residue"),
    ),
    "node-residue": ({}, _later("residue", "node_residue")),
}

LASTING = frozenset({"account-suspend", "account-unsuspend", "account-wipe", "account-adopt", "account-adopt-back"})
"""Go on although nobody listens: what was begun of these is better whole."""
