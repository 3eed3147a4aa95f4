"""Which rules of a policy the controller keeps by itself: what people are told of it is what it does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from orchestrator.config.policies import load_policies
from orchestrator.domain import conduct
from orchestrator.domain.complaints import Complaint, ComplaintKind
from orchestrator.domain.conduct import Report
from orchestrator.domain.deadlines import deadlines
from orchestrator.domain.permissions import Ask, may
from orchestrator.domain.policies import KINDS, Effect, Policy, rules
from orchestrator.domain.policy_words import KEPT
from orchestrator.domain.services import Lifecycle
from orchestrator.domain.terms import Terms
from tests.unit.decision_words import NOW
from tests.unit.test_deadlines import CALENDAR, SERVICE, hold, suspended

POLICIES = load_policies(Path(__file__).parents[2] / "configs" / "policies")
SERVICES = (
    *(replace(SERVICE, state=state, due_at=SERVICE.due_at) for state in Lifecycle),
    suspended(),
    replace(SERVICE, holds=(hold(),), suspension_proven_at=None, clock_stopped=timedelta(days=1)),
)


NOTICES = tuple(
    Complaint(id=f"c{day}", kind=kind, received_at=NOW, by="anna", why="seen", effect=Effect.TERMINATE)
    for day, kind in enumerate((*[ComplaintKind.COPYRIGHT] * 4, ComplaintKind.ABUSE))
)
COMPLAINED = replace(SERVICE, due_at=None, complaints=NOTICES)


def acts(policy: Policy) -> list[object]:
    """What falls due, what follows from complaints, and what customers are refused."""
    found: list[object] = []
    for kind in KINDS:
        terms = Terms(policy=policy, calendar=CALENDAR, kind=kind)
        found += [deadlines(service, terms, told={}) for service in (*SERVICES, COMPLAINED)]
        found += [may(act, service, terms) for service in SERVICES for act in Ask]
        for complaint in ComplaintKind:
            said = Report(kind=complaint, by="anna", why="seen", received_at=NOW)
            found.append(conduct.report(SERVICE, said, terms, now=NOW))
    return found


def without(part: Any, path: str) -> Any:
    name, _, rest = path.partition(".")
    value = getattr(part, name)
    return replace(part, **{name: without(value, rest) if rest else () if isinstance(value, tuple) else None})


def test_the_rules_that_are_said_to_be_kept_are_those_from_which_something_follows() -> None:
    matter = {
        path
        for policy in POLICIES.values()
        for path, rule in rules(policy)
        if rule is not None and acts(policy) != acts(without(policy, path))
    }
    assert matter == KEPT


def test_what_is_said_to_be_kept_is_a_rule() -> None:
    paths = {path for path, _ in rules(POLICIES["default"])}
    assert paths >= KEPT
