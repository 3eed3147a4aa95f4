"""``account-pack`` and ``account-unpack``: all of an account that is not in its files, laid beside them for a backup.

``backup/`` lies in the account's own directory, which is root's, beside ``home/``: no customer gets at it, and his quota does not
count it. It is made under another name, and has its own only when it is whole.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.node.call import Call
from agents.node.hosting import databases, dumps, facts, manifest, marks, sweep, tree, units
from agents.node.hosting.layout import Home, Node
from agents.node.protocol import AgentError

SETTINGS = "account.json"
DUMPS = "databases"
REMOVING = ".removing"
"""Where what is removed goes first."""

_SUFFIX = ".sql"
_NAME = re.compile(r"[a-z0-9_]{1,48}")
_ROOM, _SHARE = 1 << 30, 20
"""What is left to everybody else on the file system: so many bytes, of a small one a part. Tables may be packed a thousand times
smaller than their dump."""


def account_pack(call: Call) -> dict[str, Any]:
    """``directory``, ``databases`` with their ``bytes``. Suspended or not.

    Raises AgentError: driver-permanent (a database that cannot be dumped; nothing is left), no-capacity, driver-transient.
    """
    node = Node(call.place)
    home = Home(node, call.arguments["user"])
    with marks.account_lock(node, home.user):
        marks.require_ours(home, call.arguments["service_id"])
        sweep.probes(home)
        require_roots(home)
        remove(home)
        seen = facts.look(node)
        if seen.databases.away:
            raise AgentError("driver-transient", f"{home.user} cannot be packed: {seen.databases.away}")
        try:
            rows = _write(home, call, seen)
            home.packing.rename(home.packed)
            with tree.opened(home.chroot) as chroot:
                os.fsync(chroot)
        except BaseException:
            remove(home)
            raise
    return {"directory": str(home.chroot), "databases": rows, "bytes": sum(row["bytes"] for row in rows)}


def _write(home: Home, call: Call, seen: facts.Look) -> list[dict[str, Any]]:
    home.packing.mkdir(mode=0o700)
    (home.packing / DUMPS).mkdir(mode=0o700)
    names = seen.databases.databases_of(home.user)
    rows = []
    for number, database in enumerate(names):
        name = database.removeprefix(f"{home.user}_")
        look = Watch(home, call, number / len(names), f"dumping {database}")
        rows.append({"name": name, "bytes": dumps.dump(database, home.packing / DUMPS / f"{name}{_SUFFIX}", look=look)})
    tree.write(home.packing / SETTINGS, json.dumps(settings(home, seen), indent=1) + "\n", sync=True)
    return rows


@dataclass(frozen=True, slots=True)
class Watch:
    """Says how far it is, and ends what would fill the disk of all."""

    home: Home
    call: Call
    fraction: float
    saying: str

    def __call__(self) -> None:
        self.call.progress(self.fraction, self.saying)
        if not has_room(self.home.chroot):
            raise AgentError("no-capacity", f"{self.saying}: the file system of {self.home.node.homes} is full")


def has_room(path: Path) -> bool:
    """Whether the file system has more than what is left to everybody else."""
    room = os.statvfs(path)
    return room.f_bavail > min(_ROOM // room.f_frsize, room.f_blocks // _SHARE)


def account_unpack(call: Call) -> dict[str, Any]:
    """Absent is success."""
    node = Node(call.place)
    home = Home(node, call.arguments["user"])
    with marks.account_lock(node, home.user):
        marks.require_ours(home, call.arguments["service_id"])
        sweep.probes(home)
        require_roots(home)
        remove(home)
    return {}


def remove(home: Home) -> None:
    """What was packed, whole or not, and what an earlier call did not remove to its end."""
    for path in (home.packing, home.packed):
        discard(path)


def discard(path: Path) -> None:
    """Remove a directory of root's in which a customer may have had his hands: no link is followed, no mount entered."""
    if path.is_symlink():
        path.unlink()
    tree.erase(path.parent, path.name, holding=REMOVING)
    with suppress(OSError):
        (path.parent / REMOVING).rmdir()


def require_roots(home: Home) -> None:
    """The account's directory is root's and nobody else writes in it: what it holds was put there by root. Raises AgentError."""
    try:
        with tree.opened(home.chroot) as chroot:
            found = os.fstat(chroot)
    except OSError as exc:
        raise AgentError("refused", f"{home.chroot} is no directory: {exc.strerror}") from None
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise AgentError(
            "refused", f"{home.chroot} is not root's alone", hint="chown root:root, chmod 0755, and look who did that"
        )


# -- what was packed -------------------------------------------------------------------------------------------------------


def dumps_packed(home: Home) -> dict[str, Path]:
    """By database. Raises AgentError (not-found) where nothing is packed."""
    _require_packed(home)
    directory = home.packed / DUMPS
    if directory.is_symlink():
        raise AgentError("refused", f"{directory} is a link")
    names = [name.removesuffix(_SUFFIX) for name in tree.names(directory) if name.endswith(_SUFFIX)]
    strange = [name for name in names if not _NAME.fullmatch(name)]
    if strange:
        raise AgentError("refused", f"{directory} holds what is no dump of a database: {strange[0]!r}")
    return {name: directory / f"{name}{_SUFFIX}" for name in names}


def settings_packed(home: Home) -> dict[str, Any]:
    """Raises AgentError: not-found, driver-permanent for one that cannot be read."""
    _require_packed(home)
    text = tree.read(home.packed / SETTINGS)
    try:
        found = json.loads(text or "")
        return dict(found)
    except (ValueError, TypeError):
        raise AgentError("driver-permanent", f"{home.packed / SETTINGS} is missing or cannot be read") from None


def _require_packed(home: Home) -> None:
    if home.packed.is_symlink() or not home.packed.is_dir():
        raise AgentError("not-found", f"nothing is packed in {home.packed}")


# -- settings --------------------------------------------------------------------------------------------------------------


def settings(home: Home, seen: facts.Look) -> dict[str, Any]:
    """The account as it really is, in the words of a spec, and its whole crontab. Of a suspended one, as it is behind that."""
    held = manifest.load(home)
    found = facts.of(home, seen)
    secret = seen.secrets.get(home.user)
    password = secret.hash if secret else ""
    if held is not None and not held.before["login"]["locked"]:
        password = password.removeprefix("!")
    keys = tree.read(manifest.keys(home) if held else home.keys) or ""
    crontab = tree.read(manifest.crontab(home) if held else home.crontab) or ""
    return {
        "user": home.user,
        "uid": home.uid,
        "service_id": found["service_id"],
        "limits": found["limits"],
        "access": {"password_hash": "" if password.startswith(("!", "*")) else password, "ssh_keys": keys.splitlines()},
        "sites": list(_sites(home, found["sites"])),
        "databases": list(_databases(home, seen.databases, found["databases"])),
        "cron": units.ordered_lines(crontab),
        "crontab": crontab,
    }


def _sites(home: Home, sites: list[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for site in sites:
        certificate, key = (tree.read(home.tls / f"{site['name']}.{kind}") or "" for kind in ("crt", "key"))
        yield {**{word: site[word] for word in ("name", "domains", "php")}, "certificate": certificate, "key": key}


def _databases(home: Home, seen: databases.Seen, rows: list[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """``full`` of the login that is for its owner's programs."""
    secrets = {each.name: each.secret for each in seen.logins_of(home.user) if each.plugin == "mysql_native_password"}
    for row in rows:
        yield {"name": row["name"], "password_hash": secrets.get(f"{home.user}_{row['name']}", ""), "full": row["full"]}
