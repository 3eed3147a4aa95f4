"""Simulated accounts as they are wiped, and what is left of them."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from orchestrator.domain.errors import NotFound, WrongState
from orchestrator.drivers.fake import hosting_copies as copies
from orchestrator.drivers.fake import hosting_state as state_of
from orchestrator.drivers.fake.world import State
from orchestrator.ports.hosting_node import AccountWipe, NodeResidue, Orphan, Residue, Stray

# A file of such a name cannot be removed.
STAYS = ".immutable"
LIMITS = ("Files and databases were removed, and not overwritten.", "The medium is simulated.")
_USER = re.compile(r"h[1-9][0-9]{5,8}(?![0-9])")


def begin(node: State, user: str, *, service_id: str, job_id: str, now: str) -> None:
    """The databases, from which on there is no way back. ``now``: ISO 8601."""
    there = state_of.accounts_of(node).get(user)
    if there is not None:
        state_of.require(there, service_id)
        there["wiping"], there["wiped_by"] = now, job_id
        there["wiped_databases"] = [f"{user}_{each['name']}" for each in there["databases"]]
        there["databases"], there["open"] = [], []
        there["content"] = {}


def end(node: State, user: str, *, service_id: str, now: str) -> AccountWipe:
    """The rest; asked again, the report of what was done. ``now``: ISO 8601. Raises NotFound."""
    there = state_of.accounts_of(node).pop(user, None)
    copies.drop(node, user)
    kept: dict[str, Any] = node.setdefault("account_wipes", {})
    if there is not None:
        used = there["used"]
        report = AccountWipe(
            user=user,
            files=used["inodes"],
            bytes=used["bytes"],
            databases=tuple(there["wiped_databases"]),
            method="unlink",
            limits=LIMITS,
            started_at=there["wiping"],
            finished_at=now,
        )
        kept[user] = {"service_id": service_id, "report": asdict(report)}
    found = kept.get(user)
    if found is None or found["service_id"] != service_id:
        raise NotFound(f"there is no account {user} on {node['name']}, and no report of its wipe")
    told = found["report"]
    return AccountWipe(**told | {"databases": tuple(told["databases"]), "limits": tuple(told["limits"])})


def residue(node: State, user: str, *, service_id: str, clean: bool) -> Residue:
    """``files`` of the world's node that carry the user's name are what is left of it; what is ``unseen`` it cannot tell."""
    there, record = state_of.accounts_of(node).get(user), node.get("account_wipes", {}).get(user)
    if there is not None:
        state_of.require(there, service_id)
    files = [path for path in node["files"] if user in path]
    homes = copies.left(node, user)
    users = [f"user {user}"] if there is not None else []
    kept = (f"/var/lib/orchestrator-agent/accounts/{user}.{service_id}.wiped.json",) if record else ()
    unknown = tuple(node.get("unseen", ()))
    if not clean:
        return Residue(found=(*users, *homes, *files), kept=kept, unknown=unknown)
    if there is not None:
        raise WrongState(f"the account {user} is still there", hint="wipe it first")
    stay = [path for path in files if path.endswith(STAYS)]
    node["files"] = [path for path in node["files"] if path not in files or path in stay]
    node.get("account_wipes", {}).pop(user, None)
    copies.drop(node, user)
    return Residue(found=tuple(stay), removed=(*homes, *(path for path in files if path not in stay)), unknown=unknown)


def node_residue(node: State) -> NodeResidue:
    """``files`` of the world's node that carry an absent account's name, and what its ``orphans`` say."""
    found: dict[str, list[str]] = {}
    for path in node["files"]:
        named = _USER.search(path)
        if named and named[0] not in state_of.accounts_of(node):
            found.setdefault(named[0], []).append(path)
    return NodeResidue(
        accounts=tuple(Stray(user=user, marked=False, found=tuple(paths)) for user, paths in sorted(found.items())),
        orphans=tuple(Orphan(**each) for each in node.get("orphans", ())),
    )
