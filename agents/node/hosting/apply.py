"""``account-apply``: the account becomes as the spec says, whatever of it is there already."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from agents.node.call import Call
from agents.node.hosting import (
    certificates,
    closing,
    databases,
    facts,
    manifest,
    marks,
    nginx,
    people,
    quota,
    sweep,
    systemd,
    tree,
    units,
    web,
)
from agents.node.hosting.layout import WEB_USER, Home, Node
from agents.node.hosting.manifest import Manifest
from agents.node.hosting.marks import Mark
from agents.node.hosting.spec import Spec
from agents.node.hosting.tree import Directory
from agents.node.protocol import AgentError

_ELSEWHERE_BYTES, _ELSEWHERE_INODES = 256 << 20, 10_000
"""What an account may leave in /tmp and the like."""


def account_apply(call: Call) -> dict[str, Any]:
    """``changed``: the parts that were not so before, in the order of their making; ``notes``: what is not as it might be."""
    spec: Spec = call.arguments["account"]
    node = Node(call.place)
    home = Home(node, spec.user)
    with marks.account_lock(node, spec.user):
        _require(home, spec)
        wanted = Mark(service_id=spec.service_id, uid=spec.uid, job_id=call.arguments["job_id"])
        made = marks.claim(home, wanted)
        marks.require_no_wipe(home)
        sweep.probes(home)
        held = manifest.load(home)
        work = _Work(home, spec, held)
        for number, (saying, part) in enumerate(work.parts()):
            call.progress(number / 10, saying)
            part()
        marks.settle(home, replace(made, digest=spec.digest()))
        return {"facts": facts.of(home, facts.look(node)), "changed": work.changed, "notes": work.notes}


def _require(home: Home, spec: Spec) -> None:
    """Before anything is touched. Raises AgentError (wrong-state)."""
    node = home.node
    if not node.vhosts.is_dir() or not node.homes.is_dir():
        raise AgentError("wrong-state", "this node is not prepared for hosting accounts", hint="call hosting-prepare")
    missing = sorted(set(spec.php_versions()) - set(systemd.php_versions(node)))
    if missing:
        there = ", ".join(systemd.php_versions(node)) or "none"
        raise AgentError(
            "wrong-state", f"PHP {', '.join(missing)} is not on this node; it has {there}", hint="install the package"
        )
    taken = nginx.taken(home, {domain for site in spec.sites for domain in site.domains})
    if taken:
        raise AgentError("wrong-state", f"served for another account already: {', '.join(taken[:10])}")


class _Work:
    """The parts of one apply. Where the account is suspended, what a suspension turns off is made behind it and stays off."""

    def __init__(self, home: Home, spec: Spec, held: Manifest | None) -> None:
        self._home, self._spec, self._held = home, spec, held
        self.changed: list[str] = []
        self.notes: list[str] = []

    def parts(self) -> Iterable[tuple[str, Any]]:
        return (
            ("making the user", self._user),
            ("setting the quota", self._quota),
            ("making the directories", self._directories),
            ("setting the limits, starting PHP", self._units),
            ("setting how to log in", self._access),
            ("making the databases", self._databases),
            ("making the certificates and sites", self._web),
            ("setting cron", self._cron),
            ("keeping what was asked for", self._keep),
        )

    def _note(self, word: str, changed: bool) -> None:
        if changed and word not in self.changed:
            self.changed.append(word)

    def _user(self) -> None:
        with marks.node_lock(self._home.node.place, "users"):
            self._note("user", people.settle(self._home))

    def _quota(self) -> None:
        homes, limits = self._home.node.homes, self._spec.limits
        before = quota.get(homes, self._home.uid)
        found = quota.put(homes, self._home.uid, disk_bytes=limits.disk_bytes, inodes=limits.inodes)
        # Where these are other file systems, there is no home of his in them.
        most = {"disk_bytes": min(limits.disk_bytes, _ELSEWHERE_BYTES), "inodes": min(limits.inodes, _ELSEWHERE_INODES)}
        quota.put_elsewhere(homes, self._home.node.open_places, self._home.uid, **most)
        self._note("quota", before is None or (before.disk_bytes, before.inodes) != (found.disk_bytes, found.inodes))

    def _directories(self) -> None:
        home, user = self._home, (self._home.uid, self._home.uid)
        with tree.opened(home.node.homes) as homes:
            self._tell(tree.make(homes, Directory((home.user,), 0o755, (0, 0))))
        with tree.opened(home.chroot) as chroot:
            self._tell(tree.make(chroot, Directory(("home",), 0o750, user)))
            at = tree.open_beneath(chroot, "home")
        try:
            tree.let_pass(at, pwd.getpwnam(WEB_USER).pw_uid)
            self._tell(tree.make(at, Directory(("tmp",), 0o700, user)))
            self._tell(tree.make(at, Directory(("sites",), 0o755, user)))
            for site in self._spec.sites:
                self._tell(tree.make(at, Directory(("sites", site.name), 0o755, user)))
                self._tell(tree.make(at, Directory(("sites", site.name, "public"), 0o755, user)))
        finally:
            os.close(at)
        home.logs.mkdir(mode=0o750, exist_ok=True)

    def _tell(self, note: str) -> None:
        if note:
            self.notes.append(note)

    def _units(self) -> None:
        for word in systemd.settle(self._home, self._spec, run_fpm=self._held is None):
            self._note(word, True)

    def _access(self) -> None:
        home, text = self._home, units.authorized_keys(self._spec.ssh_keys)
        if self._held is None:
            self._note("keys", tree.write(home.keys, text, mode=0o644))
        else:
            self._note("keys", tree.write(manifest.keys(home), text, mode=0o644))
        secret = people.shadow(home.node).get(home.user)
        value = people.wanted_hash(self._spec.password_hash, secret, suspended=self._held is not None)
        if value is not None:
            people.set_hash(home.user, value)
            self._note("password", True)

    def _databases(self) -> None:
        if not self._spec.databases and not self._home.node.under("var/lib/mysql").is_dir():
            return
        seen = databases.see()
        if seen.away:
            raise AgentError("driver-transient", seen.away)
        script = databases.script(self._spec, seen, suspended=self._held is not None)
        if script:
            databases.ask(script, doing=f"making the databases of {self._home.user}")
            self._note("databases", True)

    def _web(self) -> None:
        home, spec, six = self._home, self._spec, nginx.ipv6(self._home.node)
        before = certificates.kept(home, spec.sites)
        now = datetime.now(UTC)
        fresh = [certificates.settle(home, site, now) for site in spec.sites]
        self._note("certificates", any(fresh))
        text = web.vhosts(home.user, spec.sites, ipv6=six) if spec.sites else None
        shown = text
        if text is not None and self._held is not None:
            tree.write(manifest.vhost(home), text, sync=True)
            shown = web.suspended(home.user, text, ipv6=six)
        elif self._held is not None:
            tree.remove(manifest.vhost(home))  # its certificates go below: nothing may open it again
        self._note("sites", tree.read(home.vhost) != shown)
        if any(fresh):
            nginx.wait_for_reload(home.node)
        aside = nginx.publish(home, shown, certificates=lambda: certificates.put_back(before))
        if aside:
            self.notes.append(f"nginx refused the sites of {', '.join(aside)}: they were put aside")
        certificates.forget(home, {site.name for site in spec.sites})

    def _cron(self) -> None:
        home = self._home
        if self._held is None:
            text = units.crontab(tree.read(home.crontab) or "", self._spec.cron)
            self._note("cron", closing.set_crontab(home, text))
            return
        text = units.crontab(tree.read(manifest.crontab(home)) or "", self._spec.cron)
        owner = (home.uid, closing.crontab_group())
        kept = manifest.crontab(home)
        self._note("cron", tree.write(kept, text, mode=0o600, owner=owner) if text else tree.remove(kept))

    def _keep(self) -> None:
        """A suspended account shall be let go as it is ordered now."""
        home, spec, held = self._home, self._spec, self._held
        if held is None:
            return
        before = held.before
        if bool(spec.password_hash) == bool(before["login"]["locked"]):
            before["login"]["locked"] = not spec.password_hash
        before["keys"] = len(spec.ssh_keys)
        before["cron"] = units.cron_count(tree.read(manifest.crontab(home)) or "")
        before["sites"] = {site.name: "php" if site.php else "static" for site in spec.sites}
        paths = {path.name for path in home.fpm_units()}
        before["fpm"] = {name: before["fpm"].get(name, {"enabled": True, "active": True}) for name in sorted(paths)}
        seen, logins = databases.see(), before["databases"] or {}
        if not seen.away:
            before["databases"] = {each.name: logins.get(each.name, False) for each in seen.logins_of(home.user)}
        held.save(home)
