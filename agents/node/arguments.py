"""What a request may hold: every field is named, typed and checked before anything is touched."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.node.protocol import AgentError

# The controller's pattern of a service id, and the names of volumes that follow from it: orch.<service>.<role>.<job>.<suffix>
SERVICE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,47}")
_GUEST = re.compile(r"orch\.[A-Za-z0-9][A-Za-z0-9_-]{0,47}")
VOLUME_NAME = re.compile(r"orch\.[A-Za-z0-9][A-Za-z0-9_-]{0,47}(\.[A-Za-z0-9_-]{1,64}){1,4}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PASSPHRASE = re.compile(r"[!-~]{16,512}")
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
FORMATS = ("qcow2", "raw")
"""Of volumes."""
CRYPTO_ERASE, OVERWRITE = METHODS = ("crypto-erase", "overwrite")
"""How volumes are wiped."""
PATH_LIMIT = 1024
LOCATIONS_LIMIT = 1000

Check = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a request. ``default`` None = required."""

    check: Check
    default: Any = None


def parse(fields: Mapping[str, Field], request: Mapping[str, Any]) -> dict[str, Any]:
    """The checked arguments. Raises AgentError (request-invalid) that names the field."""
    unknown = sorted(set(request) - set(fields))
    if unknown:
        raise AgentError("request-invalid", f"unknown field: {', '.join(unknown)[:200]}")
    arguments: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in request:
            if field.default is None:
                raise AgentError("request-invalid", f"the field '{name}' is missing")
            arguments[name] = field.default
            continue
        try:
            arguments[name] = field.check(request[name])
        except ValueError as exc:
            raise AgentError("request-invalid", f"the field '{name}' {exc}") from None
    return arguments


def _text(pattern: re.Pattern[str], what: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(f"is not {what}")
        return value

    return check


def path(value: Any) -> str:
    """An absolute path in its normal form: no '..', no '//', no trailing slash, nothing unprintable."""
    if not isinstance(value, str) or not value.startswith("/") or len(value) > PATH_LIMIT:
        raise ValueError("is not an absolute path")
    if not value.isprintable() or posixpath.normpath(value) != value or value.startswith("//"):
        raise ValueError("is not a path in its normal form")
    return value


def locations(value: Any) -> tuple[str, ...]:
    """Where repositories of backups lie, or lay: of each only its cache is known by it."""
    wrong = not isinstance(value, list) or len(value) > LOCATIONS_LIMIT
    if wrong or not all(isinstance(each, str) and each.isprintable() and len(each) <= PATH_LIMIT for each in value):
        raise ValueError(f"is not a list of at most {LOCATIONS_LIMIT} locations")
    return tuple(value)


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")
    return value


def count(lowest: int, highest: int) -> Check:
    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise ValueError(f"is not a whole number from {lowest} to {highest}")
        return value

    return check


def one_of(*choices: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"is none of {', '.join(choices)}")
        return value

    return check


service_id = _text(SERVICE_ID, "a service id")
sha256 = _text(_SHA256, "a SHA-256 in lower-case hexadecimal digits")
passphrase = _text(_PASSPHRASE, "a passphrase of 16 to 512 printable ASCII characters")
uuid = _text(_UUID, "a UUID in lower case")
guest = _text(_GUEST, "the name of a service's guest")
interface = _text(_INTERFACE, "the name of a network interface")
