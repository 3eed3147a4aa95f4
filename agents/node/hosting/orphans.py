"""What others left on the node: pools, vhosts, crontabs and files of users that are gone, whoever made them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agents.node import amounts
from agents.node.hosting import people, quota, tree
from agents.node.hosting.facts import Look
from agents.node.hosting.fields import LOWEST_UID, USER
from agents.node.hosting.layout import Node, mount

SYSTEM_UIDS = 1000
DYNAMIC = range(61184, 65520)
"""Lent by systemd to a service while it runs; none of them stands in passwd (systemd's UIDS-GIDS)."""

_POOL_USER = re.compile(r"^\s*(?:user|group)\s*=\s*([^\s;$]+)", re.MULTILINE)
_VHOST_PATHS = re.compile(r"^\s*(root|ssl_certificate|ssl_certificate_key)\s+\"?(/[^;\"$]+?)\"?\s*;", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Orphan:
    """``kind``: pool, vhost, crontab, linger or files."""

    kind: str
    what: str
    says: str


def look(node: Node, seen: Look) -> list[Orphan]:
    """Accounts of our own form are not among them: of those ``node-residue`` tells everything, not only what is here."""
    return [*_pools(node, seen), *_vhosts(node), *_by_name(node, seen), *_by_uid(node, seen)]


def _pools(node: Node, seen: Look) -> Iterator[Orphan]:
    there = seen.users.keys() | people.groups(node).keys()
    for path in sorted(node.under("etc/php").glob("*/fpm/pool.d/*.conf")):
        names = dict.fromkeys(name for name in _POOL_USER.findall(_text(path)) if not name.isdigit())
        missing = [name for name in names if name not in there]
        if missing:
            yield Orphan("pool", str(path), f"is of {', '.join(missing)}, who is not there: PHP does not start with it")


def _vhosts(node: Node) -> Iterator[Orphan]:
    for directory in ("etc/nginx/sites-enabled", "etc/nginx/conf.d"):
        for name in tree.names(node.under(directory)):
            path = node.under(directory) / name
            if path.is_symlink() and not path.exists():
                yield Orphan("vhost", str(path), "is a link to nothing: nginx does not start with it")
                continue
            for word, named in _VHOST_PATHS.findall(_text(path)):
                if not node.under(named.lstrip("/")).exists():
                    then = "it serves nothing" if word == "root" else "nginx does not start with it"
                    yield Orphan("vhost", str(path), f"names the {word} {named}, which is not there: {then}")


def _by_name(node: Node, seen: Look) -> Iterator[Orphan]:
    """What cron and systemd keep under the names of users."""
    for kind, directory in (("crontab", node.crontabs), ("linger", node.linger)):
        for name in tree.names(directory):
            if name not in seen.users and not USER.fullmatch(name):
                yield Orphan(kind, str(directory / name), f"is of {name}, who is not there")


def _by_uid(node: Node, seen: Look) -> Iterator[Orphan]:
    """The kernel counts whose every file is; where they lie it does not tell."""
    if not node.homes.is_dir():
        return
    there = {user.uid for user in seen.users.values()}
    for uid in quota.owners(node.homes):
        if uid in there or uid < SYSTEM_UIDS or uid in DYNAMIC or _is_accounts(uid):
            continue
        used = quota.get(node.homes, uid)
        if used is not None and used.used_inodes:
            told = f"{used.used_inodes} files and {amounts.size(used.used_bytes)} are of a user that is not there"
            yield Orphan("files", f"uid {uid}", f"{told}: find {mount(node.homes)} -xdev -uid {uid}")


def _is_accounts(uid: int) -> bool:
    return uid >= LOWEST_UID and bool(USER.fullmatch(f"h{uid}"))


def _text(path: Path) -> str:
    """'' for what is no plain file; an enabled vhost is a link as a rule."""
    with suppress(OSError):
        if path.is_file():
            return path.read_text(errors="replace")
    return ""
