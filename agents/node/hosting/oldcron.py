"""A crontab that somebody wrote by hand, as far as an account can have it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from agents.node.hosting import fields

_SETTING = re.compile(r"\s*[\"']?\w+[\"']?\s*=")
_DAYS = {name: str(number) for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_MONTHS = {
    name: str(number)
    for number, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)
}
_NAME = re.compile(r"[a-zA-Z]{3}")


@dataclass(frozen=True, slots=True)
class Line:
    schedule: str
    command: str


@dataclass(frozen=True, slots=True)
class Crontab:
    """``left``: lines that an account cannot have, as they stand there."""

    lines: list[Line] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, text: str, *, before: str, after: str) -> Crontab:
        """``before``, the home as its commands name it, is written as ``after``."""
        found = cls()
        for line in text.splitlines():
            plain = line.strip()
            if not plain or plain.startswith("#"):
                continue
            made = None if _SETTING.match(plain) else _line(plain, before, after)
            if made is None:
                found.left.append(ascii(plain)[1:-1][:200])
            else:
                found.lines.append(made)
        return found


def _line(text: str, before: str, after: str) -> Line | None:
    words = re.split(r"[ \t]+", text, maxsplit=1 if text.startswith("@") else 5)
    if len(words) < 2:
        return None
    *parts, command = words
    if len(parts) == 5:
        parts[3], parts[4] = _numbers(parts[3], _MONTHS), _numbers(parts[4], _DAYS)
    try:
        return Line(fields.schedule(" ".join(parts)), fields.command(moved(command, before, after)))
    except ValueError:
        return None


def _numbers(text: str, names: dict[str, str]) -> str:
    """Numbers in place of names of days or months."""
    return _NAME.sub(lambda found: names.get(found[0].lower(), found[0]), text)


def moved(command: str, before: str, after: str) -> str:
    """The command with the one path in the place of the other, where it stands as a whole."""
    return re.sub(rf"(?<![\w./-]){re.escape(before)}(?![\w.-])", lambda _: after, command)
