"""How the agent speaks: one request in, lines of progress and one last line out.

Lines are JSON objects: ``{"progress": {"fraction": 0..1, "message": …}}`` any number of times, then exactly one
``{"result": {…}}`` or ``{"error": {"code", "message", "hint", "details"}}``. The codes are the controller's own.
"""

from __future__ import annotations

import json
import time
from typing import Any, BinaryIO

REQUEST_LIMIT = 64 * 1024
"""Bytes of a request; none of ours comes near."""

LINE_LIMIT = 4 * 1024 * 1024
"""Bytes of one line of output. A result beyond it is an error, never cut."""

PROGRESS_INTERVAL = 0.5
"""Seconds between two lines of progress: a slow reader must not hold up the work."""

# Same meaning as the controller's: 2 the words of the call, 3 not in this state, 4 a rule, 5 something outside,
# 6 a person must look, 1 our fault.
EXIT_CODES = {
    "request-invalid": 2,
    "not-found": 3,
    "already-exists": 3,
    "wrong-state": 3,
    "no-capacity": 3,
    "refused": 4,
    "driver-transient": 5,
    "driver-permanent": 5,
    "in-doubt": 6,
    "internal-error": 1,
}


class AgentError(Exception):
    """An error with one of the codes in ``EXIT_CODES``, a sentence, a hint what to do, and details that hold no secret."""

    def __init__(self, code: str, message: str, *, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details = details


class Speaker:
    """Writes the lines. Where the reader went away, BrokenPipeError ends the call, but not a ``lasting`` one: what that has
    begun is brought to its end and kept on record."""

    def __init__(self, stream: BinaryIO) -> None:
        self.lasting = False
        self._stream = stream
        self._next = 0.0
        self._gone = False

    def progress(self, fraction: float, message: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PROGRESS_INTERVAL
            self._line({"progress": {"fraction": round(min(1.0, max(0.0, fraction)), 4), "message": message}})

    def result(self, value: dict[str, Any]) -> None:
        self._line({"result": value})

    def error(self, error: AgentError) -> None:
        self._line(
            {"error": {"code": error.code, "message": error.message, "hint": error.hint, "details": error.details}},
        )

    def _line(self, value: dict[str, Any]) -> None:
        line = json.dumps(_readable(value), separators=(",", ":")).encode() + b"\n"
        if len(line) > LINE_LIMIT:
            raise AgentError("driver-permanent", f"the answer has {len(line)} bytes, more than {LINE_LIMIT}")
        if self._gone:
            return
        try:
            self._stream.write(line)
            self._stream.flush()
        except BrokenPipeError:
            if not self.lasting:
                raise
            self._gone = True


def _readable(value: Any) -> Any:
    """``value`` with every text as something that can be written down anywhere.

    A name of a file or process may be any bytes; those that are not UTF-8 come as lone surrogates out of the system's
    calls (os.fsdecode), which no JSON text should hold (RFC 8259 section 8.2): they are told as ``\\xff``.
    """
    if isinstance(value, str):
        try:
            data = value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # another surrogate: not from a name, but out of a request
            data = value.encode("utf-8", "backslashreplace")
        return data.decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {_readable(key): _readable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_readable(each) for each in value]
    return value


def read_request(stream: BinaryIO) -> dict[str, Any]:
    """The request; an empty input counts as ``{}``. Raises AgentError (request-invalid)."""
    data = stream.read(REQUEST_LIMIT + 1)
    if len(data) > REQUEST_LIMIT:
        raise AgentError("request-invalid", f"the request is larger than {REQUEST_LIMIT} bytes")
    if not data.strip():
        return {}
    try:
        value = json.loads(data.decode())
    except (ValueError, RecursionError) as exc:
        raise AgentError("request-invalid", f"the request is not JSON: {exc}") from None
    if not isinstance(value, dict):
        raise AgentError("request-invalid", "the request is not a JSON object")
    return value
