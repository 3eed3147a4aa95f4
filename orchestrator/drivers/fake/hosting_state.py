"""What the simulated world keeps of a hosting account, and how that looks from outside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.domain.accounts import AccountFacts, AccountSpec
from orchestrator.domain.errors import NotFound, WrongState
from orchestrator.drivers.fake.directories import directories_of
from orchestrator.drivers.fake.world import State
from orchestrator.ports.hosting_node import AccountUsage

# The ways in, and which of them are part of what: a suspension closes first what the world sees, then the rest.
OUTER = ("http", "https")
INNER = ("sftp-key", "sftp-password", "ssh-key", "cron", "at", "linger", "database", "processes", "fpm")
WAYS = OUTER + INNER


def accounts_of(node: State) -> dict[str, Any]:
    there: dict[str, Any] = node.setdefault("accounts", {})
    return there


def made(spec: AccountSpec, job_id: str) -> dict[str, Any]:
    return {
        "user": spec.user,
        "uid": spec.uid,
        "service_id": spec.service_id,
        "job_id": job_id,
        "limits": None,
        "access": None,
        "sites": [],
        "databases": [],
        "cron": [],
        "open": list(WAYS),
        "stuck": [],
        "unseen": [],
        "manifest": None,
        "content": {},
        "broken": [],
        "own_cron": [],
        "shown": [],
        "used": {"bytes": 4096, "inodes": 8, "database_bytes": 0, "traffic": {}, "cpu_seconds": 0.0},
        "wiping": "",
        "wiped_by": "",
    }


def take_back(there: dict[str, Any]) -> None:
    """An account that its own job began to remove again is made anew; of one that another wipes nothing is made any more."""
    if there["wiping"] and there["wiped_by"] != there["job_id"]:
        raise WrongState(f"{there['user']} is being wiped: nothing is made of it any more")
    if there["wiping"]:
        there.update(wiping="", wiped_by="", open=list(WAYS), manifest=None)


def require(there: Mapping[str, Any], service_id: str) -> None:
    if there["service_id"] != service_id:
        raise WrongState(f"the account {there['user']} is not one of {service_id}: it is left alone")


def own(node: State, user: str, service_id: str) -> dict[str, Any]:
    there: dict[str, Any] | None = accounts_of(node).get(user)
    if there is None:
        raise NotFound(f"there is no account {user} on {node['name']}")
    require(there, service_id)
    return there


def taken(node: State, spec: AccountSpec) -> list[str]:
    """Those of its domains that another account serves, each as ``domain (user)``."""
    wanted = {domain for site in spec.sites for domain in site.domains}
    others = [there for user, there in sorted(accounts_of(node).items()) if user != spec.user]
    return [f"{d} ({there['user']})" for there in others for site in there["sites"] for d in site["domains"] if d in wanted]


def certified(sites: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The sites with the certificate that is given, else the one that each has. Keys are not kept."""
    known = {each["name"]: each["certificate_sha256"] for each in before}
    return [
        {
            **each,
            "certificate": "",
            "key": "",
            "certificate_sha256": sha256_of(each["certificate"]) or known.get(each["name"], ""),
        }
        for each in sites
    ]


def sha256_of(pem: str) -> str:
    body = pem.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END CERTIFICATE-----")[0]
    return hashlib.sha256(base64.b64decode(body)).hexdigest() if body else ""


def absent(node: State, user: str) -> AccountFacts:
    wiped = node.get("account_wipes", {}).get(user)
    owner = wiped["service_id"] if wiped else ""
    return AccountFacts(user=user, uid=int(user[1:]), service_id=owner, exists=False, wiping=wiped is not None)


def facts(there: Mapping[str, Any], node: State) -> AccountFacts:
    access = there["access"] or {}
    suspended = (
        there["manifest"] is not None and not there["unseen"] and not set(there["open"]) - {"processes", "at", "linger", "fpm"}
    )
    served = "suspended" if there["manifest"] is not None and "http" not in there["open"] else ""
    data = {
        "user": there["user"],
        "uid": there["uid"],
        "service_id": there["service_id"],
        "job_id": there["job_id"],
        "exists": True,
        "locked": suspended,
        "expired": suspended,
        "shell": "/usr/sbin/nologin",
        "limits": there["limits"],
        "usage": there["used"],
        "sites": [
            {**site, "serving": served or ("php" if site["php"] else "static"), "certificate_until": ""}
            for site in there["sites"]
        ],
        "access": {"keys": len(access.get("ssh_keys", ())), "password": bool(access.get("password_hash"))},
        "databases": [
            {
                "name": each["name"],
                "bytes": there["used"]["database_bytes"],
                "users": [],
                "full": each.get("full", False),
            }
            for each in there["databases"]
        ],
        "cron": len(there["cron"]) + len(there["own_cron"]),
        "processes": 1 if "processes" in there["open"] else 0,
        "fpm": "active" if "fpm" in there["open"] else "inactive",
        "suspended": suspended,
        "suspended_by": (there["manifest"] or {}).get("by", ""),
        "wiping": bool(there["wiping"]),
        "unknown": there["unseen"],
        **_beside(there["user"], node),
    }
    return AccountFacts.parse(data)


def _beside(user: str, node: State) -> dict[str, Any]:
    """What stands in its directory beside the home."""
    directories = directories_of(node)
    files, above = directories.get(f"/srv/h/{user}", {}), f"/srv/h/{user}/restored/"
    half = "half" if any(path.startswith("backup.making/") for path in files) else ""
    packed = "whole" if any(path.startswith("backup/") for path in files) else half
    return {"packed": packed, "restored": sorted(path.removeprefix(above) for path in directories if path.startswith(above))}


def usage(there: Mapping[str, Any]) -> AccountUsage:
    return AccountUsage(user=there["user"], **there["used"])


def says(way: str, there: Mapping[str, Any]) -> str:
    if way in OUTER:
        return "200" if way in there["open"] else "503, Retry-After: 3600"
    return "answers" if way in there["open"] else "refused"
