"""What of an account its customer may name: databases, hashes of their passwords, lines of cron. The agent checks the same.

Pure. Each returns what it was given where that is one, and raises RequestError where it is none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict

from orchestrator.domain.account_parts import CronLine, Database, Site
from orchestrator.domain.errors import RequestError

_DATABASE = re.compile(r"[a-z0-9_]{1,16}")
_NATIVE = re.compile(r"\*[0-9A-F]{40}")
_PHP = re.compile(r"[5-9]\.[0-9]{1,2}")
_CRON_NUMBERS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_WORDS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually", "@reboot")
_CRON_PART = re.compile(r"(\*|[0-9]{1,2}(?:-[0-9]{1,2})?)(?:/([1-9][0-9]?))?")
COMMAND_LENGTH = 1000

# A request to a node has 64 KiB (agents/node/protocol.py), and an account is told whole. So much of that may be its parts, the
# SSH keys of who may log in, and all of it together with a certificate that is installed; the rest is limits and names.
MOST_BYTES = 32 * 1024
MOST_KEY_BYTES = 24 * 1024
MOST_TOGETHER = 60 * 1024


def database_name(text: str) -> str:
    if not _DATABASE.fullmatch(text):
        raise RequestError(f"{text!r} is no name of a database", hint="1 to 16 small letters, digits and underscores")
    return text


def database_hash(text: str) -> str:
    """What MariaDB's ``SELECT PASSWORD('…')`` prints. The hash itself is in no message."""
    if not _NATIVE.fullmatch(text):
        raise RequestError(
            "a password of a database is given as its hash of mysql_native_password",
            hint="* and 40 hexadecimal digits in capitals, as SELECT PASSWORD('…') prints it; never the password",
        )
    return text


def php_version(text: str) -> str:
    """'' = files only."""
    if text and not _PHP.fullmatch(text):
        raise RequestError(f"{text!r} is no version of PHP", hint="such as 8.2; '' for files only")
    return text


def schedule(text: str) -> str:
    """Five fields of numbers, or one of cron's own words (crontab(5)); names of days and months are not taken."""
    parts = text.split(" ") if text.isascii() else []
    if text not in _CRON_WORDS and (len(parts) != len(_CRON_NUMBERS) or not all(map(_field, parts, _CRON_NUMBERS))):
        raise RequestError(
            f"{text!r} is no schedule", hint="five fields of numbers such as '*/5 * * * *', or @daily and the like"
        )
    return text


def _field(text: str, span: tuple[int, int]) -> bool:
    return all(_part(part, span) for part in text.split(","))


def _part(part: str, span: tuple[int, int]) -> bool:
    found = _CRON_PART.fullmatch(part)
    if not found:
        return False
    numbers = [] if found[1] == "*" else [int(each) for each in found[1].split("-")]
    return all(span[0] <= each <= span[1] for each in numbers) and numbers == sorted(numbers)


def command(text: str) -> str:
    """One line; it runs as the account's user, in its slice."""
    if not text.strip() or len(text) > COMMAND_LENGTH or not text.isprintable():
        raise RequestError("a command of cron is one printable line", hint=f"of at most {COMMAND_LENGTH} characters")
    return text


def login_key(line: str) -> str:
    """A public key as a node's sshd is given it: without a comment that is not printable ASCII, which says nothing to sshd."""
    return line if line.isascii() and line.isprintable() else " ".join(line.split(" ")[:2])


def parts_bytes(sites: Sequence[Site], databases: Sequence[Database], cron: Sequence[CronLine]) -> int:
    """Of these parts in a request; what is not ASCII takes several times its length there."""
    return wire_bytes([[asdict(each) for each in part] for part in (sites, databases, cron)])


def wire_bytes(plain: object) -> int:
    """Of plain JSON as a request to a node holds it."""
    return len(json.dumps(plain))
