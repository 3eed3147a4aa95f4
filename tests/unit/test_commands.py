"""What an operator's command means."""

from __future__ import annotations

import pytest

from orchestrator.domain.decisions import command, receive
from orchestrator.domain.intents import Intent, IntentKind, Nothing
from orchestrator.domain.services import HoldReason, Lifecycle, Service
from tests.unit.decision_words import NOW, E, K, L, event, service


def commanded(kind: IntentKind, before: Service, **arguments: object) -> str:
    decision = command(kind, before, who="anna", why="asked", now=NOW, arguments=arguments).decision
    return decision.kind.value if isinstance(decision, Intent) else "nothing" if isinstance(decision, Nothing) else "refused"


@pytest.mark.parametrize("state", list(Lifecycle))
def test_power_and_checks_need_an_active_service(state: Lifecycle) -> None:
    for kind in (K.START, K.STOP, K.REBOOT, K.CHECK):
        assert commanded(kind, service(state)) == (kind.value if state == L.ACTIVE else "refused")


def test_a_suspended_service_can_be_checked_and_not_switched() -> None:
    held = service(L.ACTIVE, HoldReason.ABUSE)
    assert [commanded(k, held) for k in (K.START, K.STOP, K.REBOOT)] == ["refused"] * 3
    assert commanded(K.CHECK, held) == "check"


def test_an_operator_suspends_by_hand_unless_he_says_otherwise() -> None:
    received = command(K.SUSPEND, service(L.ACTIVE), who="anna", why="", now=NOW, arguments={})
    assert received.service is not None
    assert received.service.holds[0].reason == HoldReason.MANUAL
    assert commanded(K.UNSUSPEND, service(L.ACTIVE, HoldReason.ABUSE)) == "refused"
    assert commanded(K.UNSUSPEND, service(L.ACTIVE, HoldReason.ABUSE), reason="abuse") == "unsuspend"


@pytest.mark.parametrize("kind", [K.CHANGE_PLAN, K.RESET_PASSWORD])
def test_what_is_not_carried_out_yet_is_refused_with_a_sentence(kind: IntentKind) -> None:
    assert commanded(kind, service(L.ACTIVE)) == "refused"


def test_a_job_can_be_decided_again_from_its_own_arguments() -> None:
    suspended = receive(event(E.SERVICE_SUSPEND, reason="abuse"), service(L.ACTIVE), now=NOW)
    assert isinstance(suspended.decision, Intent)
    assert suspended.service is not None
    again = command(K.SUSPEND, suspended.service, who="anna", why="retry", now=NOW, arguments=suspended.decision.arguments)
    assert again.service is not None
    assert [h.reason for h in again.service.holds] == [HoldReason.ABUSE]
    assert isinstance(again.decision, Intent)
