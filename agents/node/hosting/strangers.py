"""Users of this node that somebody made by hand: who of them may be adopted into an account, and what of his is which site."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from agents.node.call import Call
from agents.node.hosting import fields, people, tree
from agents.node.hosting.layout import GROUP, WEB_USER, Node
from agents.node.hosting.spec import Adoption
from agents.node.protocol import AgentError

LOWEST_UID, HIGHEST_UID = 1000, 59_999
"""Those that Debian gives to people (adduser.conf)."""

_HOMES = ("/home", "/var/www", "/srv", "/opt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """``gids``: of all groups that he is in. ``web_uid``: whose his programs' files are where they run as the web server."""

    name: str
    uid: int
    home: str
    gids: frozenset[int]
    web_uid: int
    web_gid: int


def adoption_of(call: Call) -> Adoption:
    asked: Adoption = call.arguments["adoption"]
    return asked


# -- who ---------------------------------------------------------------------------------------------------------------------


def stranger(node: Node, name: str) -> Stranger:
    """Raises AgentError: not-found, refused."""
    known = people.passwd(node)
    found = known.get(name)
    if found is None:
        raise AgentError("not-found", f"there is no user {name} on this node")
    groups = people.groups(node)
    ours = fields.USER.fullmatch(name) or found.uid >= fields.LOWEST_UID or name in groups.get(GROUP, (0, ()))[1]
    if ours:
        raise AgentError("refused", f"{name} is an account already, and no user that somebody made by hand")
    if not LOWEST_UID <= found.uid <= HIGHEST_UID:
        said = f"{name} has uid {found.uid}: that is a user of the system ({LOWEST_UID} to {HIGHEST_UID} are people)"
        raise AgentError("refused", said)
    twins = sorted(each.name for each in known.values() if each.uid == found.uid and each.name != name)
    if twins:
        raise AgentError("refused", f"{name} has its uid together with {', '.join(twins)}: whose a file is cannot be told")
    _require_home(node, found)
    lodgers = sorted(u.name for u in known.values() if u.name != name and f"{u.home}/".startswith(f"{found.home}/"))
    if lodgers:
        raise AgentError("refused", f"{', '.join(lodgers)} lives in {found.home} as well: it is not {name}'s alone")
    web = known.get(WEB_USER)
    gids = {found.gid} | {gid for gid, members in groups.values() if name in members}
    return Stranger(
        name=name,
        uid=found.uid,
        home=found.home,
        gids=frozenset(gids),
        web_uid=web.uid if web else found.uid,
        web_gid=web.gid if web else found.gid,
    )


def _require_home(node: Node, found: people.User) -> None:
    home = found.home
    above, _, last = home.rpartition("/")
    inside = any(above == each or above.startswith(f"{each}/") for each in _HOMES)
    if not inside or not last or os.path.normpath(home) != home or f"{home}/".startswith("/srv/h/"):
        raise AgentError("refused", f"the home of {found.name} is {home}: it is not one below {', '.join(_HOMES)}")
    path = node.under(home.lstrip("/"))
    if path.is_symlink() or path.resolve() != node.place.root.resolve() / home.lstrip("/"):
        raise AgentError("refused", f"{home} is a link, or lies behind one: it is {path.resolve()}")
    try:
        status = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        raise AgentError("not-found", f"{found.name} has no home: there is no {home}") from None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (0, found.uid):
        raise AgentError("refused", f"{home} is no directory of {found.name}: it belongs to uid {status.st_uid}")


def site_roots(who: Stranger, adoption: Adoption) -> dict[str, str]:
    """The site of each directory, which is told relative to the home ('' = the home itself). Raises AgentError."""
    found: dict[str, str] = {}
    with tree.opened(who.home) as top:
        for name, root in adoption.sites:
            plain = os.path.normpath(root)
            if plain != who.home and not plain.startswith(f"{who.home}/"):
                raise AgentError("refused", f"{root}, of the site {name}, does not lie in {who.home}")
            below = plain.removeprefix(who.home).lstrip("/")
            try:
                os.close(tree.open_beneath(top, below or "."))
            except OSError as exc:
                hint = f"name the directory that it leads to: {os.path.realpath(plain)}"
                said = f"{root}, of the site {name}, is no directory that is reached without a link: {exc.strerror}"
                raise AgentError("refused", said, hint=hint) from None
            if below in found:
                raise AgentError("refused", f"{root} is named for two sites, {found[below]} and {name}")
            found[below] = name
    return found
