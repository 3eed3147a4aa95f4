"""YAML, safely and with line numbers.

Reads the event stream of PyYAML's safe loader and builds plain values from it: no tags, so no object is ever constructed;
one document; no key twice; bounds on size, depth, nodes and aliases, counted while reading, so that a bomb is refused
before it unfolds. Plain scalars follow the core schema of YAML 1.2.2 (section 10.3.2), not YAML 1.1: ``no`` is a text and
``52:54:00`` is not a number.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, NoReturn

import yaml

from orchestrator.config.problems import Path, Problem, spell

MAX_BYTES = 1024 * 1024
MAX_NODES = 20_000
MAX_DEPTH = 32
MAX_ALIASES = 64
MAX_PROBLEMS = 100  # of one file; nobody reads more at once

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,18}|[0-9]{1,18}(\.[0-9]{0,18})?)([eE][-+]?[0-9]{1,3})?")
# A text that holds one of these could not be shown, logged or stored as it is.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(slots=True)
class Node:
    """One value of a file: a scalar, a list of nodes, or a mapping of key to node, and the line it begins on.

    ``key_lines`` are the lines of a mapping's keys.
    """

    line: int
    value: Any
    key_lines: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Document:
    """A file that could be read: its values, and where each of them stands."""

    file: str
    root: Node
    data: Any

    def line(self, path: Path) -> int:
        """The line of the value at ``path``, or of the nearest thing around it that is there."""
        node, line = self.root, self.root.line
        for part in path:
            if isinstance(node.value, dict) and isinstance(part, str) and part in node.value:
                line = node.key_lines[part]
                node = node.value[part]
            elif isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.line
            else:
                break
        return line

    def problem(self, path: Path, sentence: str) -> Problem:
        return Problem(self.file, self.line(path), spell(path), sentence)


class Unreadable(Exception):
    """The file cannot be used at all, or has faults that make its values doubtful; internal to this package."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems


def read_file(path: FilePath) -> Document:
    """Read one file. Raises Unreadable; never reads more than ``MAX_BYTES`` + 1 bytes, and only of a regular file."""
    file = str(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unreadable([Problem(file, 0, "", "this is not a regular file")])
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise Unreadable([Problem(file, 0, "", "the file is missing")]) from None
    except OSError as error:
        raise Unreadable([Problem(file, 0, "", f"the file cannot be read: {error.strerror}")]) from error
    return read_bytes(file, content)


def read_bytes(file: str, content: bytes) -> Document:
    """Read one document from its bytes (UTF-8). Raises Unreadable with the problems found."""
    if len(content) > MAX_BYTES:
        raise Unreadable([Problem(file, 0, "", "the file is larger than 1 MiB, which no configuration needs")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise Unreadable([Problem(file, line, "", "this is not UTF-8 text")]) from error
    builder = _Builder(file)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        sentence = f"this is not YAML: {error.problem or error.context}"
        raise Unreadable([*builder.problems, Problem(file, mark.line + 1 if mark else 0, "", sentence)]) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Unreadable([Problem(file, line, "", "this is not YAML: a character that may not stand in a text file")]) from error
    except (ValueError, OverflowError) as error:
        # PyYAML lets these through for escapes and directives with numbers that are too large.
        raise Unreadable(
            [*builder.problems, Problem(file, 0, "", "this is not YAML: a number or an escape is out of range")]
        ) from error
    if builder.root is None:
        raise Unreadable([*builder.problems, Problem(file, 0, "", "the file is empty")])
    data = _Plain(file).convert(builder.root, 0)
    if builder.problems:
        raise Unreadable(builder.problems)
    return Document(file, builder.root, data)


@dataclass(slots=True)
class _Open:
    """A list or mapping that is being read. ``key``: the key read last, waiting for its value; ``skip``: drop that value."""

    node: Node
    path: Path
    key: str | None = None
    skip: bool = False


class _Builder:
    """Takes parser events one by one. Faults that hide nothing else are gathered, the others raise Unreadable at once."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._nodes = 0
        self._aliases = 0
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 0
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._refuse(line, "a second document begins here: a file holds one")
            case yaml.AliasEvent():
                self._aliases += 1
                if self._aliases > MAX_ALIASES:
                    self._refuse(line, f"more than {MAX_ALIASES} aliases")
                anchored = self._anchors.get(event.anchor or "")
                if anchored is None:
                    self._refuse(line, f"the alias '*{event.anchor}' has no anchor before it")
                self._place(anchored, line)
            case yaml.ScalarEvent():
                self._begin(event, line, self._scalar(event, line))
            case yaml.SequenceStartEvent():
                self._open(event, line, [])
            case yaml.MappingStartEvent():
                self._open(event, line, {})
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._stack.pop()

    def _begin(self, event: yaml.NodeEvent, line: int, value: Any) -> Node:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._refuse(line, f"more than {MAX_NODES} values")
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._note(line, "tags ('!…') are not allowed")
        node = Node(line, value)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        self._place(node, line)
        return node

    def _open(self, event: yaml.NodeEvent, line: int, value: list[Node] | dict[str, Node]) -> None:
        if len(self._stack) >= MAX_DEPTH:
            self._refuse(line, f"nested deeper than {MAX_DEPTH} levels")
        path = self._path()
        self._stack.append(_Open(self._begin(event, line, value), path))

    def _place(self, node: Node, line: int) -> None:
        """Put the node where it belongs: the root, the list's next item, the mapping's next key, or that key's value."""
        if not self._stack:
            self.root = node
            return
        top = self._stack[-1]
        if isinstance(top.node.value, list):
            top.node.value.append(node)
        elif top.key is None:
            self._key(top, node, line)
        else:
            if not top.skip:
                top.node.value[top.key] = node
            top.key, top.skip = None, False

    def _key(self, top: _Open, node: Node, line: int) -> None:
        if not isinstance(node.value, str):
            self._refuse(line, "a key must be a text: put it in quotes")
        top.key = node.value
        if top.key == "<<":
            self._note(line, "merge keys ('<<') are not supported: write the keys out")
            top.skip = True
        elif top.key in top.node.key_lines:
            self._note(line, f"the key '{top.key}' is there twice (first on line {top.node.key_lines[top.key]})")
            top.skip = True
        else:
            top.node.key_lines[top.key] = line

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> Any:
        text: str = event.value
        if _UNPRINTABLE.search(text):
            self._refuse(line, "a text holds a control character or one that Unicode does not allow")
        return text if event.style is not None else _plain(text)

    def _path(self) -> Path:
        """Where the value that comes next belongs."""
        if not self._stack:
            return ()
        top = self._stack[-1]
        if isinstance(top.node.value, list):
            return (*top.path, len(top.node.value))
        return top.path if top.key is None else (*top.path, top.key)

    def _note(self, line: int, sentence: str) -> None:
        self.problems.append(Problem(self.file, line, spell(self._path()), sentence))
        if len(self.problems) >= MAX_PROBLEMS:
            raise Unreadable(self.problems)

    def _refuse(self, line: int, sentence: str) -> NoReturn:
        self._note(line, sentence)
        raise Unreadable(self.problems)


class _Plain:
    """Unfolds the nodes, aliases included, to plain values, with a bound on how many that become."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._count = 0

    def convert(self, node: Node, depth: int) -> Any:
        self._count += 1
        if self._count > MAX_NODES or depth > MAX_DEPTH:
            raise Unreadable([Problem(self._file, node.line, "", "its aliases unfold to more than a configuration can hold")])
        if isinstance(node.value, dict):
            return {key: self.convert(item, depth + 1) for key, item in node.value.items()}
        if isinstance(node.value, list):
            return [self.convert(item, depth + 1) for item in node.value]
        return node.value


def _plain(text: str) -> Any:
    """An unquoted scalar by YAML 1.2's core schema; its hexadecimal, octal and infinite numbers are texts to us."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return bool(_TRUE.fullmatch(text))
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
