"""``account-suspend`` and ``account-unsuspend``: everything shut, and later exactly that opened again which was open."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from agents.node.call import Call
from agents.node.hosting import closing, databases, facts, manifest, marks, nginx, people, sql, sweep, systemd, tree
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.manifest import Manifest
from agents.node.hosting.run import must
from agents.node.protocol import AgentError
from agents.node.records import utc_now


def account_suspend(call: Call) -> dict[str, Any]:
    """The manifest first; then web, logins, cron, processes, databases. Where MariaDB is away all else is shut, and it ends with
    driver-transient. ``ended``: processes that were killed."""
    node = Node(call.place)
    home = Home(node, call.arguments["user"])
    service_id = call.arguments["service_id"]
    with marks.account_lock(node, home.user):
        marks.require_ours(home, service_id)
        sweep.probes(home)
        seen = facts.look(node)
        _remember(home, seen, service_id, call.arguments["job_id"])
        aside = closing.web_answers_503(home)
        closing.nobody_logs_in(home)
        closing.nothing_starts(home)
        ended = closing.nothing_runs(home)
        if seen.databases.away:
            raise AgentError("driver-transient", f"all but the databases of {home.user} is shut: {seen.databases.away}")
        closing.no_database_answers(home, seen.databases)
        return {"facts": facts.of(home, facts.look(node)), "ended": ended, "aside": aside}


def _remember(home: Home, seen: facts.Look, service_id: str, job_id: str) -> None:
    held = manifest.load(home)
    if held is None:
        held = Manifest(service_id=service_id, job_id=job_id, suspended_at=utc_now(), before=facts.switches(home, seen))
        if seen.databases.away:
            held.before["databases"] = None
        held.save(home)
    elif held.before["databases"] is None and not seen.databases.away:
        # MariaDB was away when all else was shut: what it holds is still as it was before.
        held.before["databases"] = {each.name: each.locked for each in seen.databases.logins_of(home.user)}
        held.save(home)


def account_unsuspend(call: Call) -> dict[str, Any]:
    """``difference``: what is not as the manifest says that it was, in words; empty as a rule. Without one nothing is done."""
    node = Node(call.place)
    home = Home(node, call.arguments["user"])
    with marks.account_lock(node, home.user):
        marks.require_ours(home, call.arguments["service_id"])
        sweep.probes(home)
        held = manifest.load(home)
        left: list[str] = []
        if held is not None:
            _open_databases(home, held.before)
            _open_cron(home)
            _open_logins(home, held.before)
            _start(home, held.before)
            _open_web(home)
            left = _difference(held.before, facts.switches(home, facts.look(node)))
            manifest.forget(home)
        return {"facts": facts.of(home, facts.look(node)), "difference": left}


def _difference(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Databases that were never reached were not shut, and nobody knows how they were."""
    return facts.difference(before, now | {"databases": None} if before["databases"] is None else now)


def _open_databases(home: Home, before: dict[str, Any]) -> None:
    locked_by_us = [name for name, locked in (before["databases"] or {}).items() if not locked]
    if not locked_by_us:
        return
    seen = databases.see()
    if seen.away:
        raise AgentError("driver-transient", f"the databases of {home.user} cannot be opened: {seen.away}")
    there = {each.name for each in seen.logins_of(home.user)}
    names = [name for name in locked_by_us if name in there]
    if names:
        databases.ask(sql.unlock(names), doing=f"opening the databases of {home.user}")


def _open_cron(home: Home) -> None:
    _put_back(manifest.crontab(home), home.crontab)
    closing.touch_crontabs(home)
    for name in tree.names(manifest.at_jobs(home)):
        tree.move(manifest.at_jobs(home) / name, home.node.at_jobs / name)
    if home.node.at_jobs.is_dir():
        os.utime(home.node.at_jobs)


def _open_logins(home: Home, before: dict[str, Any]) -> None:
    secret = people.shadow(home.node).get(home.user)
    if secret is not None:
        if secret.hash.startswith("!") and not before["login"]["locked"]:
            people.set_hash(home.user, secret.hash.removeprefix("!"))
        if secret.expires != before["login"]["expires"]:
            people.set_expiry(home.user, before["login"]["expires"])
    if before["linger"] and not home.linger.exists():
        must(["loginctl", "enable-linger", home.user], doing=f"letting the services of {home.user} run on")
    _put_back(manifest.keys(home), home.keys)


def _start(home: Home, before: dict[str, Any]) -> None:
    there = {path.name for path in home.fpm_units()}
    units = {name: state for name, state in before["fpm"].items() if name in there}
    for name, state in units.items():
        if state["enabled"]:
            systemd.enable(home.node, name)
    running = [name for name, state in units.items() if state["active"]]
    if running:
        must(["systemctl", "daemon-reload"], doing="reading the units anew")
        must(["systemctl", "start", *running], doing=f"starting PHP of {home.user}")


def _open_web(home: Home) -> None:
    text = tree.read(manifest.vhost(home))
    if text is not None:
        nginx.publish(home, text)


def _put_back(kept: Path, path: Path) -> None:
    """What was there before wins over what somebody put there meanwhile."""
    tree.move(kept, path)
