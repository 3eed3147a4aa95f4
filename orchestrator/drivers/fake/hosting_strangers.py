"""Simulated users that somebody made by hand on a hosting node. What is there of one is what the test has said (``settle``)."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.account_parts import CronLine
from orchestrator.domain.adopting import Adoption, SiteSeen, Stranger
from orchestrator.domain.errors import NotFound, Refused, WrongState
from orchestrator.domain.moving_in import Tarball
from orchestrator.drivers.fake import hosting_tarballs as tarballs
from orchestrator.drivers.fake.world import FakeWorld, State
from orchestrator.ports.hosting_node import SetAside

KEPT = "/var/lib/orchestrator-agent/adopted"
_SYSTEM = ("root", "www-data", "mysql")
_EVERYTHING = 1 << 60


def tarball_of(user: str) -> str:
    return f"adopt.{user}.tar"


def look(node: State, there: State, adoption: Adoption) -> Stranger:
    stranger = _stranger(node, adoption)
    for site in adoption.sites:
        if not f"{site.root}/".startswith(f"{stranger['home']}/"):
            raise Refused(f"{site.root}, of the site {site.name}, does not lie in {stranger['home']}", rule="")
    held = [each.name for each in adoption.databases if there["content"].get(each.name)]
    served = {root: names for vhost in stranger["vhosts"].values() for root, names in vhost.items()}
    return Stranger(
        name=adoption.stranger,
        uid=stranger["uid"],
        home=stranger["home"],
        bytes=stranger["bytes"],
        inodes=stranger["inodes"],
        sites=tuple(
            SiteSeen(name=each.name, root=each.root, domains=tuple(served.get(each.root, ()))) for each in adoption.sites
        ),
        databases=tuple((each.name, each.source, len(_database(node, each.source))) for each in adoption.databases),
        cron=tuple(CronLine(**line) for line in stranger["crontab"]) if adoption.cron else (),
        files=_files(stranger, adoption),
        roots=tuple(sorted(served)),
        obstacles=(*stranger["obstacles"], *(f"the account's database {name} holds something already" for name in held)),
        not_taken=tuple(stranger["not_taken"]),
        left=(f"the user {adoption.stranger} with {stranger['home']}: userdel --remove {adoption.stranger}",),
    )


def _stranger(node: State, adoption: Adoption) -> State:
    if adoption.stranger in _SYSTEM or adoption.stranger in node.get("accounts", {}):
        raise Refused(f"{adoption.stranger} is a user of the system or an account: he is nobody to adopt", rule="")
    found: State | None = node.get("strangers", {}).get(adoption.stranger)
    if found is None:
        raise NotFound(f"there is no user {adoption.stranger} on {node['name']}")
    return found


def _database(node: State, name: str) -> str:
    found: str | None = node.get("databases", {}).get(name)
    if found is None:
        raise NotFound(f"there is no database {name} on {node['name']}")
    return found


def _files(stranger: State, adoption: Adoption) -> tuple[str, ...]:
    roots = {each.root for each in adoption.sites}
    return tuple(path for path, vhost in sorted(stranger["vhosts"].items()) if roots & set(vhost))


def require_closed(there: State) -> None:
    if there["manifest"] is None:
        raise WrongState(f"{there['user']} is not suspended: nothing is restored into it", hint="suspend it first")


def set_aside_vhosts(node: State, there: State, adoption: Adoption, *, job_id: str) -> None:
    """What there was is written down once, by the first attempt of a job."""
    require_closed(there)
    stranger = _stranger(node, adoption)
    kept = node.setdefault("adopted", {})
    if f"{adoption.stranger}/{job_id}" not in kept:
        vhosts = {path: stranger["vhosts"][path] for path in _files(stranger, adoption)}
        crontab = list(stranger["crontab"]) if adoption.cron else []
        kept[f"{adoption.stranger}/{job_id}"] = {"vhosts": vhosts, "crontab": crontab}
    for path in kept[f"{adoption.stranger}/{job_id}"]["vhosts"]:
        stranger["vhosts"].pop(path, None)


def set_aside_crontab(node: State, adoption: Adoption, *, job_id: str) -> SetAside:
    stranger, kept = _stranger(node, adoption), node["adopted"][f"{adoption.stranger}/{job_id}"]
    files = sorted(kept["vhosts"])
    if adoption.cron and kept["crontab"]:
        stranger["crontab"] = []
        files.append(f"/var/spool/cron/crontabs/{adoption.stranger}")
    return SetAside(files=tuple(files), kept=f"{KEPT}/{adoption.stranger}/{job_id}")


def put_back(node: State, stranger: str, *, job_id: str) -> tuple[str, ...]:
    kept = node.get("adopted", {}).pop(f"{stranger}/{job_id}", None)
    if kept is None:
        return ()
    there = node["strangers"][stranger]
    there["vhosts"].update(kept["vhosts"])
    there["crontab"] = kept["crontab"] or there["crontab"]
    files = sorted(kept["vhosts"])
    return (*files, *([f"/var/spool/cron/crontabs/{stranger}"] if kept["crontab"] else []))


def gather(node: State, there: State, adoption: Adoption) -> Tarball:
    require_closed(there)
    stranger = _stranger(node, adoption)
    if stranger["obstacles"]:
        raise Refused(f"it cannot be gathered: {stranger['obstacles'][0]}", rule="")
    files = {}
    for path, text in stranger["files"].items():
        whole = f"{stranger['home']}/{path}"
        site = next((each for each in adoption.sites if whole.startswith(f"{each.root}/")), None)
        files[f"sites/{site.name}/public{whole.removeprefix(site.root)}" if site else path] = text
    dumps = {each.name: _database(node, each.source) for each in adoption.databases}
    made = {
        "bytes": stranger["bytes"],
        "inodes": stranger["inodes"],
        "files": files,
        "dumps": dumps,
        "settings": {},
        "hostile": "",
    }
    name = tarball_of(there["user"])
    node.setdefault("tarballs", {})[name] = made
    return tarballs.look(node, name, most_bytes=_EVERYTHING, most_inodes=_EVERYTHING)


def drop_gathered(node: State, there: State) -> None:
    node.get("tarballs", {}).pop(tarball_of(there["user"]), None)


# -- what a test does ----------------------------------------------------------------------------------------------------------


def settle(world: FakeWorld, node: str, name: str, **said: Any) -> None:
    """Somebody makes a user by hand: ``files`` in his home by path, ``vhosts``: for each file of nginx its directories with their
    domains; ``databases`` by name with their texts; ``crontab``; ``uid``, ``bytes``, ``inodes``, ``obstacles``, ``not_taken``."""
    usual: dict[str, Any] = {
        "uid": 1001,
        "home": f"/home/{name}",
        "files": {"public_html/index.php": "<?php"},
        "vhosts": {f"/etc/nginx/sites-enabled/{name}": {f"/home/{name}/public_html": [f"{name}.example"]}},
        "crontab": [],
        "bytes": 4096,
        "inodes": 1,
        "obstacles": [],
        "not_taken": [],
    }
    databases = said.pop("databases", {})
    with world.change() as state:
        there = state["nodes"][node]
        there.setdefault("strangers", {})[name] = {**usual, **said}
        there.setdefault("databases", {}).update(databases)


def stranger(world: FakeWorld, node: str, name: str) -> dict[str, Any]:
    """As he stands in the simulated world."""
    found: dict[str, Any] = world.node(node)["strangers"][name]
    return found
