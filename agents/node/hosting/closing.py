"""Shutting every way into an account, in the order that leaves none open behind the others. Each act is repeatable."""

from __future__ import annotations

import grp
import os
import stat
from contextlib import suppress
from pathlib import Path

from agents.node.hosting import databases, manifest, nginx, people, processes, sql, systemd, tree, web
from agents.node.hosting.layout import Home
from agents.node.hosting.run import must


def web_answers_503(home: Home) -> list[str]:
    """What served is kept, once, and the same sites answer 503. Returns other accounts whose vhosts nginx refused."""
    text = tree.read(home.vhost)
    if text is None:
        return []
    stopped = web.suspended(home.user, text, ipv6=nginx.ipv6(home.node))
    if text != stopped and not manifest.vhost(home).exists():
        tree.write(manifest.vhost(home), text, sync=True)
    aside = nginx.publish(home, stopped)
    nginx.let_go(home)
    return aside


def nobody_logs_in(home: Home) -> None:
    """Locked for passwords, expired for every other way, keys away."""
    secret = people.shadow(home.node).get(home.user)
    if secret is not None:
        if not secret.hash.startswith("!"):
            people.set_hash(home.user, f"!{secret.hash}")
        if secret.expires != 1:
            people.expire(home.user, on=True)
    put_away(home.keys, manifest.keys(home))


def nothing_starts(home: Home) -> None:
    """No line of cron, no job of at, no manager of the user's own that outlives its sessions."""
    put_away(home.crontab, manifest.crontab(home))
    touch_crontabs(home)
    jobs = at_jobs(home)
    if jobs:
        manifest.at_jobs(home).mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in jobs:
            tree.move(path, manifest.at_jobs(home) / path.name)
    if home.linger.exists():
        tree.remove(home.linger)


def nothing_runs(home: Home) -> int:
    """PHP stopped, and everything by cgroup and by uid; how many processes were ended. What these have planted for cron and at
    since ``nothing_starts`` goes with them."""
    with_units = home.fpm_units()
    systemd.stop_fpm(home, with_units)
    must(["systemctl", "stop", f"user@{home.uid}.service"], doing=f"ending the sessions of {home.user}", ok=(0, 5))
    ended = processes.end_all(home)
    nothing_starts(home)
    return ended


def no_database_answers(home: Home, seen: databases.Seen) -> None:
    """Logins locked, and whoever is in is out."""
    names = [each.name for each in seen.logins_of(home.user)]
    if names:
        databases.ask(sql.lock(names), doing=f"locking the databases of {home.user}")


def put_away(path: Path, target: Path) -> None:
    """Kept once: what came into its place afterwards is none of the customer's, and goes."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if target.exists():
        tree.remove(path)
    else:
        tree.move(path, target)


def at_jobs(home: Home) -> list[Path]:
    """Jobs of at belong to the user whose they are. Those of all others come and go meanwhile."""
    found = []
    for name in tree.names(home.node.at_jobs):
        path = home.node.at_jobs / name
        with suppress(FileNotFoundError):
            status = path.stat(follow_symlinks=False)
            if status.st_uid == home.uid and stat.S_ISREG(status.st_mode):
                found.append(path)
    return found


def touch_crontabs(home: Home) -> None:
    """cron looks at the directory's time to see that a crontab went away or came (cron(8))."""
    if home.node.crontabs.is_dir():
        os.utime(home.node.crontabs)


def set_crontab(home: Home, text: str) -> bool:
    """As crontab(1) would put it there; '' = none. Whether another was there before."""
    if not text:
        changed = tree.remove(home.crontab)
    else:
        changed = tree.write(home.crontab, text, mode=0o600, owner=(home.uid, crontab_group()))
    if changed:
        touch_crontabs(home)
    return changed


def crontab_group() -> int:
    try:
        return grp.getgrnam("crontab").gr_gid
    except KeyError:
        return 0
