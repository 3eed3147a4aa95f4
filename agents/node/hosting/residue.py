"""What is left of an account: every store on the node in which anything of one can be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.node import amounts
from agents.node.call import Call
from agents.node.hosting import closing, databases, facts, ipc, marks, orphans, people, quota, tree
from agents.node.hosting.fields import LOWEST_UID, USER
from agents.node.hosting.layout import Home, Node, mount
from agents.node.protocol import AgentError

IDS = tuple(f"etc/{name}{copy}" for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid") for copy in ("", "-"))
"""Each with the copy that useradd and its kin leave of what was there before: it holds hashes of passwords, too."""


def account_residue(call: Call) -> dict[str, Any]:
    """``found``; ``removed`` with ``clean``; ``kept``: our own report of the wipe, which cleaning removes, too.

    Cleaning is refused (wrong-state) while the account has its mark, or where a user of that name is not ours.
    """
    node = Node(call.place)
    home, service_id = Home(node, call.arguments["user"]), call.arguments["service_id"]
    if home.uid != call.arguments["uid"]:
        raise AgentError("request-invalid", f"the field 'uid' is not that of {home.user}")
    with marks.account_lock(node, home.user):
        owner = marks.mark(home)
        if owner is not None and owner.service_id != service_id:
            raise AgentError("wrong-state", f"{home.user} belongs to the service {owner.service_id} and not to {service_id}")
        seen = facts.look(node)
        before = found(home, seen)
        if not call.arguments["clean"]:
            return {"found": before, "removed": [], "kept": _kept(home, service_id), "unknown": _unknown(seen)}
        if owner is not None or home.user in seen.users:
            raise AgentError("wrong-state", f"{home.user} is still an account on this node", hint="wipe it first")
        if before:
            _clean(home, call, seen)
        for path in _kept(home, service_id):
            tree.remove(Path(path))
        left = found(home, facts.look(node))
        return {"found": left, "removed": [each for each in before if each not in left], "kept": [], "unknown": _unknown(seen)}


def _clean(home: Home, call: Call, seen: facts.Look) -> None:
    """The order of a wipe is that of cleaning, too."""
    from agents.node.hosting.wipe import Removal

    if seen.databases.away:
        raise AgentError("driver-transient", seen.databases.away)
    Removal(home, call).everything(seen.databases)


def node_residue(call: Call) -> dict[str, Any]:
    """``accounts``: of each that has no mark or no user, what there is of it. ``orphans``: of other users that are gone."""
    node = Node(call.place)
    seen = facts.look(node)
    rows = []
    for user in _named(node, seen):
        home = Home(node, user)
        if marks.mark(home) is None or user not in seen.users:
            left = found(home, seen)
            if left:
                rows.append({"user": user, "marked": marks.mark(home) is not None, "found": left})
    return {"accounts": rows, "orphans": [asdict(each) for each in orphans.look(node, seen)], "unknown": _unknown(seen)}


def _unknown(seen: facts.Look) -> list[str]:
    return [f"databases: {seen.databases.away}"] if seen.databases.away else []


# -- what is there ---------------------------------------------------------------------------------------------------------


def found(home: Home, seen: facts.Look, *, without_marks: bool = False) -> list[str]:
    """Paths, and words for what has none. ``without_marks``: but the mark, which goes last."""
    rows = [*_files(home), *_ids(home), *_database_things(home, seen), *_by_uid(home)]
    if not without_marks:
        rows += [str(path) for path in (home.mark,) if path.exists() or path.is_symlink()]
    return sorted(set(rows))


def _files(home: Home) -> Iterator[str]:
    node, user = home.node, home.user
    exact: tuple[Path, ...] = (
        home.chroot,
        home.keys,
        home.vhost,
        home.quarantined,
        home.tls,
        home.logs,
        home.crontab,
        home.linger,
        home.records,
        home.gathered,
        home.gathering,
    )
    exact += (home.slice_file, home.logins_file, node.under(f"run/user/{home.uid}"), node.under(f"var/mail/{user}"))
    exact += (node.under(f"etc/logrotate.d/orchestrator-{user}"), home.cgroup)
    for path in exact:
        if path.exists() or path.is_symlink():
            yield str(path)
    for directory in (
        node.fpm,
        node.sockets,
        node.units,
        node.units / "multi-user.target.wants",
        node.wiping,
        node.pending,
        node.vhosts,
    ):
        for name in tree.names(directory):
            if home.owns(name) and directory / name not in exact:
                yield str(directory / name)
    yield from map(str, half_written(home))
    for name in tree.names(node.records):
        # What a probe must put back; the records of a wipe are its own (see ``wipe``).
        if name.startswith(f"{user}.") and not name.endswith((".wiped.json", ".wiping.json")):
            yield str(node.records / name)
    for name in tree.names(node.probes):
        if name in (user, f"{user}.own"):
            yield str(node.probes / name)


def half_written(home: Home) -> list[Path]:
    """What a call that was killed while it wrote has left under the name of its new file (see ``tree.write``)."""
    node = home.node
    places = (
        node.marks,
        node.keys,
        node.vhosts,
        node.quarantine,
        node.crontabs,
        node.records,
        node.fpm,
        node.units,
        node.pending,
    )
    return [
        directory / name
        for directory in places
        for name in tree.names(directory)
        if name.startswith(".") and name.endswith(".new") and home.owns(name)
    ]


def _ids(home: Home) -> Iterator[str]:
    for path in IDS:
        for line in tree.lines(tree.read(home.node.under(path)) or ""):
            row = line.split(":")
            if row[0] in (home.user, str(home.uid)) or home.user in row[-1].split(","):
                yield f"/{path}: {row[0]}"


def _database_things(home: Home, seen: facts.Look) -> Iterator[str]:
    for login in seen.databases.logins_of(home.user):
        yield f"mariadb login {login.name}@{login.host}"
    names = seen.databases.databases_of(home.user)
    for name in names:
        yield f"mariadb database {name}"
    there = [path for name in names for path in databases.outside(seen.databases.directory, name)]
    yield from (f"mariadb table {path}" for path in (*there, *tables_outside(home)) if path.exists())


def tables_outside(home: Home) -> list[Path]:
    """Where files of its tables lay elsewhere when its wipe began, and the directories that MariaDB made for them there."""
    files = [Path(each) for each in json.loads(tree.read(home.wiping) or "{}").get("outside", ())]
    return [*files, *(path.parent for path in files if path.parent.name.startswith(f"{home.user}_"))]


def _by_uid(home: Home) -> Iterator[str]:
    node = home.node
    for place in quota.systems((node.homes, *node.open_places)):
        used = quota.get(place, home.uid)
        if used is not None and any((used.disk_bytes, used.inodes, used.used_bytes, used.used_inodes)):
            limits = f"limits {used.inodes} and {amounts.size(used.disk_bytes)}"
            told = f"{used.used_inodes} inodes and {amounts.size(used.used_bytes)} used, {limits}"
            yield f"quota {place}: {told}; find {mount(place)} -xdev -uid {home.uid}"
    for path in (*closing.at_jobs(home), *common_files(home)):
        yield str(path)
    for kind, number in ipc.of(node, home.uid):
        yield f"sysvipc {kind} {number}"
    from agents.node.hosting import processes

    for pid in processes.of(node, home.uid):
        yield f"process {pid}"


def common_files(home: Home) -> list[Path]:
    """What the user has where everybody may write."""
    return [path for place in home.node.open_places for path in tree.files_of(place, home.uid)]


def _named(node: Node, seen: facts.Look) -> list[str]:
    """Every name of an account that any store knows."""
    names: set[str] = set(facts.everybody(seen))
    for directory in (
        node.homes,
        node.keys,
        node.tls,
        node.logs,
        node.crontabs,
        node.linger,
        node.records,
        node.vhosts,
        node.quarantine,
    ):
        names.update(name.lstrip(".").partition(".")[0] for name in tree.names(directory))
    for directory in (node.fpm, node.units, node.sockets):
        names.update(
            name.removeprefix("orch-fpm-").removeprefix("orch-").removesuffix(".slice").split("-")[0]
            for name in tree.names(directory)
        )
    names.update(name.split(".")[0] for name in tree.names(node.wiping))
    names.update(each.name.partition("_")[0] for each in seen.databases.logins)
    names.update(each.partition("_")[0] for each in seen.databases.databases)
    names.update(people.groups(node))
    if node.homes.is_dir():
        names.update(f"h{uid}" for uid in quota.owners(node.homes) if uid >= LOWEST_UID)
    names.update(f"h{uid}" for uid in seen.processes if uid >= LOWEST_UID)
    return sorted(name for name in names if USER.fullmatch(name))


# -- our own report of a wipe ----------------------------------------------------------------------------------------------


def _report_path(home: Home, service_id: str) -> Path:
    return home.node.records / f"{home.user}.{service_id}.wiped.json"


def keep_report(home: Home, service_id: str, report: dict[str, Any]) -> None:
    home.node.records.mkdir(mode=0o700, parents=True, exist_ok=True)
    tree.write(_report_path(home, service_id), json.dumps(report) + "\n", sync=True)


def report(home: Home, service_id: str) -> dict[str, Any] | None:
    text = tree.read(_report_path(home, service_id))
    return dict(json.loads(text)) if text else None


def _kept(home: Home, service_id: str) -> list[str]:
    path = _report_path(home, service_id)
    return [str(path)] if path.exists() else []
