"""``account-load``: what was packed becomes the account's databases again; where all do, so do crontab and certificates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from agents.node.call import Call
from agents.node.hosting import (
    certificates,
    closing,
    databases,
    dumps,
    facts,
    manifest,
    marks,
    nginx,
    packing,
    processes,
    sql,
    sweep,
    tree,
    units,
)
from agents.node.hosting.attended import Look
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.spec import Database
from agents.node.protocol import AgentError

_SECONDS = 1800.0
"""For a large database to be dropped."""


def account_load(call: Call) -> dict[str, Any]:
    """``loaded``: each database with the bytes of its dump. One that the account has no more is made, with its login.

    Raises AgentError: wrong-state (the account is open), not-found (nothing of that name was packed), driver-permanent.
    """
    node = Node(call.place)
    home = Home(node, call.arguments["user"])
    with marks.account_lock(node, home.user):
        marks.require_ours(home, call.arguments["service_id"])
        sweep.probes(home)
        held = require_closed(home)
        packing.require_roots(home)
        settings, there = packing.settings_packed(home), packing.dumps_packed(home)
        names = call.arguments["databases"] or sorted(there)
        lacking = [name for name in names if name not in there]
        if lacking:
            raise AgentError("not-found", f"no dump of {', '.join(lacking[:10])} is in {home.packed}")
        _make_missing(home, held, [row for row in settings.get("databases", ()) if row["name"] in names])
        if not call.arguments["databases"]:
            _bring_back_logins(home, held, settings.get("databases", ()))
        loaded = []
        with lent(home, names):
            for number, name in enumerate(names):
                look = partial(call.progress, number / len(names), f"loading {home.user}_{name}")
                loaded.append({"name": name, "bytes": fresh(home, name, there[name], look=look)})
        bring_back_settings(home, held, settings, named=call.arguments["databases"])
    return {"loaded": loaded}


def require_closed(home: Home) -> manifest.Manifest:
    """The account is suspended and nothing of it runs: nobody changes under our hands what is restored. Raises AgentError
    (wrong-state)."""
    held = manifest.load(home)
    if held is None:
        raise AgentError("wrong-state", f"{home.user} is not suspended: nothing is restored into it", hint="suspend it first")
    running = processes.of(home.node, home.uid)
    if running:
        raise AgentError(
            "wrong-state", f"{len(running)} processes of {home.user} run, though it is suspended", hint="suspend it once more"
        )
    return held


def _make_missing(home: Home, held: manifest.Manifest, rows: Sequence[Mapping[str, Any]]) -> None:
    """Databases that the account has no more, with their logins, which will be let in when the account is."""
    seen = databases.see()
    if seen.away:
        raise AgentError("driver-transient", seen.away)
    present = seen.databases_of(home.user)
    wanted = [
        Database(name=str(row["name"]), password_hash=str(row.get("password_hash", "")))
        for row in rows
        if f"{home.user}_{row['name']}" not in present
    ]
    if not wanted:
        return
    databases.ask(databases.making(home.user, wanted, seen, suspended=True), doing=f"making the databases of {home.user}")
    logins = held.before["databases"] = held.before["databases"] or {}
    for each in databases.see().logins_of(home.user):
        logins.setdefault(each.name, False)
    held.save(home)


def _bring_back_logins(home: Home, held: manifest.Manifest, rows: Sequence[Mapping[str, Any]]) -> None:
    """Those by password that its owner's programs know: of an account that was made anew only the backup has their hashes."""
    seen = databases.see()
    if seen.away:
        raise AgentError("driver-transient", seen.away)
    words = databases.logins_back(home.user, rows, seen)
    if not words:
        return
    logins = held.before["databases"] = held.before["databases"] or {}
    for login in words:  # first what lets them in again with the account: made, they would be found there when this is repeated
        logins.setdefault(login, False)
    held.save(home)
    databases.ask("".join(words.values()), doing=f"bringing back the logins of {home.user}")


@contextmanager
def lent(home: Home, names: Sequence[str]) -> Iterator[None]:
    """The account's own login is let in, and has all rights on these databases, while this lasts; then all is as before.

    Where the call is killed, the next one on the account takes it back (see ``sweep``). The account's lock is held meanwhile.
    """
    seen = databases.see()
    if seen.away:
        raise AgentError("driver-transient", seen.away)
    locked = [each.name for each in seen.logins_of(home.user) if each.name == home.user and each.locked]
    of_account = [f"{home.user}_{name}" for name in names]
    full = [database for database in of_account if (home.user, database) not in seen.inserting]
    sweep.note(home, lock=locked, full=full)
    try:
        words = sql.unlock(locked) + "".join(sql.grant(home.user, database, full=False) for database in full)
        if words:
            databases.ask(words, doing=f"letting {home.user} load its databases")
        yield
    finally:
        sweep.probes(home)


def fresh(home: Home, name: str, path: Path, *, look: Look) -> int:
    """The database is emptied, and becomes what the dump says; the dump's bytes. To be called while the login is lent."""
    empty(home, name)
    return dumps.load(home, f"{home.user}_{name}", path, look=look)


def empty(home: Home, name: str) -> None:
    """The database holds nothing. Who may do what in it stays as it is."""
    database = f"{home.user}_{name}"
    words = sql.drop_database(database) + sql.create_database(database)
    databases.ask(words, doing=f"emptying {database}", seconds=_SECONDS)


def bring_back_settings(home: Home, held: manifest.Manifest, settings: Mapping[str, Any], *, named: Sequence[str] = ()) -> None:
    """The crontab and the certificates of an account that is loaded whole. Where databases are ``named`` they alone are meant."""
    if named:
        return
    _bring_back_cron(home, held, str(settings.get("crontab", "")))
    _bring_back_certificates(home, settings.get("sites", ()))


def _bring_back_cron(home: Home, held: manifest.Manifest, packed: str) -> None:
    """Into what is kept of it until the account is let go."""
    kept = manifest.crontab(home)
    text = units.brought_back(tree.read(kept) or "", packed)
    if text:
        tree.write(kept, text, mode=0o600, owner=(home.uid, closing.crontab_group()), sync=True)
    else:
        tree.remove(kept)
    held.before["cron"] = units.cron_count(text)
    held.save(home)


def _bring_back_certificates(home: Home, packed: Sequence[Mapping[str, Any]]) -> None:
    """Of sites that have none but those that sign themselves: on a node that is new to the account, all of them."""
    domains = {site.name: site.domains for site in facts.sites(home)}
    before: dict[Path, str | None] = {}
    for site in packed:
        if site["name"] in domains:
            before |= certificates.bring_back(home, site, domains[site["name"]], datetime.now(UTC))
    if before:
        nginx.wait_for_reload(home.node)
        nginx.settle(home.node, own=home, put_back=lambda: certificates.put_back(before))
