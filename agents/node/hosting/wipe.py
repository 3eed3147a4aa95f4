"""``account-wipe``: everything of an account goes, in the order in which nothing that is left can hurt the others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from agents.node.call import Call
from agents.node.hosting import (
    closing,
    databases,
    facts,
    ipc,
    marks,
    nginx,
    people,
    processes,
    quota,
    residue,
    sql,
    sweep,
    systemd,
    tree,
)
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.run import must
from agents.node.protocol import AgentError
from agents.node.records import utc_now

LIMITS = (
    "Files were removed, not overwritten: their blocks keep what they held until the file system gives them to other files.",
    "Copies that others made (backups, MariaDB's binary log, logs of the node as a whole) are not this node's account.",
)


def account_wipe(call: Call) -> dict[str, Any]:
    """The ``report``; the same again when asked again, until the service's residue is cleaned.

    Raises AgentError (refused) before anything is touched where something is mounted in the account's directory.
    """
    node = Node(call.place)
    home, service_id = Home(node, call.arguments["user"]), call.arguments["service_id"]
    with marks.account_lock(node, home.user):
        kept = residue.report(home, service_id)
        if kept is not None and marks.mark(home) is None:
            return {"report": kept}
        found = marks.require_ours(home, service_id)
        sweep.probes(home)
        _require_no_mounts(home)
        seen = facts.look(node)
        if seen.databases.away:
            what = "nothing more" if home.wiping.exists() else "nothing"
            raise AgentError("driver-transient", f"{what} was removed, because the databases cannot be: {seen.databases.away}")
        report = _begin(home, seen, service_id, call.arguments["job_id"], found.job_id)
        removal = Removal(home, call)
        removal.everything(seen.databases)
        done = {
            **report,
            "ended_at": utc_now(),
            "files": report.get("files", 0) + removal.files,
            "directories": report.get("directories", 0) + removal.directories,
            "aside": removal.aside,
            "limits": list(LIMITS),
        }
        left = residue.found(home, facts.look(node), without_marks=True)
        if left:
            tree.write(home.wiping, json.dumps(done) + "\n")
            raise AgentError("driver-permanent", f"{home.user} is not gone: {', '.join(left[:10])}", found=left[:100])
        residue.keep_report(home, service_id, {**done, "residue": []})
        tree.remove(home.wiping)
        tree.remove(home.mark)
        return {"report": residue.report(home, service_id)}


def _require_no_mounts(home: Home) -> None:
    text = tree.mountinfo(home.node.place.root)
    mounted = [point for path in (home.chroot, home.node.wiping) for point in tree.mounts_below(path, text)]
    if mounted:
        raise AgentError(
            "refused",
            f"something is mounted in the account's directory: {', '.join(mounted[:10])}; nothing was touched",
            hint="unmount it first",
        )


def _begin(home: Home, seen: facts.Look, service_id: str, job_id: str, made_by: str) -> dict[str, Any]:
    """What there was, written down before the first of it goes; a call that goes on keeps what the first one saw."""
    text = tree.read(home.wiping)
    if text:
        return dict(json.loads(text))
    used = quota.get(home.node.homes, home.uid) if home.node.homes.is_dir() else None
    names = seen.databases.databases_of(home.user)
    report = {
        "service_id": service_id,
        "user": home.user,
        "uid": home.uid,
        "job_id": job_id,
        "made_by": made_by,
        "started_at": utc_now(),
        "bytes": used.used_bytes if used else 0,
        "inodes": used.used_inodes if used else 0,
        "databases": list(names),
        "outside": [str(path) for name in names for path in databases.outside(seen.databases.directory, name)],
        "logins": [each.name for each in seen.databases.logins_of(home.user)],
        "sites": [domain for site in facts.sites(home) for domain in site.domains],
        "method": "removed",
    }
    home.node.records.mkdir(mode=0o700, parents=True, exist_ok=True)
    tree.write(home.wiping, json.dumps(report) + "\n", sync=True)
    return report


@dataclass(slots=True)
class Removal:
    """In this order: vhost, logins, cron and at, PHP, databases, certificates and logs, home, quota, user and group."""

    home: Home
    call: Call
    files: int = 0
    directories: int = 0
    aside: list[str] = field(default_factory=list)

    def everything(self, seen: databases.Seen) -> None:
        parts: Iterable[tuple[str, Any]] = (
            ("taking the sites out of nginx", self._web),
            ("shutting the logins", self._logins),
            ("stopping PHP and all that runs", self._processes),
            ("removing the databases", lambda: self._databases(seen)),
            ("removing certificates and logs", self._web_files),
            ("removing the files", self._files),
            ("removing the quota", self._quota),
            ("removing the user", self._user),
            ("removing the records", self._records),
        )
        for number, (saying, part) in enumerate(parts):
            self.call.progress(number / 9, saying)
            part()

    def _web(self) -> None:
        home = self.home
        tree.remove(home.quarantined)
        self.aside = nginx.publish(home, None)
        nginx.let_go(home)

    def _logins(self) -> None:
        home = self.home
        if home.user in people.shadow(home.node):
            closing.nobody_logs_in(home)
        tree.remove(home.keys)
        closing.nothing_starts(home)
        tree.remove(home.crontab)

    def _processes(self) -> None:
        home = self.home
        if home.user in people.passwd(home.node):
            closing.nothing_runs(home)
        else:
            processes.end_all(home)
            closing.nothing_starts(home)
        tree.remove(home.crontab)
        systemd.remove_all(home)
        for name in tree.names(home.node.sockets):
            if name.startswith(f"{home.user}-"):
                tree.remove(home.node.sockets / name)

    def _databases(self, seen: databases.Seen) -> None:
        logins = [each.name for each in seen.logins_of(self.home.user)]
        names = seen.databases_of(self.home.user)
        words = sql.lock(logins) + "".join(map(sql.drop_user, logins)) + "".join(map(sql.drop_database, names))
        if words:
            databases.ask(words, doing=f"removing the databases of {self.home.user}")
        for path in residue.tables_outside(self.home):
            with suppress(OSError):  # MariaDB removes its files there and leaves the directories; anything else will be told
                path.rmdir()

    def _web_files(self) -> None:
        for path in (self.home.tls, self.home.logs):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)

    def _files(self) -> None:
        home = self.home
        if home.node.homes.is_dir():
            erased = tree.erase(home.node.homes, home.user, holding=home.node.wiping.name)
            self.files, self.directories = self.files + erased.files, self.directories + erased.directories
        for path in residue.common_files(home):
            tree.remove_of(path.parent, path.name, home.uid)
        for kind, number in ipc.of(home.node, home.uid):
            must(["ipcrm", ipc.OPTIONS[kind], str(number)], doing=f"removing what is shared of {home.user}")

    def _quota(self) -> None:
        if self.home.node.homes.is_dir() and quota.is_on(self.home.node.homes):
            quota.put(self.home.node.homes, self.home.uid, disk_bytes=0, inodes=0)
            quota.put_elsewhere(self.home.node.homes, self.home.node.open_places, self.home.uid, disk_bytes=0, inodes=0)

    def _user(self) -> None:
        home = self.home
        with marks.node_lock(home.node.place, "users"):
            if home.user in people.passwd(home.node):
                must(["userdel", home.user], doing=f"removing the user {home.user}")
            if home.user in people.groups(home.node):
                must(["groupdel", home.user], doing=f"removing the group {home.user}")
            people.forget_copies(home)

    def _records(self) -> None:
        for path in residue.half_written(self.home):
            tree.remove(path)
        shutil.rmtree(self.home.gathering, ignore_errors=True)
        tree.remove(self.home.gathered)
        if self.home.records.is_dir():
            shutil.rmtree(self.home.records)
