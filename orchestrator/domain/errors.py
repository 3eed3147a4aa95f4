"""Every error this software raises on purpose, with a stable code.

A code is part of the contract with operators and billing: it appears in API answers, in job rows and in logs, and is
mapped exactly once (``OUTCOMES``) to an HTTP status (RFC 9457 problem details) and to a process exit code.

Whether a failure may be retried is decided where it is raised, in a driver's translation table, and never guessed above:
only ``TransientDriverError`` is retried, and only ``Unreachable`` is waited for (``domain.absences``).
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple


class OrchestratorError(Exception):
    """Base of all our errors: a code, a sentence for a person, a hint what to do, and details that hold no secret."""

    code: ClassVar[str] = "internal-error"

    def __init__(self, message: str, *, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = details

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(OrchestratorError):
    """The configuration cannot be used; ``details['problems']`` lists every problem of every file."""

    code = "config-invalid"


class RequestError(OrchestratorError):
    """What was asked cannot be understood."""

    code = "request-invalid"


class Unauthenticated(RequestError):
    code = "unauthenticated"


class SignatureInvalid(Unauthenticated):
    """A webhook whose signature or timestamp does not hold (Standard Webhooks)."""

    code = "signature-invalid"


class Forbidden(RequestError):
    code = "forbidden"


class TooLarge(RequestError):
    code = "body-too-large"


class EventConflict(RequestError):
    """The same event id came before with another body."""

    code = "event-conflict"


class PreconditionError(OrchestratorError):
    """What was asked is understood and cannot be done in the present state: nothing was changed."""

    code = "precondition-failed"


class NotFound(PreconditionError):
    code = "not-found"


class AlreadyExists(PreconditionError):
    code = "already-exists"


class WrongState(PreconditionError):
    code = "wrong-state"


class NodeLost(WrongState):
    """An operator stated that the node never comes back: nothing is sent to it."""

    code = "node-lost"


class NoCapacity(PreconditionError):
    code = "no-capacity"


class Refused(PreconditionError):
    """Refused by a rule; the message names the rule and where it comes from."""

    code = "refused"


class FenceClosed(Refused):
    """A destructive act was stopped at the last moment: paid since the decision, held, or frozen."""

    code = "fence-closed"


class Frozen(Refused):
    """``orchestrator freeze`` is in force: nothing suspends or destroys until it is lifted."""

    code = "frozen"


class DriverError(OrchestratorError):
    """Something outside (hypervisor, node, network, disk) failed."""

    code = "driver-failed"


class TransientDriverError(DriverError):
    """May be tried again after ``retry_after`` seconds."""

    code = "driver-transient"

    def __init__(self, message: str, *, retry_after: float = 5.0, hint: str = "", **details: Any) -> None:
        super().__init__(message, hint=hint, **details)
        self.retry_after = retry_after


class Unreachable(TransientDriverError):
    """What an act is for (a node, its libvirtd or sshd, a BMC, a backup target) cannot be reached, or does not answer at all.

    ``away`` among the details names it where that is not the node that the step works on.
    """

    code = "driver-unreachable"


class PermanentDriverError(DriverError):
    """Trying again will not help."""

    code = "driver-permanent"


class WorkflowError(OrchestratorError):
    """A job could not be carried through."""

    code = "workflow-failed"


class StepFailed(WorkflowError):
    code = "step-failed"


class Stopped(StepFailed):
    """A step ended before its end, because its job is asked to stop: the job is cancelled, it did not fail."""


class UndoFailed(WorkflowError):
    code = "undo-failed"


class InDoubt(WorkflowError):
    """Neither doing nor undoing is certain: an operator has to look."""

    code = "in-doubt"


class TooMany(OrchestratorError):
    """More requests than one caller may make; there is room for another after ``retry_after`` seconds."""

    code = "too-many-requests"

    def __init__(self, message: str, *, retry_after: float, hint: str = "", **details: Any) -> None:
        super().__init__(message, hint=hint, **details)
        self.retry_after = retry_after


class StoreUnavailable(OrchestratorError):
    """The database cannot be used just now; a sender should try again."""

    code = "store-unavailable"


class Outcome(NamedTuple):
    """How one error code is shown: HTTP status (RFC 9457) and process exit code."""

    http_status: int
    exit_code: int


# Exit codes: 0 done, 1 our own fault, 2 the words or files of the call are wrong, 3 not possible in this state,
# 4 refused by a rule, 5 something outside failed, 6 an operator must look, 7 not allowed.
OUTCOMES: dict[str, Outcome] = {
    OrchestratorError.code: Outcome(500, 1),
    ConfigError.code: Outcome(500, 2),
    RequestError.code: Outcome(400, 2),
    Unauthenticated.code: Outcome(401, 7),
    SignatureInvalid.code: Outcome(401, 7),
    Forbidden.code: Outcome(403, 7),
    TooLarge.code: Outcome(413, 2),
    TooMany.code: Outcome(429, 5),
    EventConflict.code: Outcome(409, 3),
    PreconditionError.code: Outcome(409, 3),
    NotFound.code: Outcome(404, 3),
    AlreadyExists.code: Outcome(409, 3),
    WrongState.code: Outcome(409, 3),
    NodeLost.code: Outcome(409, 3),
    NoCapacity.code: Outcome(409, 3),
    Refused.code: Outcome(409, 4),
    FenceClosed.code: Outcome(409, 4),
    Frozen.code: Outcome(409, 4),
    DriverError.code: Outcome(502, 5),
    TransientDriverError.code: Outcome(503, 5),
    Unreachable.code: Outcome(503, 5),
    PermanentDriverError.code: Outcome(502, 5),
    WorkflowError.code: Outcome(500, 5),
    StepFailed.code: Outcome(500, 5),
    UndoFailed.code: Outcome(500, 6),
    InDoubt.code: Outcome(500, 6),
    StoreUnavailable.code: Outcome(503, 5),
}
