"""What of an account is restored, and onto what: all of it, or single paths and databases; and where they stand in a snapshot.

Pure. A guest is one disk, of which no parts can be had.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.domain.account_checks import wire_bytes
from orchestrator.domain.errors import RequestError
from orchestrator.domain.intents import Refusal
from orchestrator.domain.kept import BESIDE, DISK, HOME, ROLE
from orchestrator.domain.plans import PlanKind

RULE_PARTS = "what of a service can be restored"
# The arguments of a job: paths from the root of the snapshot (none = all that is sold), whether databases are loaded and which
# (none = all of them), and whether what is newer than the backup goes.
ONLY, LOAD, DATABASES, DELETE = "only", "load", "databases", "delete"
MOST_PATHS = 100
# What the node's agent takes: it is told when the account is closed already, and nothing is to be wrong with it then. A request
# has 64 KiB there (agents/node/protocol.py), of which the paths may be so many.
_MOST_BYTES = 32 * 1024
_LONGEST = 1024
# The directories of a snapshot of an account.
_HOME, _PACK = "/home", "/backup"
_DATABASE = re.compile(r"[a-z0-9_]{1,16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """``paths``: inside the home; ``databases``: by their names in the account. Where neither is named all is restored, where one
    is only that. ``load``: databases, too, where none is named. ``delete``: what is there and not in the backup goes."""

    paths: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    load: bool = True
    delete: bool = False

    @property
    def named(self) -> bool:
        return bool(self.paths or self.databases or self.delete or not self.load)


ALL = Parts()


def refuses(parts: Parts, *, kind: str, beside: bool) -> Refusal | None:
    """Why these parts are not restored of a service of this kind; None where they are. Raises RequestError for what is none."""
    if kind != PlanKind.HOSTING:
        if not parts.named or kind == PlanKind.DEDICATED:  # nothing of a machine is restored, parts of it or all
            return None
        return _refusal("a guest is restored whole: single paths and databases, and what is newer than they, are an account's")
    _require_told(parts)
    if parts.databases and not parts.load:
        return _refusal("databases are named, and none is to be loaded")
    if beside and (parts.delete or parts.databases):
        what = "what is newer goes" if parts.delete else "databases are loaded"
        return _refusal(f"beside the home nothing is changed: {what} in place only (the dumps of all databases stand beside it)")
    if parts.delete and parts.databases and not parts.paths:
        return _refusal("only databases are named: each is what the backup has of it anyway, and no file is deleted")
    return None


def _require_told(parts: Parts) -> None:
    """Raises RequestError for what the node would not take."""
    if len(parts.paths) > MOST_PATHS:
        raise RequestError(f"at most {MOST_PATHS} paths are restored at a time")
    for path in parts.paths:
        _inside_home(path)
    if wire_bytes(parts.paths) > _MOST_BYTES:
        raise RequestError(f"the paths have more than {_MOST_BYTES} bytes together", hint="a directory that holds them")
    for name in parts.databases:
        if not _DATABASE.fullmatch(name):
            raise RequestError(f"{name!r} is no name of a database in an account", hint="such as main, without its user")


def arguments(parts: Parts, *, kind: str, beside: bool) -> dict[str, object]:
    """Of its job, for what ``refuses`` does not."""
    if kind != PlanKind.HOSTING:
        return {ROLE: BESIDE if beside else DISK}
    load = bool(parts.databases) or (parts.load and not parts.paths)
    return {
        ROLE: BESIDE if beside else HOME,
        ONLY: _only(parts, load=load),
        LOAD: load and not beside,
        DATABASES: list(parts.databases),
        DELETE: parts.delete,
    }


def same(given: Mapping[str, object], wanted: Mapping[str, object]) -> bool:
    """Whether the arguments of a job say what is wanted."""
    return all(given.get(key) == value for key, value in wanted.items())


def _only(parts: Parts, *, load: bool) -> list[str]:
    paths = [f"{_HOME}/{_inside_home(path)}" for path in parts.paths]
    if not paths and not parts.databases:
        paths = [_HOME]
    return [*paths, _PACK] if load else paths


def _inside_home(path: str) -> str:
    """As it stands in the snapshot, below the home. Raises RequestError."""
    inner = path.strip("/")
    apart = any(part in ("", ".", "..") for part in inner.split("/"))
    if apart or "\0" in path or len(f"{_HOME}/{inner}") > _LONGEST:
        raise RequestError(f"{path[:80]!r} is no path inside the home", hint="such as sites/main/public, without '.' and '..'")
    if not inner.isprintable():
        raise RequestError(f"{path[:80]!r} holds what cannot be printed", hint="name the directory that holds it")
    return inner


def _refusal(reason: str) -> Refusal:
    return Refusal(reason=f"restore refused: {reason}", rule=RULE_PARTS)
