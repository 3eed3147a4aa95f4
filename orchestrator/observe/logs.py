"""Structured logs: one JSON object a line, on standard error, with nothing secret in it.

Fields given as ``extra={...}`` stand beside ``message``. What ``about`` is told stands on every line below it, also on those of
drivers, who know of no jobs. Values are redacted by the name of their key, and known shapes of
secrets (webhook secrets, bearer tokens, private keys) also inside sentences and tracebacks.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TextIO

REDACTED = "[redacted]"
# At the end of the key, so that secret_uuid or body_sha256, which are none, can be read.
_SECRET_KEY = re.compile(
    r"(^|_|-)(passwords?|passwd|passphrase|secrets?|tokens?|authorization|cookies?|credentials?"
    r"|(private|api|master|secret)[_-]?key|body)([_-](hash|value|text|hex|b64|base64))?$",
    re.IGNORECASE,
)
_SECRET_TEXT = (
    re.compile(r"whsec_[A-Za-z0-9+/=_-]+"),
    re.compile(r"(?<=[Bb]earer )[A-Za-z0-9._~+/=-]+"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    # crypt(5) hashes
    re.compile(r"\$(?:y|gy|7|2[aby]|6|5)\$[./A-Za-z0-9$=,]{8,}"),
    # hashes of mysql_native_password, which have no salt
    re.compile(r"\*[0-9A-Fa-f]{40}(?![0-9A-Fa-f])"),
    # the userinfo of a database URL
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
)
# The logger of drivers/calls.py. Each node is asked something every minute: what no job asks for is said at debug only.
_CALLS = "orchestrator.calls"
_about: ContextVar[Mapping[str, Any]] = ContextVar("about", default=MappingProxyType({}))
# What logging itself puts on a record; everything else came in by ``extra``.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def redact(value: Any, *, key: str = "") -> Any:
    """``value`` in JSON types, without what is secret by the name of its key or by its shape."""
    if key and _SECRET_KEY.search(key) and value not in ("", None):
        return REDACTED
    if isinstance(value, Mapping):
        return {str(k): redact(v, key=str(k)) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    return redact_text(str(value))


def redact_text(text: str) -> str:
    for shape in _SECRET_TEXT:
        text = shape.sub(REDACTED, text)
    return text


@contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Put these on every line that this thread logs inside of the block, beside those that are there already."""
    before = _about.set({**_about.get(), **fields})
    try:
        yield
    finally:
        _about.reset(before)


def _said(record: logging.LogRecord) -> bool:
    return record.name != _CALLS or bool(_about.get()) or logging.getLogger().isEnabledFor(logging.DEBUG)


class JsonFormatter(logging.Formatter):
    """``{"at", "level", "logger", "message", …extra, "exception"}``; ``at`` is UTC, ISO 8601."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact_text(record.getMessage()),
        }
        for name, value in {**_about.get(), **vars(record)}.items():
            if name not in _STANDARD and name not in line:
                line[name] = redact(value, key=name)
        if record.exc_info:
            line["exception"] = redact_text(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str, allow_nan=True)


def setup(*, level: str = "info", stream: TextIO | None = None) -> logging.Handler:
    """Send every logger's records through one JSON handler on the root logger; returns it. Repeatable."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.set_name("orchestrator-json")
    handler.addFilter(_said)
    root = logging.getLogger()
    for old in [h for h in root.handlers if h.get_name() == "orchestrator-json"]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    # Libraries speak of every connection at info; ours is the story that operators read.
    for noisy in ("paramiko", "uvicorn", "uvicorn.error", "uvicorn.access", "httpx", "httpcore", "alembic", "dbos"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return handler
