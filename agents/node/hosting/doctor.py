"""``hosting-doctor``: whether this machine has what a hosting node needs, and what to do where it does not."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agents.node import backup_needs
from agents.node.call import Call
from agents.node.hello import python
from agents.node.hosting import databases, nginx, people, quota, systemd, tree
from agents.node.hosting.layout import GROUP, WEB_USER, Node
from agents.node.hosting.run import ENVIRONMENT, run

Row = dict[str, Any]

PROGRAMS = (
    ("nginx", "serves the sites", "nginx"),
    ("mariadb", "is how the databases are made", "mariadb-client"),
    ("mariadbd", "holds the databases", "mariadb-server"),
    ("sshd", "lets the customers transfer files", "openssh-server"),
    ("sftp", "probes that", "openssh-client"),
    ("crontab", "runs the accounts' jobs", "cron"),
    ("at", "is probed, and shut with the rest", "at"),
    ("logrotate", "keeps the logs short", "logrotate"),
    ("openssl", "makes certificates that sign themselves", "openssl"),
    ("useradd", "makes the users", "passwd"),
    ("busctl", "puts jobs into their slices", "systemd"),
    ("pam-auth-update", "calls it", "libpam-runtime"),
)
_TABLES_HINT = (
    "enrol the node again: that sets symbolic-links = 0 and restarts MariaDB; where it is set already, another file below"
    " /etc/mysql says otherwise after it (grep -r symbolic /etc/mysql)"
)
CONTROLLERS = ("cpu", "memory", "io", "pids")
KERNEL = (5, 14)
CONTROLLER = ("usr/lib/systemd/system/orchestrator.service", "etc/systemd/system/orchestrator.service")


def hosting_doctor(call: Call) -> dict[str, Any]:
    """``needs``: name, ok, says, hint, package each; and what there is: php, quota, controllers, accounts, sizes. ``backups``
    asks for what these need, too.

    ``quick``: without the tests of whole configurations. nginx reads the vhosts of a thousand accounts for one, and a controller
    looks at its nodes all the time.
    """
    node = Node(call.place)
    controllers = (tree.read(node.cgroups / "cgroup.controllers") or "").split()
    on = _quota(node)
    rows = [
        _row("root", os.geteuid() == 0, f"uid {os.geteuid()}", "the agent must run as root"),
        _row(
            "python",
            sys.version_info >= (3, 11),
            python(),
            "install Python 3.11 or newer",
            "python3",
        ),
        _kernel(os.uname().release),
        _alone(node),
        *_programs(),
        *(_restic() if call.arguments["backups"] else ()),
        _php(systemd.php_versions(node)),
        _cgroups(controllers),
        _row("quota", on, "on" if on else "off", _quota_hint(), ""),
        *_open_places(node),
        *_links(node),
        _web_user(node),
        *_mariadb(),
        *(() if call.arguments.get("quick") else _tests()),
        _prepared(node),
    ]
    return {
        "needs": rows,
        "php": systemd.php_versions(node),
        "quota": on,
        "controllers": controllers,
        "accounts": len(tree.names(node.marks)),
        **_sizes(node),
    }


def _sizes(node: Node) -> dict[str, Any]:
    """What the machine has, in bytes and whole processors; the disk is the file system of the accounts."""
    space = os.statvfs(_homes(node))
    return {
        "hostname": socket.gethostname(),
        "cpus": os.cpu_count() or 1,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "disk_bytes": space.f_blocks * space.f_frsize,
        "disk_free_bytes": space.f_bavail * space.f_frsize,
    }


def _prepared(node: Node) -> Row:
    missing = [str(path) for path in (node.vhosts, node.keys, node.pending, node.imports) if not path.is_dir()]
    missing += [] if node.rotation.is_file() else [str(node.rotation)]
    missing += [] if GROUP in people.groups(node) else [f"the group {GROUP}"]
    found = f"missing: {', '.join(missing)}" if missing else "for accounts"
    return _row("prepared", not missing, found, "enrol the node again: that makes what all accounts share")


def _row(name: str, ok: bool, says: str, hint: str, package: str = "") -> Row:
    """``hint`` and ``package`` are told where it is missing only."""
    return {"name": name, "ok": ok, "says": says, "hint": "" if ok else hint, "package": "" if ok else package}


def _kernel(release: str) -> Row:
    numbers = tuple(int(each) for each in release.split("-")[0].split(".")[:2] if each.isdigit())
    return _row("kernel", numbers >= KERNEL, release, "boot Linux 5.14 or newer: quotas are set through quotactl_fd(2)")


def _alone(node: Node) -> Row:
    """Customers run their programs here, beside the keys to every node; and /run/orchestrator goes whenever the unit stops."""
    here = [f"/{unit}" for unit in CONTROLLER if node.under(unit).exists()]
    hint = "take another machine for the accounts: a controller is installed on this one"
    return _row("no controller", not here, here[0] if here else "none is here", hint)


def _programs() -> Iterator[Row]:
    for name, purpose, package in PROGRAMS:
        path = shutil.which(name, path=ENVIRONMENT["PATH"]) or ""
        yield _row(name, bool(path), path or "none", f"install the package {package}: {name} {purpose}", package)


def _restic() -> Iterator[Row]:
    found = backup_needs.restic()
    yield _row(found["name"], found["ok"], found["found"], found["mend"], found["package"])


def _php(versions: list[str]) -> Row:
    return _row("php-fpm", bool(versions), ", ".join(versions) or "none", "install the package php-fpm", "php-fpm")


def _cgroups(controllers: list[str]) -> Row:
    missing = [each for each in CONTROLLERS if each not in controllers]
    says = " ".join(controllers) or "no unified hierarchy"
    return _row("cgroup v2", not missing, says, f"boot with systemd.unified_cgroup_hierarchy=1; missing: {', '.join(missing)}")


def _quota(node: Node) -> bool:
    return quota.is_on(_homes(node))


def _homes(node: Node) -> Path:
    """The directory of the homes, or the nearest one above it that is there: both lie on one file system."""
    path = node.homes
    while not path.is_dir():
        path = path.parent
    return path


def _quota_hint() -> str:
    return (
        "ext4: tune2fs -O quota -Q usrquota on the unmounted device, and mount the file system of /srv/h with usrquota;"
        " xfs: mount it with uquota"
    )


def _open_places(node: Node) -> Iterator[Row]:
    """A file system that counts nobody's files is filled by one customer for all; of memory (tmpfs) each pays what he takes."""
    there = [path for path in node.open_places if path.is_dir() and os.major(path.stat().st_dev)]
    uncounted = [str(path) for path in there if not quota.is_on(path)]
    found = f"counted by nobody: {', '.join(uncounted)}" if uncounted else "counted"
    yield _row("quota where everybody may write", not uncounted, found, f"{_quota_hint()}; here for these directories")


def _links(node: Node) -> Iterator[Row]:
    """Without these a customer could have a name for another's file, or lead a program of root's through a link."""
    for name in ("protected_hardlinks", "protected_symlinks"):
        value = (tree.read(node.under(f"proc/sys/fs/{name}")) or "").strip()
        yield _row(name, value not in ("", "0"), value or "unknown", f"set fs.{name} = 1 in /etc/sysctl.d")


def _web_user(node: Node) -> Row:
    there = WEB_USER in people.passwd(node)
    return _row("web user", there, WEB_USER if there else "none", "install the package nginx", "nginx")


def _mariadb() -> Iterator[Row]:
    seen = databases.see()
    yield _row("MariaDB answers", not seen.away, seen.away or "as root, over its socket", "systemctl enable --now mariadb", "")
    if not seen.away:
        found = "in its directory" if seen.inside else "wherever a customer says"
        yield _row("MariaDB tables", seen.inside, found, _TABLES_HINT)


def _tests() -> Iterator[Row]:
    for name, test, words in (("nginx", nginx.test, "nginx -t"), ("sshd", lambda: run(["sshd", "-t"]), "sshd -t")):
        done = test()
        yield _row(
            f"{name} configuration", done.status == 0, "sound" if done.status == 0 else done.said, f"mend what {words} says"
        )
