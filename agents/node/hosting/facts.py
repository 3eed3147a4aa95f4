"""What an account really is: from passwd, quota, cgroups, vhosts, MariaDB and /proc, in one look for any number of accounts."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.node.hosting import certificates, databases, manifest, people, processes, quota, systemd, tree, units, web
from agents.node.hosting.databases import Seen
from agents.node.hosting.fields import USER
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.marks import mark
from agents.node.hosting.people import Secret, User

DAY = 24 * 3600
_MASTER = re.compile(r"orch-fpm-(h[1-9][0-9]{5,8})-([0-9.]+)\.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is read once, however many accounts are asked for."""

    node: Node
    users: dict[str, User]
    secrets: dict[str, Secret]
    processes: Counter[int] = field(default_factory=Counter)
    databases: Seen = field(default_factory=Seen)
    today: int = 0
    masters: dict[str, list[str]] = field(default_factory=dict)
    """The versions of PHP for which each account has a unit."""


def look(node: Node) -> Look:
    return Look(
        node=node,
        users=people.passwd(node),
        secrets=people.shadow(node),
        processes=processes.by_uid(node),
        databases=databases.see(),
        today=int(time.time() // DAY),
        masters=masters(node),
    )


def masters(node: Node) -> dict[str, list[str]]:
    """By account, from the names of the unit files."""
    found: dict[str, list[str]] = {}
    for name in tree.names(node.units):
        unit = _MASTER.fullmatch(name)
        if unit:
            found.setdefault(unit[1], []).append(unit[2])
    return found


def everybody(seen: Look) -> list[str]:
    """Accounts by their marks, and users that have such a name."""
    marked = {name.removesuffix(".json") for name in tree.names(seen.node.marks)}
    return sorted(name for name in marked | set(seen.users) if USER.fullmatch(name))


def of(home: Home, seen: Look) -> dict[str, Any]:
    """FACTS of one account; ``unknown`` names what could not be seen."""
    user, secret = seen.users.get(home.user), seen.secrets.get(home.user)
    held = manifest.load(home)
    versions = seen.masters.get(home.user, [])
    ours, used = mark(home), quota.get(home.node.homes, home.uid) if home.node.homes.is_dir() else None
    found: dict[str, Any] = {
        "user": home.user,
        "uid": user.uid if user else home.uid,
        "service_id": ours.service_id if ours else "",
        "job_id": ours.job_id if ours else "",
        "exists": user is not None,
        "locked": secret is None or secret.locked,
        "expired": secret is not None and secret.expired(seen.today),
        "shell": user.shell if user else "",
        "limits": {
            "disk_bytes": used.disk_bytes if used else 0,
            "inodes": used.inodes if used else 0,
            **group_limits(home.cgroup),
        },
        "usage": {"bytes": used.used_bytes if used else 0, "inodes": used.used_inodes if used else 0},
        "sites": _sites(home, versions),
        "access": {
            "keys": len((tree.read(home.keys) or "").splitlines()),
            "password": secret is not None and secret.usable,
        },
        "databases": _databases(home.user, seen.databases),
        "cron": units.cron_count(tree.read(home.crontab) or ""),
        "processes": seen.processes[home.uid],
        "fpm": fpm(home, versions),
        "unknown": [f"databases: {seen.databases.away}"] if seen.databases.away else [],
    }
    found["suspended_by"] = held.job_id if held else ""
    found["wiping"] = home.wiping.exists()
    found["packed"] = "whole" if home.packed.is_dir() else "half" if home.packing.is_dir() else ""
    found["restored"] = [name for name in tree.names(home.restored) if not name.startswith(".")]
    return {**found, "suspended": is_suspended(home, found, seen.databases)}


def is_suspended(home: Home, found: dict[str, Any], seen: Seen) -> bool:
    """By what is there alone: each way in is shut. Whether that holds is what a probe tries."""
    shut = found["exists"] and found["locked"] and found["expired"] and not home.keys.exists() and not home.crontab.exists()
    web_shut = all(site["serving"] in ("suspended", "none") for site in found["sites"])
    return bool(
        shut
        and web_shut
        and found["fpm"] != "active"
        and not seen.away
        and all(each.locked for each in seen.logins_of(home.user))
    )


def sites(home: Home) -> tuple[web.Vhost, ...]:
    """Those that nginx serves, and those of a file that was put aside."""
    text = tree.read(home.vhost)
    if text is not None:
        return web.read(text)
    return web.none_serving(web.read(tree.read(home.quarantined) or ""))


def _sites(home: Home, versions: Sequence[str]) -> list[dict[str, Any]]:
    """With the version of PHP whose master has a pool for the site."""
    pools = {version: tree.read(home.fpm_file(version)) or "" for version in versions}
    return [_site(home, site, pools) for site in sites(home)]


def _site(home: Home, site: web.Vhost, pools: Mapping[str, str]) -> dict[str, Any]:
    pem = tree.read(home.tls / f"{site.name}.crt") or ""
    until = certificates.valid_until(pem)
    return {
        "name": site.name,
        "domains": list(site.domains),
        "php": next((version for version, text in pools.items() if f"\n[{home.user}-{site.name}]\n" in text), ""),
        "serving": site.serving,
        "certificate_until": until.strftime("%Y-%m-%dT%H:%M:%SZ") if until else "",
        "certificate_sha256": certificates.fingerprint(pem),
    }


def _databases(user: str, seen: Seen) -> list[dict[str, Any]]:
    """Each with its own login and the account's, which is for all."""
    common = [each for each in seen.logins_of(user) if each.name == user]
    found = []
    for name in seen.databases_of(user):
        logins = [*common, *(each for each in seen.logins_of(user) if each.name == name)]
        found.append(
            {
                "name": name.removeprefix(f"{user}_"),
                "bytes": databases.size(seen, name),
                "users": [{"name": each.name, "locked": each.locked} for each in logins],
                "full": not any((each.name, name) in seen.inserting for each in logins),
            }
        )
    return found


def fpm(home: Home, versions: Sequence[str]) -> str:
    """By its cgroup: a master that runs has one with processes in it."""
    if not versions:
        return "none"
    alive = [_has_processes(home.cgroup / home.fpm_unit(version)) for version in versions]
    return "active" if all(alive) else "inactive"


def _has_processes(group: Path) -> bool:
    with suppress(OSError):
        return bool((group / "cgroup.procs").read_text())
    return False


def group_limits(group: Path) -> dict[str, int]:
    """The limits in force on a cgroup (v2), 0 = none."""
    io = _io(group)
    return {
        "cpu_percent": _cpu(group),
        "memory_bytes": _number(_text(group, "memory.max")),
        "tasks": _number(_text(group, "pids.max")),
        "io_bytes_per_second": min(_number(io.get("rbps", "")), _number(io.get("wbps", ""))),
        "iops": min(_number(io.get("riops", "")), _number(io.get("wiops", ""))),
    }


def _text(group: Path, name: str) -> str:
    try:
        return (group / name).read_text().strip()
    except OSError:
        return ""


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _cpu(group: Path) -> int:
    words = _text(group, "cpu.max").split()
    return round(int(words[0]) * 100 / int(words[1])) if len(words) == 2 and words[0].isdigit() else 0


def _io(group: Path) -> dict[str, str]:
    """``254:0 rbps=1048576 wbps=max riops=max wiops=max``, a line for each device; the first with a limit."""
    for line in _text(group, "io.max").splitlines():
        return dict(word.split("=", 1) for word in line.split()[1:])
    return {}


def switches(home: Home, seen: Look) -> dict[str, Any]:
    """All that a suspension turns, as it is now."""
    secret = seen.secrets.get(home.user)
    paths = home.fpm_units()
    running = systemd.active([path.name for path in paths])
    return {
        "login": {"locked": secret is None or secret.hash.startswith("!"), "expires": secret.expires if secret else -1},
        "keys": len((tree.read(home.keys) or "").splitlines()),
        "cron": units.cron_count(tree.read(home.crontab) or ""),
        "linger": home.linger.exists(),
        "fpm": {
            path.name: {"enabled": systemd.enabled(home.node, path.name), "active": running.get(path.name, False)}
            for path in paths
        },
        "databases": {each.name: each.locked for each in seen.databases.logins_of(home.user)},
        "sites": {site.name: site.serving for site in sites(home)},
    }


def difference(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is not as it was, in words."""
    return list(_differing("", before, now))


def _differing(where: str, before: Any, now: Any) -> Iterable[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            yield from _differing(f"{where}.{name}" if where else name, before.get(name), now.get(name))
    elif before != now:
        yield f"{where}: was {before}, is {now}"
