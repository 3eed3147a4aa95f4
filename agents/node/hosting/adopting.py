"""``account-adopt`` and ``account-adopt-back``: what served a user by hand is set aside for his account; and put back.

What is set aside is written down first, with all that it held. It lies in ``/var/lib/orchestrator-agent/adopted/USER/JOB`` for as
long as an operator lets it, and can be put back by hand. The user, his files and his databases are not touched.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from agents.node.call import Call
from agents.node.hosting import adoptlook, certificates, facts, loading, marks, nginx, oldcerts, strangers, sweep, tree
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.spec import Adoption
from agents.node.place import Place
from agents.node.protocol import AgentError
from agents.node.records import utc_now


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """One file as it was. ``link``: where it led, of a link; else ``text``."""

    path: str
    link: str = ""
    text: str = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


@dataclass(slots=True, kw_only=True)
class Record:
    """``certificates``: what the account's sites had before, by path; None = nothing."""

    stranger: str
    user: str
    service_id: str
    job_id: str
    at: str
    vhosts: list[Aside] = field(default_factory=list)
    crontab: list[Aside] = field(default_factory=list)
    certificates: dict[str, str | None] = field(default_factory=dict)


def account_adopt(call: Call) -> dict[str, Any]:
    """``aside``: the files. ``certificates``: the sites that have theirs now.

    Raises AgentError: wrong-state (the account is open, nginx refuses what is there already), refused, driver-permanent (nginx
    refuses what would be left; all is as it was).
    """
    node = Node(call.place)
    home, adoption = Home(node, call.arguments["user"]), strangers.adoption_of(call)
    with marks.account_lock(node, home.user):
        marks.require_ours(home, call.arguments["service_id"])
        sweep.probes(home)
        loading.require_closed(home)
        where = directory(call.place, adoption.stranger, call.arguments["job_id"])
        record = load(where)
        if record is None:
            record = _written(call, home, adoption, where)
        installed = _certify(home, adoption, record, where)
        nginx.change(node, partial(_remove, node, record.vhosts), put_back=partial(_put_back, node, record.vhosts))
        _remove(node, record.crontab)
        touch_crontabs(node)
    return {"aside": [each.path for each in (*record.vhosts, *record.crontab)], "certificates": installed, "kept": str(where)}


def account_adopt_back(call: Call) -> dict[str, Any]:
    """``back``: the files that are in their places again. Nothing of this job set aside = success.

    Raises AgentError (in-doubt) where something else stands in the place of one.
    """
    node = Node(call.place)
    home = Home(node, call.arguments["user"])
    with marks.account_lock(node, home.user):
        marks.require_ours(home, call.arguments["service_id"])
        where = directory(call.place, call.arguments["stranger"], call.arguments["job_id"])
        record = load(where)
        if record is None:
            return {"back": []}
        both = [*record.vhosts, *record.crontab]
        for each in both:
            _require_free(node, each)

        def back() -> None:
            _put_back(node, record.vhosts)
            certificates.put_back({Path(path): text for path, text in record.certificates.items()})

        nginx.change(node, back, put_back=lambda: None)
        _put_back(node, record.crontab)
        touch_crontabs(node)
        shutil.rmtree(where)
        with suppress(OSError):
            where.parent.rmdir()
    return {"back": [each.path for each in both]}


def directory(place: Place, stranger: str, job_id: str) -> Path:
    return place.state / "adopted" / stranger / job_id


def load(where: Path) -> Record | None:
    """Raises AgentError (in-doubt) for one that cannot be read."""
    text = tree.read(where / "record.json")
    if text is None:
        return None
    try:
        found = json.loads(text)
        asides = {part: [Aside(**each) for each in found[part]] for part in ("vhosts", "crontab")}
        return Record(**{**found, **asides})
    except (ValueError, TypeError, KeyError):
        raise AgentError("in-doubt", f"{where}/record.json cannot be read", hint="look what served the user before") from None


def _written(call: Call, home: Home, adoption: Adoption, where: Path) -> Record:
    """What is set aside, on the disk before anything of it is touched; and copies, for whoever looks for them by hand."""
    who = strangers.stranger(home.node, adoption.stranger)
    web = adoptlook.web_of(who, strangers.site_roots(who, adoption))
    if web.obstacles:
        raise AgentError("refused", f"it cannot be adopted: {'; '.join(web.obstacles)[:1000]}")
    crontab = home.node.crontabs / who.name
    record = Record(
        stranger=who.name,
        user=home.user,
        service_id=call.arguments["service_id"],
        job_id=call.arguments["job_id"],
        at=utc_now(),
        vhosts=[_aside(home.node, path) for path in web.files],
        crontab=[_aside(home.node, f"/{crontab.relative_to(home.node.place.root)}")]
        if adoption.cron and crontab.exists()
        else [],
    )
    where.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number, each in enumerate((*record.vhosts, *record.crontab)):
        copy = where / f"{number}.{each.path.rpartition('/')[2]}"
        copy.unlink(missing_ok=True)
        if each.link:
            copy.symlink_to(each.link)
        else:
            tree.write(copy, each.text)
    _keep_pairs(home, adoption, web, where)
    _save(record, where)  # last: from then on nobody looks again
    return record


def _save(record: Record, where: Path) -> None:
    tree.write(where / "record.json", json.dumps(asdict(record), indent=1) + "\n", sync=True)


def _aside(node: Node, path: str) -> Aside:
    there = node.under(path.lstrip("/"))
    status = there.stat(follow_symlinks=False)
    if there.is_symlink():
        return Aside(path=path, link=str(there.readlink()))
    text = tree.read(there)
    return Aside(path=path, text=text or "", mode=status.st_mode & 0o777, uid=status.st_uid, gid=status.st_gid)


def _remove(node: Node, rows: Sequence[Aside]) -> None:
    for each in rows:
        if _is(node, each):
            tree.remove(node.under(each.path.lstrip("/")))


def _is(node: Node, each: Aside) -> bool:
    """Whether it stands in its place, as it was."""
    path = node.under(each.path.lstrip("/"))
    if path.is_symlink():
        return str(path.readlink()) == each.link
    return not each.link and tree.read(path) == each.text


def _require_free(node: Node, each: Aside) -> None:
    path = node.under(each.path.lstrip("/"))
    if os.path.lexists(path) and not _is(node, each):
        raise AgentError(
            "in-doubt", f"{each.path} was set aside, and something else stands in its place", hint="compare the two by hand"
        )


def _put_back(node: Node, rows: Sequence[Aside]) -> None:
    for each in rows:
        path = node.under(each.path.lstrip("/"))
        if os.path.lexists(path):
            continue
        if each.link:
            path.symlink_to(each.link)
        else:
            tree.write(path, each.text, mode=each.mode, owner=(each.uid, each.gid), sync=True)


def touch_crontabs(node: Node) -> None:
    """cron looks at the directory's time (cron(8))."""
    if node.crontabs.is_dir():
        os.utime(node.crontabs)


# -- certificates --------------------------------------------------------------------------------------------------------------


def _keep_pairs(home: Home, adoption: Adoption, web: adoptlook.Web, where: Path) -> None:
    """Those that fit, in the directory of root's: when the vhosts are gone nobody tells any more where they lie."""
    domains = {site.name: site.domains for site in facts.sites(home)}
    for each in oldcerts.look(web, [name for name, _ in adoption.sites], domains=domains):
        if each.fits:
            tree.write(where / f"{each.site}.key", each.key)
            tree.write(where / f"{each.site}.crt", each.certificate)


def _certify(home: Home, adoption: Adoption, record: Record, where: Path) -> list[str]:
    """Each site has the certificate that it had by hand, in place of one that signs itself."""
    domains = {site.name: site.domains for site in facts.sites(home)}
    installed = []
    for name, _ in adoption.sites:
        pair = {kind: tree.read(where / f"{name}.{kind}") or "" for kind in ("crt", "key")}
        if name not in domains or not pair["crt"] or not pair["key"]:
            continue
        packed = {"name": name, "domains": domains[name], "certificate": pair["crt"], "key": pair["key"]}
        paths = [home.tls / f"{name}.crt", home.tls / f"{name}.key"]
        before = {str(path): tree.read(path) for path in paths}
        if not set(before) & set(record.certificates):
            record.certificates |= before
            _save(record, where)
        if certificates.bring_back(home, packed, domains[name], datetime.now(UTC)):
            nginx.wait_for_reload(home.node)
        if tree.read(paths[0]) == pair["crt"]:
            installed.append(name)
    return installed
