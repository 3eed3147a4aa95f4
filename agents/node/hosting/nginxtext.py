"""What nginx serves, out of ``nginx -T``: its servers, with the files that they stand in. Nothing here is written by us."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from posixpath import normpath

_FILE = re.compile(r"^# configuration file (/.+):$", re.MULTILINE)
_PHP = re.compile(r"php(?:-fpm)?-?([5-9]\.[0-9]{1,2})")
_DEPTH = 8
_PREFIX = "/etc/nginx/"
# What our own vhosts do as well, or what says nothing of who is shown what.
_TAKEN = frozenset(
    [
        "listen",
        "server_name",
        "root",
        "index",
        "access_log",
        "error_log",
        "ssl_certificate",
        "ssl_certificate_key",
        "ssl_protocols",
        "ssl_ciphers",
        "ssl_prefer_server_ciphers",
        "ssl_session_cache",
        "ssl_session_timeout",
        "ssl_session_tickets",
        "ssl_dhparam",
        "http2",
        "charset",
        "fastcgi_pass",
        "fastcgi_param",
        "fastcgi_index",
        "fastcgi_split_path_info",
        "fastcgi_buffers",
        "fastcgi_buffer_size",
        "include",
    ]
)
_PLAIN_LOCATIONS = re.compile(r"/|~\*? \\\.php.*|~ /\\\..*")


class Unreadable(ValueError):
    """A text that is none of nginx's, or of a module with a grammar of its own."""


@dataclass(frozen=True, slots=True)
class Directive:
    """``block`` None: it ends with a semicolon."""

    words: tuple[str, ...]
    block: tuple[Directive, ...] | None = None

    @property
    def name(self) -> str:
        return self.words[0]


@dataclass(slots=True)
class Server:
    """One block. ``roots``: of itself and its locations, in their plainest form. ``more``: what it says that no vhost of ours
    does, such as who is let in."""

    file: str
    names: list[str] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)
    certificate: str = ""
    key: str = ""
    php: str = ""
    runs_php: bool = False
    passes_on: bool = False
    more: list[str] = field(default_factory=list)


def files(dump: str) -> dict[str, str]:
    """The texts of all files that nginx reads, by their paths."""
    marks = list(_FILE.finditer(dump))
    ends = [mark.start() for mark in marks[1:]] + [len(dump)]
    return {mark[1]: dump[mark.end() : end] for mark, end in zip(marks, ends, strict=True)}


def servers(texts: Mapping[str, str]) -> tuple[list[Server], list[str]]:
    """Those of HTTP; and the files that could not be read."""
    found: list[Server] = []
    trees: dict[str, tuple[Directive, ...]] = {}
    unread = []
    for path, text in texts.items():
        try:
            trees[path] = parse(text)
        except Unreadable:
            unread.append(path)
    for path, tree in trees.items():
        for each in _blocks(tree):
            found.append(Server(file=path))
            _fill(found[-1], each.block or (), trees, 0)
    return found, unread


def _blocks(tree: Sequence[Directive]) -> Iterator[Directive]:
    for each in tree:
        if each.block is not None and each.name == "server":
            yield each
        elif each.block is not None and each.name == "http":
            yield from _blocks(each.block)


def _fill(server: Server, block: Sequence[Directive], trees: Mapping[str, tuple[Directive, ...]], depth: int) -> None:
    for each in block:
        if each.name == "server_name" and depth == 0:
            server.names += each.words[1:]
        first = each.words[1] if len(each.words) > 1 else ""
        _take(server, each.name, first)
        _note(server, each)
        if each.name == "include" and depth < _DEPTH:
            for tree in _included(first, trees):
                _fill(server, tree, trees, depth + 1)
        elif each.block is not None and depth < _DEPTH:
            _fill(server, each.block, trees, depth + 1)


def _take(server: Server, name: str, first: str) -> None:
    match name:
        case "root" | "alias" if first and normpath(first) not in server.roots:
            server.roots.append(normpath(first))
        case "ssl_certificate" if not server.certificate:
            server.certificate = first
        case "ssl_certificate_key" if not server.key:
            server.key = first
        case "fastcgi_pass":
            version = _PHP.search(first)
            server.runs_php, server.php = True, server.php or (version[1] if version else "")
        case "proxy_pass" | "uwsgi_pass" | "scgi_pass" | "grpc_pass":
            server.passes_on = True


def _note(server: Server, each: Directive) -> None:
    said = " ".join(each.words)[:80]
    if each.name == "location":
        known = _PLAIN_LOCATIONS.fullmatch(" ".join(each.words[1:])) is not None
    else:
        known = each.name in _TAKEN or (each.name == "try_files" and "$uri" in each.words)
    if not known and said not in server.more:
        server.more.append(said)


def _included(pattern: str, trees: Mapping[str, tuple[Directive, ...]]) -> list[tuple[Directive, ...]]:
    whole = pattern if pattern.startswith("/") else _PREFIX + pattern
    return [tree for path, tree in trees.items() if fnmatchcase(path, whole)]


def parse(text: str) -> tuple[Directive, ...]:
    """The directives of one file. Raises Unreadable."""
    found, rest = _directives(list(_tokens(text)), 0, nested=False)
    assert rest >= 0
    return found


def _directives(tokens: Sequence[tuple[bool, str]], at: int, *, nested: bool) -> tuple[tuple[Directive, ...], int]:
    found: list[Directive] = []
    words: list[str] = []
    while at < len(tokens):
        sign, word = tokens[at]
        at += 1
        if not sign:
            words.append(word)
        elif word == "}" and nested and not words:
            return tuple(found), at
        elif word == "}" or not words:
            raise Unreadable(word)
        elif word == ";":
            found.append(Directive(tuple(words)))
            words = []
        else:
            block, at = _directives(tokens, at, nested=True)
            found.append(Directive(tuple(words), block))
            words = []
    if words or nested:
        raise Unreadable("it ends in the middle")
    return tuple(found), at


_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)|(?P<sign>[{};])|'(?P<one>(?:[^'\\]|\\.)*)'|"(?P<two>(?:[^"\\]|\\.)*)\""""
    r"""|(?P<plain>(?:\\.|\$\{[^}]*\}|[^\s{};'"\\])(?:\\.|\$\{[^}]*\}|[^\s{};\\])*)""",
    re.DOTALL,
)


def _tokens(text: str) -> Iterator[tuple[bool, str]]:
    """Whether it is a sign of the grammar, and what it says."""
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise Unreadable(text[at : at + 20])
        at = found.end()
        if found["sign"]:
            yield True, found["sign"]
        elif not found["space"]:
            said = next(each for each in (found["one"], found["two"], found["plain"]) if each is not None)
            yield False, said
