"""A repository as a request names it: where it is, and the secrets that open it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.node import arguments as a
from agents.node.arguments import Field, parse
from agents.node.protocol import AgentError

LOCAL, SFTP, REST = "local", "sftp", "rest"
SECRET_LIMIT = 4096
KEY_LIMIT = 16 * 1024

# sftp:user@host:/dir, or with a port: sftp://user@host:port//dir (restic's manual, "Preparing a new repository").
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_HOST = r"(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])"
_SFTP = re.compile(rf"sftp:(?P<user>{_NAME})@(?P<host>{_HOST}):(?P<path>/.*)")
_SFTP_URL = re.compile(rf"sftp://(?P<user>{_NAME})@(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?/(?P<path>/.*)")
_REST = re.compile(rf"rest:(?P<scheme>https?)://(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?/(?P<path>[A-Za-z0-9_./-]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """``location`` in restic's words, without any secret. ``login`` and ``secret`` are those of a rest-server; ``ssh_key`` and
    ``ssh_known_hosts`` hold the text of such files."""

    location: str
    kind: str
    user: str = ""
    host: str = ""
    port: int = 0
    path: str = ""
    scheme: str = ""
    password: str = field(repr=False)
    login: str = ""
    secret: str = field(default="", repr=False)
    ssh_key: str = field(default="", repr=False)
    ssh_known_hosts: str = field(default="", repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must stand in nothing that is written down."""
        return tuple(word for word in (self.password, self.secret) if word)


def repository(value: Any) -> Repository:
    """The checked field ``repository`` of a request. Raises ValueError."""
    if not isinstance(value, Mapping):
        raise ValueError("is not an object")
    try:
        given = parse(_FIELDS, value)
    except AgentError as exc:
        raise ValueError(f"cannot be used: {exc.message}") from None
    return Repository(
        **_place(given["location"]),
        password=given["password"],
        login=given["user"],
        secret=given["secret"],
        ssh_key=given["ssh_key"],
        ssh_known_hosts=given["ssh_known_hosts"],
    )


def _place(location: str) -> dict[str, Any]:
    if location.startswith("/"):
        return {"location": location, "kind": LOCAL, "path": a.path(location)}
    if found := _REST.fullmatch(location):
        if not found["path"].endswith("/") or "//" in found["path"] or ".." in found["path"].split("/"):
            raise ValueError("has a location whose path does not end with / or is not in its normal form")
        port = int(found["port"] or (443 if found["scheme"] == "https" else 80))
        return {"location": location, "kind": REST, **found.groupdict(), "port": port}
    if found := _SFTP.fullmatch(location) or _SFTP_URL.fullmatch(location):
        words = found.groupdict()
        return {"location": location, "kind": SFTP, **words, "path": a.path(words["path"]), "port": int(words.get("port") or 22)}
    raise ValueError("has a location that is no directory, no sftp:user@host:/directory and no rest:http(s)://host:port/name/")


def _line(limit: int) -> a.Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > limit or not value.isprintable():
            raise ValueError(f"is not a line of at most {limit} printable characters")
        return value

    return check


def _text(limit: int) -> a.Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > limit or "\0" in value:
            raise ValueError(f"is not a text of at most {limit} characters")
        return value

    return check


def _password(value: Any) -> str:
    word: str = _line(SECRET_LIMIT)(value)
    if not word:
        raise ValueError("is empty")
    return word


def _location(value: Any) -> str:
    location: str = _line(a.PATH_LIMIT)(value)
    _place(location)
    return location


_FIELDS = {
    "location": Field(_location),
    "password": Field(_password),
    "user": Field(_line(SECRET_LIMIT), ""),
    "secret": Field(_line(SECRET_LIMIT), ""),
    "ssh_key": Field(_text(KEY_LIMIT), ""),
    "ssh_known_hosts": Field(_text(KEY_LIMIT), ""),
}
