"""A dump on its way into an account's database: what in it speaks of other logins and other databases is put right.

A dump, also one that came from a stranger, is loaded with the rights of its account alone: that, and not this, is what keeps it
from everything else. Here only that is changed which those rights would refuse though nothing is wrong with it: that a view or
routine runs as a login of the server where the dump was made, and that it names the database that it was made of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from agents.node.protocol import AgentError

PIECE = 1 << 20
"""Bytes of a line that are looked at together; one that is longer comes in parts."""

# Up to the next thing that matters: whole quoted texts are passed by, and so is all that begins no comment and no DEFINER.
# Without possessive quantifiers, which match wrongly in Debian 12's Python (3.11.2, python/cpython#106052): as these patterns
# match anything, also nothing, they are never tried twice.
_PLAIN = re.compile(
    rb"(?:[^'\"`#/\-Dd]+|'[^'\\]*(?:\\.[^'\\]*)*'|\"[^\"\\]*(?:\\.[^\"\\]*)*\"|`[^`]*`"
    rb"|-(?!-[ \t\r\n])|/(?!\*(?!!|M!))|[Dd](?![Ee][Ff][Ii][Nn][Ee][Rr]\b))*",
    re.DOTALL,
)
_REST_OF = {
    b"'": re.compile(rb"[^'\\]*(?:\\.[^'\\]*)*", re.DOTALL),
    b'"': re.compile(rb"[^\"\\]*(?:\\.[^\"\\]*)*", re.DOTALL),
    b"`": re.compile(rb"[^`]*", re.DOTALL),
}
_NAME = rb"(?:`(?:[^`]|``)+`|[\w$-]+)"
_LOGIN = rb"(?:`[^`]*`|'[^']*'|\"[^\"]*\"|[\w$.%-]+)"
_DEFINER = re.compile(rb"definer\s*=\s*" + _LOGIN + rb"(?:\s*@\s*" + _LOGIN + rb")?", re.IGNORECASE)
_LETTER = re.compile(rb"[\w$]")
_OURS = b"DEFINER=CURRENT_USER"

_USE = re.compile(rb"\s*use\s+(" + _NAME + rb")\s*;?\s*", re.IGNORECASE)
_OTHER = re.compile(
    rb"/\*M?!999999\\- [^\n]*\n?"  # how newer dumps ask the client not to run programs: it is told so anyway
    rb"|\s*create\s+(?:database|schema)\b[^;]*;\s*"
    rb"|\s*(?:/\*!\d+\s+)?drop\s+(?:database|schema)\b[^;]*;\s*"
    rb"|\s*set\s+@@(?:session\.sql_log_bin|global\.gtid_purged)\b[^;]*;\s*",
    re.IGNORECASE,
)
_ALTER = re.compile(
    rb"(\s*alter\s+(?:database|schema)\s+)(?!character\b|charset\b|default\b|collate\b)" + _NAME + rb"(?=\s)", re.IGNORECASE
)


class Dump:
    """The text of one dump, piece by piece. ``databases``: those that it said to use, so far."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._within = b""  # what is open at the end of a piece: a quote, '*' of a comment, '-' of the rest of a line
        self._escaped = False
        self.databases: list[bytes] = []

    def pieces(self) -> Iterator[bytes]:
        """Line for line, so that what the server says of a line is true of the file. Raises AgentError (refused)."""
        begins = True
        while piece := self._stream.readline(PIECE):
            yield self._line(piece) if begins and not self._within else self._text(piece, 0)
            begins = piece.endswith(b"\n")

    def _line(self, piece: bytes) -> bytes:
        used = _USE.fullmatch(piece)
        if used:
            self._use(used[1])
        if used or _OTHER.fullmatch(piece):
            return b"\n"
        return self._text(_ALTER.sub(rb"\1", piece, count=1) if _ALTER.match(piece) else piece, 0)

    def _use(self, name: bytes) -> None:
        if name not in self.databases:
            self.databases.append(name)
        if len(self.databases) > 1:
            told = " and ".join(each.decode(errors="replace") for each in self.databases)
            raise AgentError("refused", f"the dump is of several databases, {told}", hint="make a dump of each of them")

    def _text(self, piece: bytes, at: int) -> bytes:
        out: list[bytes] = []
        end = len(piece)
        if self._within:
            at = self._close(piece)
            out.append(piece[:at])
        while at < end:
            stop = _passed(_PLAIN, piece, at)
            out.append(piece[at:stop])
            at = stop
            if at == end:
                break
            found = _DEFINER.match(piece, at)
            if found and not _LETTER.match(piece, max(at - 1, 0), at):
                out.append(_OURS)
                at = found.end()
            elif piece[at] in b"Dd":
                out.append(piece[at : at + 1])
                at += 1
            else:
                stop = self._open(piece, at)
                out.append(piece[at:stop])
                at = stop
        return b"".join(out)

    def _open(self, piece: bytes, at: int) -> int:
        """A quote that is not closed in this piece, or a comment; where it ends, or the piece."""
        first = piece[at : at + 1]
        if first in _REST_OF:
            self._within = first
            return self._close(piece, at + 1)
        self._within = b"*" if first == b"/" else b"-"
        return self._close(piece, at + 2 if first == b"/" else at)

    def _close(self, piece: bytes, at: int = 0) -> int:
        """Behind the end of what is open, or the end of the piece."""
        if self._within == b"-":
            if piece.endswith(b"\n"):
                self._within = b""
            return len(piece)
        if self._within == b"*":
            stop = piece.find(b"*/", at)
            if stop < 0:
                return len(piece)
            self._within = b""
            return stop + 2
        if self._escaped:
            at, self._escaped = at + 1, False
        stop = _passed(_REST_OF[self._within], piece, at)
        if piece[stop : stop + 1] == self._within:
            self._within = b""
            return stop + 1
        self._escaped = stop < len(piece)  # a backslash as the last of a part
        return len(piece)


def _passed(pattern: re.Pattern[bytes], piece: bytes, at: int) -> int:
    """Behind what the pattern matches from there on; of nothing, too."""
    found = pattern.match(piece, at)
    return found.end() if found else at
