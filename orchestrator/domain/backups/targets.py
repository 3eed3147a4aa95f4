"""Where repositories lie: the places that the provider has named, and the ways that lead to them.

A location is written in restic's words, without a secret: a directory, ``sftp:user@host:/directory``,
``sftp://user@host:port//directory`` or ``rest:https://host:port/name/``. Each repository lies below its target's location, by
the service and the generation that it is of. Pure; secrets are named by the files that hold them.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path

LONGEST = 900
# Below it a repository is named, and files in that: what the agent takes is longer by as much.
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_HOST = r"(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])"
_SFTP = re.compile(rf"sftp:{_NAME}@(?P<host>{_HOST}):(?P<path>/.*)")
_SFTP_URL = re.compile(rf"sftp://{_NAME}@(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?/(?P<path>/.*)")
_REST = re.compile(rf"rest:https?://(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?/(?P<path>[A-Za-z0-9_./-]*)")
_REST_WITH_USER = re.compile(r"rest:https?://[^/]*@")
_FORMS = "'/directory', 'sftp:user@host:/directory', 'sftp://user@host:port//directory' or 'rest:https://host:port/name/'"


class Kind(StrEnum):
    DIRECTORY = "directory"
    SFTP = "sftp"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class Place:
    """What a location says. ``host`` '' = whatever machine goes by it."""

    kind: Kind
    host: str = ""


def place_of(location: str) -> Place:
    """Raises ValueError with a sentence where it is none that repositories can lie below."""
    if not location.isprintable() or len(location) > LONGEST:
        raise ValueError(f"must be one line of at most {LONGEST} printable characters")
    if _REST_WITH_USER.match(location):
        raise ValueError("a user and a password do not stand in the location: name them with 'user' and 'secret_file'")
    if location.startswith("/"):
        _normal(location)
        return Place(Kind.DIRECTORY)
    if found := _SFTP.fullmatch(location) or _SFTP_URL.fullmatch(location):
        _normal(found["path"])
        _port(found.groupdict().get("port"))
        return Place(Kind.SFTP, found["host"].strip("[]"))
    if found := _REST.fullmatch(location):
        if found["path"].strip("/"):
            _normal("/" + found["path"])
        _port(found["port"])
        return Place(Kind.REST, found["host"].strip("[]"))
    raise ValueError(f"'{location[:80]}' is no place for backups: write {_FORMS}")


def _normal(path: str) -> None:
    """As the agent will have it: a path that could be read in two ways could lead to two places."""
    given = path.removesuffix("/")
    if not given or posixpath.normpath(given) != given or given.startswith("//"):
        raise ValueError(f"'{path[:80]}' is no path below /: write it without '.', '..' and '//'")


def _port(text: str | None) -> None:
    if text is not None and not 0 < int(text) < 65536:
        raise ValueError(f"'{text}' is no port between 1 and 65535")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to a target. ``user`` and what ``secret_file`` holds are a rest-server's, the SSH files are those of sftp."""

    location: str
    user: str = ""
    secret_file: Path | None = None
    ssh_key_file: Path | None = None
    ssh_known_hosts_file: Path | None = None

    @property
    def kind(self) -> Kind:
        return place_of(self.location).kind

    def to(self, service_id: str, number: int) -> str:
        """The location of one repository."""
        whole = f"{self.location.rstrip('/')}/{repository_name(service_id, number)}"
        return f"{whole}/" if self.kind is Kind.REST else whole


def repository_name(service_id: str, number: int) -> str:
    return f"{service_id}.{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A place by its name. ``way``: by which nodes reach it. ``keeper``: the controller's own way, by which alone things are
    deleted; None = the nodes' own way deletes. ``on_node``: whose disk it lies on, '' = that of no node."""

    name: str
    way: Way
    keeper: Way | None = None
    on_node: str = ""


def on_itself(location: str, *, on_node: str, node: str, address: str) -> str:
    """Why copies of the node's services would lie on the node itself; '' where they do not, as far as can be told.

    A directory is the node's own, whatever is mounted there; else the target says whose it is, or has the node's address.
    """
    place = place_of(location)
    if place.kind is Kind.DIRECTORY:
        return "a directory lies on the node itself"
    if on_node == node:
        return "it lies on a disk of the node itself"
    if _same_host(place.host, address):
        return f"{place.host} is the node itself"
    return ""


def _same_host(one: str, other: str) -> bool:
    try:
        return ip_address(one) == ip_address(other)
    except ValueError:
        return one.rstrip(".").lower() == other.rstrip(".").lower()
