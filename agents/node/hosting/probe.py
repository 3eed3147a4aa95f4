"""``account-probe``: each way into an account is tried as its owner would go it.

We hold no secret of his, so a key, a password and logins are lent for the moment; what is shut is refused to them, too.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.node.call import Call
from agents.node.hosting import closing, databases, facts, marks, people, processes, sql, sweep, systemd, tree
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.people import Secret
from agents.node.hosting.run import As, Done, must, run
from agents.node.hosting.webway import web_ways

GRACE = 8.0
"""Seconds after the full minute in which cron must have begun a job."""

_HEAD_START = 2.0
_AT_SECONDS = 12.0

Way = dict[str, Any]


def account_probe(call: Call) -> dict[str, Any]:
    """``ways``: each with ``open`` and what it says. ``cron_seconds`` 0 waits for no full minute: cron is looked at only."""
    node = Node(call.place)
    home = Home(node, call.arguments["user"])
    with marks.account_lock(node, home.user):
        marks.require_ours(home, call.arguments["service_id"])
        sweep.probes(home)
        try:
            return {"ways": list(_Probe(home, call).ways())}
        finally:
            sweep.probes(home)


def _way(name: str, opened: bool, says: str) -> Way:
    return {"way": name, "open": opened, "says": says[:300]}


@dataclass(frozen=True, slots=True)
class _Lent:
    """What gets a probe in where the way is open."""

    key: Path
    password: str
    askpass: Path
    port: str


class _Probe:
    def __init__(self, home: Home, call: Call) -> None:
        self._home = home
        self._say = call.progress
        self._waits = call.arguments["cron_seconds"] > 0
        self._seen = databases.see()
        self._marks = home.node.probes / home.user
        self._own = home.node.probes / f"{home.user}.own"

    def ways(self) -> Iterator[Way]:
        home = self._home
        secret = people.shadow(home.node).get(home.user)
        logins = [each for each in self._seen.logins_of(home.user) if each.plugin == "mysql_native_password"]
        sweep.note(home, hash=secret.hash if secret else "", logins={each.name: each.secret for each in logins})
        self._make_directories()
        # Looked at before anything of the probe's own runs.
        yield self._processes()
        lent = self._lend(secret)
        until = self._plant_cron()
        job = self._plant_at()
        yield from web_ways(facts.sites(home))
        self._say(0.2, "trying to log in")
        yield self._sftp("sftp-key", lent, by_key=True)
        yield self._sftp("sftp-password", lent, by_key=False)
        yield self._shell(lent)
        yield self._linger()
        yield self._fpm()
        yield self._database(logins)
        self._say(0.5, "waiting for cron and at")
        yield self._at(job)
        yield self._cron(until)

    def _make_directories(self) -> None:
        for path, mode, owner in ((self._marks, 0o700, self._home.uid), (self._own, 0o700, 0)):
            path.mkdir(mode=mode, exist_ok=True)
            with tree.opened(path) as fd:
                os.fchown(fd, owner, owner)

    # -- lending -----------------------------------------------------------------------------------------------------------

    def _lend(self, secret: Secret | None) -> _Lent:
        """A key in the place of his keys, and a password behind the lock that is there, or not."""
        home, key = self._home, self._own / "key"
        must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", sweep.TAG, "-f", str(key)], doing="making a probe's key")
        public = tree.read(key.with_suffix(".pub")) or ""
        tree.write(home.keys, (tree.read(home.keys) or "") + public, mode=0o644)
        password = secrets.token_hex(16)
        if secret is not None:
            made = must(["openssl", "passwd", "-6", "-stdin"], given=f"{password}\n", doing="making a probe's password").strip()
            people.set_hash(home.user, f"!{made}" if secret.locked else made)
        askpass = home.node.records / f"{home.user}.askpass"
        tree.write(askpass, "#!/bin/sh\nprintf '%s\\n' \"$ORCHESTRATOR_PROBE\"\n", mode=0o700)
        settings = must(["sshd", "-T"], doing="asking sshd for its port").splitlines()
        port = next((line.split()[1] for line in settings if line.startswith("port ")), "22")
        return _Lent(key, password, askpass, port)

    def _plant_cron(self) -> float:
        """A line that leaves a mark; when it must have been run at the latest (time.monotonic), 0 = it is not waited for."""
        if not self._waits:
            return 0.0
        home, mark = self._home, self._marks / "cron"
        line = f"* * * * * /usr/bin/touch /run/orchestrator/probe/{home.user}/{mark.name} # {sweep.TAG}\n"
        closing.set_crontab(home, (tree.read(home.crontab) or "") + line)
        now = time.time()  # cron goes by the wall's minutes; that one waits no longer where the wall's clock is set back
        return time.monotonic() + (now + _HEAD_START) // 60 * 60 + 60 + GRACE - now

    def _plant_at(self) -> str:
        """'' where at took the job, else why not."""
        home = self._home
        words = f"/usr/bin/touch /run/orchestrator/probe/{home.user}/at # {sweep.TAG}\n"
        done = run(["at", "-M", "now"], given=words, by=As(home.uid, home.uid), seconds=20)
        return "" if done.status == 0 else done.said or f"at ended with {done.status}"

    # -- trying ------------------------------------------------------------------------------------------------------------

    def _processes(self) -> Way:
        left = processes.of(self._home.node, self._home.uid)
        return _way("processes", bool(left), f"{len(left)} run" if left else "none runs")

    def _options(self, lent: _Lent, *, by_key: bool) -> list[str]:
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=10"]
        options += ["NumberOfPasswordPrompts=1", "IdentitiesOnly=yes", "IdentityAgent=none", f"Port={lent.port}"]
        if by_key:
            options += ["BatchMode=yes", "PreferredAuthentications=publickey", f"IdentityFile={lent.key}"]
        else:
            options += ["BatchMode=no", "PreferredAuthentications=password", "PubkeyAuthentication=no"]
        return ["-F", "/dev/null", *(word for option in options for word in ("-o", option))]

    def _sftp(self, name: str, lent: _Lent, *, by_key: bool) -> Way:
        more = {"SSH_ASKPASS": str(lent.askpass), "SSH_ASKPASS_REQUIRE": "force", "ORCHESTRATOR_PROBE": lent.password}
        words = ["sftp", *self._options(lent, by_key=by_key), "-b", "-", f"{self._home.user}@127.0.0.1"]
        done = run(words, given="pwd\n", more={} if by_key else more, seconds=45)
        return _way(name, done.status == 0, done.said if done.status else "let in")

    def _shell(self, lent: _Lent) -> Way:
        token = secrets.token_hex(8)
        words = ["ssh", *self._options(lent, by_key=True), f"{self._home.user}@127.0.0.1", f"echo {token}"]
        done = run(words, seconds=45)
        opened = token in done.out
        return _way("ssh-key", opened, "a command was run" if opened else done.said or "no command is run")

    def _linger(self) -> Way:
        manager = f"user@{self._home.uid}.service"
        if self._home.linger.exists():
            return _way("linger", True, "services of the user's own start at boot")
        # The probe's own logins may have begun a manager a moment ago: it ends with them.
        for _ in range(50):
            if not systemd.active([manager])[manager]:
                return _way("linger", False, "no service of the user's own")
            time.sleep(0.3)
        return _way("linger", True, f"{manager} runs")

    def _fpm(self) -> Way:
        state = facts.fpm(self._home, facts.masters(self._home.node).get(self._home.user, []))
        return _way("fpm", state == "active", f"PHP: {state}")

    def _database(self, native: Sequence[databases.Login]) -> Way:
        home, seen = self._home, self._seen
        if seen.away:
            return _way("database", False, f"MariaDB lets nobody in: {seen.away}")
        said = []
        for each in seen.logins_of(home.user):
            done = self._by_password(each) if each in native else databases.try_login(each.name, by=home)
            said.append((done.status == 0, f"{each.name}: {'let in' if done.status == 0 else done.said}"))
        sessions = databases.see().sessions_of(home.user)
        if sessions:
            said.append((True, f"{sessions} sessions go on"))
        if not said:
            return _way("database", False, "no login")
        wanted = [text for opened, text in said if opened] or [text for _, text in said]
        return _way("database", any(opened for opened, _ in said), "; ".join(wanted))

    def _by_password(self, login: databases.Login) -> Done:
        password = secrets.token_hex(16)
        digest = databases.ask(f"SELECT PASSWORD({sql.literal(password)});\n", doing="making a probe's password")[0][0]
        databases.ask(sql.add_password(login.name, first=login.secret, second=digest), doing="lending a password")
        options = self._own / "options"
        tree.write(options, f"[client]\npassword={password}\n")
        return databases.try_login(login.name, defaults=options)

    def _at(self, why_not: str) -> Way:
        if why_not:
            return _way("at", False, why_not)
        ran = self._appears("at", time.monotonic() + _AT_SECONDS)
        return _way("at", ran, "a job was run" if ran else f"no job was run within {_AT_SECONDS:g} s")

    def _cron(self, until: float) -> Way:
        if not until:
            there = self._home.crontab.exists()
            return _way("cron", there, "there is a crontab" if there else "there is no crontab")
        ran = self._appears("cron", until)
        return _way("cron", ran, "a line was run" if ran else "no line was run at the full minute")

    def _appears(self, name: str, until: float) -> bool:
        while not (self._marks / name).exists():
            if time.monotonic() > until:
                return False
            self._say(0.6, f"waiting for {name}")
            time.sleep(0.2)
        return True
