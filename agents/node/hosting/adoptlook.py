"""``account-adopt-look``: what of a user that somebody made by hand would move into an account, and what not."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.node.call import Call
from agents.node.hosting import (
    databases,
    fields,
    gathering,
    marks,
    nginx,
    nginxtext,
    oldcerts,
    people,
    processes,
    sql,
    strangers,
    tree,
    walk,
)
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.nginxtext import Server
from agents.node.hosting.oldcron import Crontab
from agents.node.hosting.spec import Adoption
from agents.node.hosting.strangers import Stranger
from agents.node.protocol import AgentError

_SYSTEM = frozenset({"mysql", "information_schema", "performance_schema", "sys"})
_MANY = 20


@dataclass(slots=True)
class Web:
    """What nginx serves of the stranger. ``files``: those that are his alone, to be set aside; ``obstacles``: why one is not."""

    served: list[tuple[str, Server]] = field(default_factory=list)
    others: list[Server] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    obstacles: list[str] = field(default_factory=list)

    def domains(self, site: str) -> list[str]:
        """Names that an account may have, each once."""
        names = (name.lower().removesuffix(".") for each, server in self.served if each == site for name in server.names)
        return list(dict.fromkeys(name for name in names if is_domain(name)))

    def certificates(self, site: str) -> list[tuple[str, str]]:
        """Paths of each certificate and its key."""
        pairs = ((each.certificate, each.key) for name, each in self.served if name == site and each.certificate and each.key)
        return list(dict.fromkeys(pairs))


def account_adopt_look(call: Call) -> dict[str, Any]:
    """Raises AgentError: not-found, refused where the user is none that may be adopted."""
    node = Node(call.place)
    home, adoption = Home(node, call.arguments["user"]), strangers.adoption_of(call)
    marks.require_ours(home, call.arguments["service_id"])
    who = strangers.stranger(node, adoption.stranger)
    roots = strangers.site_roots(who, adoption)
    web = web_of(who, roots)
    found = gathering.measure(who, roots, beat=lambda: call.progress(0.3, f"looking through {who.home}"))
    sizes, theirs = databases_of(who, adoption)
    cron = Crontab.read(tree.read(node.crontabs / who.name) or "", before=who.home, after=f"/srv/h/{home.user}/home")
    certificates = oldcerts.look(web, [name for name, _ in adoption.sites])
    obstacles = [*web.obstacles, *found.obstacles, *_in_the_account(home, adoption, web)]
    return {
        "stranger": who.name,
        "uid": who.uid,
        "home": who.home,
        "bytes": found.bytes + sum(sizes.values()),
        "inodes": found.inodes,
        "sites": [_site(name, root, web) for name, root in adoption.sites],
        "databases": [{"name": name, "from": old, "bytes": sizes[old]} for name, old in adoption.databases],
        "cron": [{"schedule": each.schedule, "command": each.command} for each in cron.lines] if adoption.cron else [],
        "files": web.files,
        "certificates": [{"site": each.site, "until": each.until, "fits": each.fits, "says": each.says} for each in certificates],
        "roots": sorted({root for each in (*(s for _, s in web.served), *web.others) for root in each.roots}),
        "obstacles": obstacles[:_MANY],
        "not_taken": [
            *_web_left(web),
            *_cron_left(node, who, adoption, cron),
            *found.left_out,
            *(f"the database {name}, on which {who.name} has rights: it is not named" for name in theirs),
            *_people_left(node, who),
        ],
        "left": list(_left(who, adoption, home)),
    }


# -- what nginx serves ---------------------------------------------------------------------------------------------------------


def web_of(who: Stranger, roots: Mapping[str, str]) -> Web:
    """Raises AgentError (driver-permanent) where nginx refuses its configuration as it is."""
    texts = nginxtext.files(nginx.shown())
    found, unread = nginxtext.servers(texts)
    return sort_out(who, roots, found, [path for path in unread if who.home in texts[path]])


def sort_out(who: Stranger, roots: Mapping[str, str], servers: Sequence[Server], unread: Sequence[str]) -> Web:
    """Whose each server is. Pure."""
    web = Web()
    by_path = {f"{who.home}/{below}".rstrip("/"): site for below, site in roots.items()}
    for server in servers:
        sites = [by_path[root] for root in server.roots if root in by_path]
        if sites:
            web.served.append((sites[0], server))
        elif any(f"{root}/".startswith(f"{who.home}/") for root in server.roots):
            web.others.append(server)
    names = {name for _, server in web.served for name in server.names}
    ours = [id(server) for _, server in web.served]
    for path in dict.fromkeys(server.file for _, server in web.served):
        beside = [s for s in servers if s.file == path and id(s) not in ours and not (_redirects(s) and set(s.names) <= names)]
        if not path.startswith("/etc/nginx/"):
            web.obstacles.append(f"{path}, which nginx reads, lies outside of /etc/nginx: it cannot be set aside")
        elif beside:
            told = " ".join(beside[0].names) or "a server without a name"
            web.obstacles.append(f"{path} serves {told}, too: put that into a file of its own")
        else:
            web.files.append(path)
    web.obstacles += [f"{path}, which nginx reads and which names {who.home}, cannot be understood" for path in unread]
    return web


def _redirects(server: Server) -> bool:
    """It shows nothing of its own."""
    return not server.roots and not server.passes_on and not server.runs_php


def is_domain(name: str) -> bool:
    try:
        fields.domain(name)
    except ValueError:
        return False
    return True


def _site(name: str, root: str, web: Web) -> dict[str, Any]:
    servers = [server for site, server in web.served if site == name]
    php = next((server.php for server in servers if server.php), "")
    return {"name": name, "root": root, "domains": web.domains(name), "php": php, "runs_php": any(s.runs_php for s in servers)}


def _web_left(web: Web) -> list[str]:
    said = []
    for site, server in web.served:
        strange = [name for name in server.names if not is_domain(name.lower().removesuffix("."))]
        if strange:
            said.append(f"of {server.file} the names {', '.join(strange)[:200]}: no domain of an account's")
        if server.more:
            said.append(f"of {server.file}, for the site {site}: {'; '.join(server.more)[:600]}")
        if server.passes_on:
            said.append(f"{server.file} passes requests on to a program of its own: an account has PHP and files alone")
    said += [
        f"{each.file} ({' '.join(each.names)[:100]}), whose directory is named for no site: it goes on" for each in web.others
    ]
    return list(dict.fromkeys(said))


# -- the rest ----------------------------------------------------------------------------------------------------------------


def databases_of(who: Stranger, adoption: Adoption) -> tuple[dict[str, int], list[str]]:
    """The bytes of each that is named, and what else he has rights on. Raises AgentError: not-found, refused."""
    names = [old for _, old in adoption.databases]
    for name in names:
        if name.lower() in _SYSTEM or re.match(r"h[1-9][0-9]{5,8}_", name):
            raise AgentError("refused", f"the database {name} is MariaDB's own, or of an account: it is not taken")
    if not names and not Path("/var/lib/mysql").is_dir():
        return {}, []
    rows = databases.ask(sql.sizes(names), doing="looking at the databases") if names else []
    sizes = {row[0]: int(float(row[1])) for row in rows}
    lacking = [name for name in names if name not in sizes]
    if lacking:
        raise AgentError("not-found", f"there is no database {', '.join(lacking)} on this node")
    rights = databases.ask(sql.rights_of(who.name), doing="looking at the databases")
    theirs = {row[0].replace("\\_", "_") for row in rights}
    return sizes, sorted(theirs - set(names))


def _in_the_account(home: Home, adoption: Adoption, web: Web) -> list[str]:
    taken = nginx.taken(home, {domain for name, _ in adoption.sites for domain in web.domains(name)})
    said = [f"{each} is served for another account" for each in taken]
    seen = databases.see() if adoption.databases else databases.Seen()
    for name, _ in adoption.databases:
        there = f"{home.user}_{name}"
        if there in seen.databases_of(home.user) and databases.ask(sql.holds(there), doing=f"looking at {there}"):
            said.append(f"the account's database {there} holds something already: nothing is loaded over it")
    return said


def _cron_left(node: Node, who: Stranger, adoption: Adoption, cron: Crontab) -> list[str]:
    if not adoption.cron:
        return [f"the crontab of {who.name}: it goes on as it is"] if cron.lines else []
    said = [f"of the crontab: {line}" for line in cron.left]
    for name in tree.names(node.under("etc/cron.d")):
        path = node.under("etc/cron.d") / name
        text = (tree.read(path) or "") if path.is_file() and not path.is_symlink() else ""
        if re.search(rf"^[^#\n]*\s{re.escape(who.name)}\s", text, re.MULTILINE):
            said.append(f"/etc/cron.d/{name}, which runs something as {who.name}: it goes on")
    return said


def _people_left(node: Node, who: Stranger) -> list[str]:
    said = []
    keys = _lines(f"{who.home}/.ssh/authorized_keys", who)
    if keys:
        said.append(f"{keys} authorized keys: who may log in to the account is ordered with it")
    privileged = sorted(name for name, (_, members) in people.groups(node).items() if who.name in members and name in _POWERS)
    if privileged:
        said.append(f"what {who.name} may as a member of {', '.join(privileged)}")
    running = processes.by_uid(node)[who.uid]
    if running:
        said.append(f"{running} processes of {who.name}: end them first, what they write from now on is in the old place only")
    at_jobs = node.at_jobs
    if any((at_jobs / name).stat(follow_symlinks=False).st_uid == who.uid for name in tree.names(at_jobs)):
        said.append(f"jobs of at that {who.name} has: they go on")
    for path, what in ((f"var/mail/{who.name}", "its mail"), (f"var/lib/systemd/linger/{who.name}", "its own units of systemd")):
        if node.under(path).exists():
            said.append(f"{what} (/{path})")
    said.append(
        f"{who.home} and names of databases, where its programs and settings name them: they have to be told the new ones"
    )
    return said


_POWERS = frozenset({"sudo", "wheel", "adm", "docker", "www-data", "lxd", "root"})


def _lines(path: str, who: Stranger) -> int:
    """How many keys there are in it, without following a link."""
    with tree.opened(who.home) as top:
        text = walk.text_beneath(top, os.path.relpath(path, who.home))
    return sum(1 for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def _left(who: Stranger, adoption: Adoption, home: Home) -> list[str]:
    said = [f"the user {who.name} with {who.home}: userdel --remove {who.name}"]
    said += [f"the database {old}: mariadb -e 'DROP DATABASE `{old}`'" for _, old in adoption.databases]
    said.append(f"its vhosts and crontab, aside in {home.node.place.state}/adopted/{who.name}")
    return said
