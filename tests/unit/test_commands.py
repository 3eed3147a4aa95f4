"""What an operator's command means."""

from __future__ import annotations

import pytest

from orchestrator.domain.decisions import command, receive
from orchestrator.domain.errors import RequestError
from orchestrator.domain.intents import Intent, IntentKind, Nothing
from orchestrator.domain.services import HoldEffect, HoldReason, Lifecycle, Service
from tests.unit.decision_words import NOW, E, K, L, event, hold, service


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


LIMITED = hold(HoldReason.ABUSE, HoldEffect.LIMIT)


def test_an_operator_limits_and_unlimits_for_a_reason() -> None:
    received = command(K.LIMIT, service(L.ACTIVE), who="anna", why="a notice", now=NOW, arguments={"reason": "abuse"})
    assert received.service is not None
    assert [(h.reason, h.effect, h.why) for h in received.service.holds] == [(HoldReason.ABUSE, HoldEffect.LIMIT, "a notice")]
    assert (received.service.limited, received.service.stopped) == (True, False)
    assert isinstance(received.decision, Intent)
    assert received.decision.arguments == {"reason": "abuse", "limits": ["abuse"], "adds": True}
    limited = service(L.ACTIVE, holds=(LIMITED,), limited_proven_at=NOW)
    assert commanded(K.UNLIMIT, limited) == "refused", "it is not limited by hand"
    assert commanded(K.UNLIMIT, limited, reason="abuse") == "unlimit"
    assert commanded(K.LIMIT, limited, reason="quota") == "nothing"
    assert commanded(K.LIMIT, service(L.ACTIVE, holds=(LIMITED,)), reason="abuse") == "limit", "it never took effect"
    assert commanded(K.UNLIMIT, service(L.ACTIVE)) == "nothing"
    assert commanded(K.UNLIMIT, service(L.ACTIVE, limited_proven_at=NOW)) == "unlimit", "its end never took effect"
    both = service(L.ACTIVE, holds=(LIMITED, hold(HoldReason.QUOTA, HoldEffect.LIMIT)), limited_proven_at=NOW)
    assert commanded(K.UNLIMIT, both, reason="quota") == "nothing"


@pytest.mark.parametrize("state", list(Lifecycle))
def test_only_what_is_there_or_about_to_be_is_limited(state: Lifecycle) -> None:
    there = state in (L.ACTIVE, L.PROVISIONING)
    assert commanded(K.LIMIT, service(state)) == ("limit" if there else "refused")
    assert commanded(K.UNLIMIT, service(state, holds=(LIMITED,)), reason="abuse") == ("unlimit" if there else "refused")


def test_a_suspended_service_is_limited_and_unlimited_on_paper_until_it_comes_back() -> None:
    suspended = service(L.ACTIVE, HoldReason.NONPAYMENT, suspension_proven_at=NOW)
    received = command(K.LIMIT, suspended, who="anna", why="x", now=NOW, arguments={"reason": "abuse"})
    assert isinstance(received.decision, Nothing)
    assert received.service is not None
    assert (received.service.limited, received.service.throttled) == (True, False)
    lifted = command(K.UNLIMIT, received.service, who="anna", why="x", now=NOW, arguments={"reason": "abuse"})
    assert isinstance(lifted.decision, Nothing)
    assert lifted.service == suspended


def test_for_one_reason_stopping_takes_the_place_of_limiting_and_not_the_other_way_round() -> None:
    limited = service(L.ACTIVE, holds=(LIMITED,), limited_proven_at=NOW)
    received = command(K.SUSPEND, limited, who="anna", why="again", now=NOW, arguments={"reason": "abuse"})
    assert isinstance(received.decision, Intent)
    assert received.decision.arguments["adds"] is False
    assert received.service is not None
    assert [h.effect for h in received.service.holds] == [HoldEffect.STOP]
    assert commanded(K.LIMIT, received.service, reason="abuse") == "refused"
    assert commanded(K.UNLIMIT, received.service, reason="abuse") == "refused"
    assert commanded(K.UNSUSPEND, limited, reason="abuse") == "refused"


@pytest.mark.parametrize("effect", [HoldEffect.NONE, HoldEffect.NO_ERASE, HoldEffect.READ_ONLY])
def test_a_hold_of_another_effect_is_to_be_lifted_first(effect: HoldEffect) -> None:
    kept = service(L.ACTIVE, holds=(hold(HoldReason.LEGAL, effect), hold(HoldReason.ABUSE)))
    assert commanded(K.LIMIT, kept, reason="legal") == "refused"
    assert commanded(K.SUSPEND, kept, reason="legal") == "refused"


def test_a_check_knows_whether_the_guest_is_to_be_found_throttled() -> None:
    def told(record: Service) -> object:
        decision = command(K.CHECK, record, who="anna", why="x", now=NOW, arguments={}).decision
        assert isinstance(decision, Intent)
        return decision.arguments["limited"]

    stop = hold(HoldReason.NONPAYMENT)
    assert told(service(L.ACTIVE, holds=(LIMITED,))) is True
    assert told(service(L.ACTIVE, limited_proven_at=NOW)) is False
    assert told(service(L.ACTIVE, holds=(LIMITED, stop), suspension_proven_at=NOW)) is False
    assert told(service(L.ACTIVE, holds=(stop,), suspension_proven_at=NOW, limited_proven_at=NOW)) is True


def test_a_change_of_plan_is_asked_for_by_name_and_restarts_nothing_unless_that_is_said() -> None:
    def arguments(**given: object) -> dict[str, object]:
        decision = command(K.CHANGE_PLAN, service(L.ACTIVE), who="anna", why="x", now=NOW, arguments=given).decision
        assert isinstance(decision, Intent)
        return decision.arguments

    assert arguments(plan="large") == {"plan": "large", "restart": "never"}
    assert arguments(plan="large", restart="now") == {"plan": "large", "restart": "now"}
    assert commanded(K.CHANGE_PLAN, service(L.TERMINATING), plan="large") == "refused"
    with pytest.raises(RequestError, match="no plan is named"):
        command(K.CHANGE_PLAN, service(L.ACTIVE), who="anna", why="x", now=NOW, arguments={})


@pytest.mark.parametrize("kind", [K.RESCUE, K.LEAVE_RESCUE, K.TEST_HARDWARE])
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
