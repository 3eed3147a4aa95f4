"""What was decided: the value between an event (or a deadline, or an operator's command) and a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from orchestrator.domain.services import Service

# The rules that refusals name.
RULE_LIFECYCLE = "lifecycle of a service"
RULE_HOLDS = "holds"
RULE_VOCABULARY = "vocabulary of events, version 1"
# The argument of a termination that carries a cancellation out: that one's token.
CANCELLATION = "cancellation"


class IntentKind(StrEnum):
    """What is to happen to a service. The playbook of an intent is ``<PlanKind.playbooks>-<intent>``, e.g. ``vps-provision``."""

    PROVISION = "provision"
    START = "start"
    STOP = "stop"
    REBOOT = "reboot"
    SUSPEND = "suspend"
    UNSUSPEND = "unsuspend"
    LIMIT = "limit"
    UNLIMIT = "unlimit"
    CHANGE_PLAN = "change-plan"
    RESET_PASSWORD = "reset-password"  # noqa: S105 - the name of an intent
    SET_KEYS = "set-keys"  # who may log in to a guest by SSH
    SET_MAIL = "set-mail"  # whether a guest may send to port 25 of others
    TERMINATE = "terminate"
    ERASE = "erase"
    REACTIVATE = "reactivate"
    CHECK = "check"
    BACKUP = "backup"
    RESTORE = "restore"
    DRILL = "drill"
    SET_ACCOUNT = "set-account"  # sites, databases, cron and certificates of a hosting account
    IMPORT = "import"  # a hosting account moves in from a tarball
    ADOPT = "adopt"  # a hosting account takes in what lives on its node already
    TIDY = "tidy"  # wipe volumes that were kept beside the disk, whose time is over
    MOVE = "move"  # a guest to another node; its old disk is wiped
    RECOVER = "recover"  # a guest of a lost node is brought up on another one, out of a backup
    REINSTALL = "reinstall"  # install the system of a guest or a machine anew
    RESCUE = "rescue"  # boot a machine into a system in its memory
    LEAVE_RESCUE = "leave-rescue"
    TEST_HARDWARE = "test-hardware"  # memory and disks of a machine

    @property
    def destructive(self) -> bool:
        """Held back by ``orchestrator freeze``. Limiting neither stops nor destroys."""
        return self == IntentKind.SUSPEND or self.wipes

    @property
    def wipes(self) -> bool:
        """It destroys what the customer has, or has had in another place, and from some moment on can only go on; the service may
        live on."""
        return self in (IntentKind.REINSTALL, IntentKind.MOVE) or self.ends

    @property
    def ends(self) -> bool:
        """It destroys the customer's data, or the last copy of it: from some moment on there is no way back."""
        return self in (IntentKind.TERMINATE, IntentKind.ERASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """Do this to the service. ``payments`` is the service's payment count at the decision, for the fence."""

    kind: IntentKind
    service_id: str
    reason: str
    asked_by: str
    payments: int = 0
    arguments: dict[str, object] = field(default_factory=dict)

    @classmethod
    def on(
        cls, kind: IntentKind, service: Service, *, reason: str, who: str, arguments: Mapping[str, object] | None = None
    ) -> Self:
        """``arguments`` as ``decisions.command`` takes them, so that the same can be decided again, and what playbooks read."""
        given = dict(arguments or {})
        return cls(kind=kind, service_id=service.id, reason=reason, asked_by=who, payments=service.payments, arguments=given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """Nothing is to be done, and why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """It will not be done; the rule that says so and where the rule comes from."""

    reason: str
    rule: str


Decision = Intent | Nothing | Refusal


class JobState(StrEnum):
    WAITING_APPROVAL = "waiting_approval"
    QUEUED = "queued"
    RUNNING = "running"
    UNDOING = "undoing"
    DONE = "done"
    FAILED = "failed"
    NEEDS_OPERATOR = "needs_operator"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


class StepState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNDOING = "undoing"
    UNDONE = "undone"
    UNDO_FAILED = "undo_failed"
