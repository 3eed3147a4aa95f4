"""The rule behind the fence, as a table. What an implementation makes of it is in tests/contract/fence.py."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestrator.domain.fence import BELONGS, closed
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PAID = "it was paid since the job was decided"


def held(reason: HoldReason, effect: HoldEffect) -> Hold:
    return Hold(reason=reason, effect=effect, by="anna", why="said so", since=NOW)


DEBT = held(HoldReason.NONPAYMENT, HoldEffect.STOP)
ABUSE = held(HoldReason.ABUSE, HoldEffect.STOP)
KEEP = held(HoldReason.DISPUTE, HoldEffect.NO_ERASE)
LEGAL = held(HoldReason.LEGAL, HoldEffect.NONE)


@pytest.mark.parametrize(
    ("kind", "state", "holds", "payments", "says"),
    [
        (IntentKind.TERMINATE, Lifecycle.TERMINATING, (DEBT,), 1, ""),
        (IntentKind.TERMINATE, Lifecycle.TERMINATING, (), 1, ""),
        (IntentKind.TERMINATE, Lifecycle.ARCHIVED, (), 1, "archived does not belong to a terminate job"),
        (IntentKind.ERASE, Lifecycle.ARCHIVED, (DEBT,), 1, ""),
        (IntentKind.ERASE, Lifecycle.ARCHIVED, (), 2, PAID),
        (IntentKind.ERASE, Lifecycle.ARCHIVED, (KEEP,), 1, "dispute hold of anna forbids erasing (said so)"),
        (IntentKind.ERASE, Lifecycle.ARCHIVED, (LEGAL,), 1, "legal hold of anna forbids erasing (said so)"),
        (IntentKind.ERASE, Lifecycle.ACTIVE, (), 1, "active does not belong to a erase job"),
        (IntentKind.ERASE, Lifecycle.TERMINATING, (), 1, "terminating does not belong to a erase job"),
        (IntentKind.REACTIVATE, Lifecycle.ARCHIVED, (KEEP,), 2, ""),
        (IntentKind.REACTIVATE, Lifecycle.ERASED, (), 1, "erased does not belong to a reactivate job"),
        (IntentKind.TERMINATE, Lifecycle.TERMINATING, (DEBT,), 2, PAID),
        (IntentKind.TERMINATE, Lifecycle.TERMINATING, (ABUSE,), 2, PAID),
        (IntentKind.TERMINATE, Lifecycle.TERMINATING, (DEBT, KEEP), 1, "dispute hold of anna forbids erasing (said so)"),
        (IntentKind.TERMINATE, Lifecycle.TERMINATING, (LEGAL,), 1, "legal hold of anna forbids erasing (said so)"),
        (IntentKind.TERMINATE, Lifecycle.ACTIVE, (DEBT,), 1, "active does not belong to a terminate job"),
        (IntentKind.TERMINATE, Lifecycle.ERASED, (DEBT,), 1, "erased does not belong"),
        (IntentKind.SUSPEND, Lifecycle.ACTIVE, (DEBT,), 1, ""),
        (IntentKind.SUSPEND, Lifecycle.ACTIVE, (DEBT,), 2, PAID),
        (IntentKind.SUSPEND, Lifecycle.ACTIVE, (DEBT, ABUSE), 2, ""),
        (IntentKind.SUSPEND, Lifecycle.ACTIVE, (ABUSE, LEGAL, KEEP), 2, ""),
        (IntentKind.SUSPEND, Lifecycle.ACTIVE, (KEEP,), 1, "no hold stops the service any more"),
        (IntentKind.SUSPEND, Lifecycle.TERMINATING, (DEBT,), 1, "terminating does not belong to a suspend job"),
        (IntentKind.STOP, Lifecycle.ACTIVE, (), 1, ""),
        (IntentKind.REBOOT, Lifecycle.ACTIVE, (), 2, PAID),
        (IntentKind.PROVISION, Lifecycle.PROVISIONING, (), 1, "does not belong to a provision job"),
        (IntentKind.CHECK, Lifecycle.ACTIVE, (), 1, "does not belong to a check job"),
        (IntentKind.REINSTALL, Lifecycle.ACTIVE, (), 1, ""),
        (IntentKind.REINSTALL, Lifecycle.ACTIVE, (), 2, ""),
        (IntentKind.REINSTALL, Lifecycle.ACTIVE, (DEBT,), 1, "it is suspended, held for nonpayment"),
        (IntentKind.REINSTALL, Lifecycle.ACTIVE, (KEEP,), 1, "dispute hold of anna forbids erasing (said so)"),
        (IntentKind.REINSTALL, Lifecycle.ACTIVE, (LEGAL,), 1, "legal hold of anna forbids erasing (said so)"),
        (IntentKind.REINSTALL, Lifecycle.TERMINATING, (), 1, "terminating does not belong to a reinstall job"),
    ],
)
def test_the_fence(kind: IntentKind, state: Lifecycle, holds: tuple[Hold, ...], payments: int, says: str) -> None:
    service = Service(id="s1", client_id="c1", plan="p", state=state, payments=payments, holds=holds)
    reason = closed(service, kind=kind, payments=1)
    assert (says in reason) if says else (reason == "")


def test_only_a_termination_belongs_to_a_service_that_is_being_terminated() -> None:
    assert [kind for kind, states in BELONGS.items() if Lifecycle.TERMINATING in states] == [IntentKind.TERMINATE]
