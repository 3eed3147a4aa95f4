"""Whose an account is, and what keeps two calls apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from agents.node.hosting import tree
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.people import passwd
from agents.node.place import Place
from agents.node.protocol import AgentError

_WAIT = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Written before anything of the account is made, by the job that made it. ``digest``: of the spec put in place last."""

    service_id: str
    uid: int
    job_id: str
    digest: str = ""

    def text(self) -> str:
        return json.dumps({"service_id": self.service_id, "uid": self.uid, "job_id": self.job_id, "digest": self.digest}) + "\n"


def mark(home: Home) -> Mark | None:
    """None where there is none that can be read."""
    text = tree.read(home.mark)
    try:
        found = json.loads(text or "")
        return Mark(
            service_id=str(found["service_id"]), uid=int(found["uid"]), job_id=str(found["job_id"]), digest=str(found["digest"])
        )
    except (ValueError, KeyError, TypeError):
        return None


def require_ours(home: Home, service_id: str) -> Mark:
    """The mark. Raises AgentError: not-found where there is nothing, wrong-state where it is another's or nobody's of ours."""
    found = mark(home)
    if found is None:
        if home.user in passwd(home.node) or home.mark.exists():
            raise AgentError(
                "wrong-state", f"the user {home.user} is on this node, without the controller's mark: it is left alone"
            )
        raise AgentError("not-found", f"there is no account {home.user} on this node")
    if found.service_id != service_id:
        raise AgentError("wrong-state", f"{home.user} belongs to the service {found.service_id} and not to {service_id}")
    return found


def claim(home: Home, wanted: Mark) -> Mark:
    """Take the name for a service, or find it taken: the mark, which goes on naming the job that made the account.

    Raises AgentError (wrong-state) where anything of it is somebody else's.
    """
    found = mark(home)
    if found is None:
        _require_free(home)
        tree.write(home.mark, wanted.text(), sync=True)
        return wanted
    if found.service_id != wanted.service_id:
        raise AgentError("wrong-state", f"{home.user} belongs to the service {found.service_id} and not to {wanted.service_id}")
    return found


def _require_free(home: Home) -> None:
    for user in passwd(home.node).values():
        if user.name == home.user or user.uid == home.uid:
            said = f"the user {user.name} with uid {user.uid} is on this node, without the controller's mark: it is left alone"
            raise AgentError("wrong-state", said)
    for path in (home.mark, home.chroot):
        if path.is_symlink() or path.exists():
            raise AgentError("wrong-state", f"{path} is there, and nothing of ours: it is left alone")


def require_no_wipe(home: Home) -> None:
    """For an account that is to be made: one that the job which made it began to remove again, and did not remove to its end,
    was never a customer's, and is made anew. Raises AgentError (wrong-state) where any other wipe has begun.
    """
    text = tree.read(home.wiping)
    if text is None:
        return
    begun = dict(json.loads(text))
    if begun["job_id"] != begun["made_by"]:
        raise AgentError("wrong-state", f"{home.user} is being wiped: nothing is made of it any more")
    tree.remove(home.wiping)


def settle(home: Home, wanted: Mark) -> None:
    """Note that the spec is in place."""
    tree.write(home.mark, wanted.text())


@contextmanager
def account_lock(node: Node, user: str, *, wait: float = _WAIT) -> Iterator[None]:
    with replace(node.place, lock_wait=wait).lock(f"account {user}"):
        yield


@contextmanager
def node_lock(place: Place, what: str) -> Iterator[None]:
    """One at a time for what all accounts share: users, nginx, systemd."""
    with replace(place, lock_wait=_WAIT).lock(f"hosting {what}"):
        yield
