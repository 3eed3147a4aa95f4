"""What the agent on a node answers, whichever way it is called: lines of progress, then a result or an error of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.domain import errors
from orchestrator.domain.errors import OrchestratorError, PermanentDriverError, TransientDriverError, Unreachable
from orchestrator.drivers.words import plain_json
from orchestrator.ports.node_transport import Progress

# The errors that an agent may report; any other code is one we do not know, which is never tried again.
REPORTED: dict[str, type[OrchestratorError]] = {
    kind.code: kind
    for kind in (
        errors.RequestError,
        errors.NotFound,
        errors.AlreadyExists,
        errors.WrongState,
        errors.NoCapacity,
        errors.Refused,
        errors.TransientDriverError,
        errors.PermanentDriverError,
        errors.InDoubt,
    )
}

# Where a node's agent says so in its details, it is the backup target that it did not reach.
NOT_REACHED = "network"
BACKUP_TARGET = "the backup target"

UNKNOWN = "unknown command"
"""How an agent's answer begins that does not know what it was asked for."""

# What our errors are made with; a detail of such a name would take its place.
_OWN_WORDS = frozenset({"self", "message", "hint", "node", "retry_after"})


@dataclass(frozen=True, slots=True)
class Completed:
    """``status`` is the exit status; -1 where a signal ended the program or none was sent. ``stderr`` is its end at most,
    with what would steer a terminal escaped."""

    status: int
    stdout: bytes
    stderr: str


class LineReader:
    """Takes the agent's output as it comes: hands progress on, keeps the last line that is a result or an error.

    Nothing that a node says is taken as it is: what could not be written down or would steer a terminal is escaped.
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self._rest = b""
        self.final: dict[str, Any] | None = None
        self.garbled = False

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)

    def end(self) -> None:
        """What stands after the last line break is no line: the answer was cut off."""
        if self._rest.strip():
            self.garbled = True

    def _line(self, line: bytes) -> None:
        try:
            value = plain_json(line)
        except (ValueError, RecursionError):
            self.garbled = True
            return
        if not isinstance(value, dict) or not value:
            self.garbled = True
        elif "progress" in value:
            self._report(value["progress"])
        else:
            self.final = value

    def _report(self, said: object) -> None:
        if self._progress is None or not isinstance(said, dict):
            return
        fraction, message = said.get("fraction"), said.get("message")
        if isinstance(fraction, int | float) and isinstance(message, str):
            self._progress(float(min(1, max(0, fraction))), message[:500])


def outcome(reader: LineReader, done: Completed, *, node: str) -> dict[str, Any]:
    """The result, or raises what the agent reported or what is wrong with its answer."""
    reader.end()
    final = reader.final or {}
    if isinstance(final.get("error"), dict):
        raise reported(final["error"], node=node)
    if isinstance(final.get("result"), dict) and done.status == 0 and not reader.garbled:
        result: dict[str, Any] = final["result"]
        return result
    if done.status == -1:
        raise TransientDriverError(f"the agent on {node} was ended before it answered", node=node)
    said = done.stderr.strip().splitlines()
    reason = said[-1][:300] if said else "no reason given"
    raise PermanentDriverError(f"the agent on {node} gave no answer (exit status {done.status}): {reason}", node=node)


def reported(error: Mapping[str, Any], *, node: str) -> OrchestratorError:
    """The error of the same code as the agent's, with its message, hint and details."""
    kind = REPORTED.get(str(error.get("code")), PermanentDriverError)
    details = error.get("details")
    safe: dict[str, Any] = {}
    if isinstance(details, dict):
        safe = {str(key): value for key, value in details.items() if key not in _OWN_WORDS}
    if kind is TransientDriverError and safe.get("reason") == NOT_REACHED:
        kind, safe = Unreachable, safe | {"away": BACKUP_TARGET}
    message, hint = str(error.get("message", "no reason given")), str(error.get("hint", ""))
    if message.startswith(UNKNOWN):
        hint = "its agent is older than this controller: enrol the node again"
    return kind(message, hint=hint, node=node, **safe)
