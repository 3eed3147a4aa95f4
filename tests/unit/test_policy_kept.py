"""Which rules of a policy the controller keeps by itself: what people are told of it is what it does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from orchestrator.config.policies import load_policies
from orchestrator.domain.deadlines import Deadline, deadlines
from orchestrator.domain.policies import Policy, rules
from orchestrator.domain.policy_words import KEPT
from orchestrator.domain.services import Lifecycle
from orchestrator.domain.terms import Terms
from tests.unit.test_deadlines import CALENDAR, DAY, DUE, SERVICE, hold, suspended

ARCHIVED = replace(SERVICE, state=Lifecycle.ARCHIVED, archived_at=DUE)
POLICIES = load_policies(Path(__file__).parents[2] / "configs" / "policies")
SERVICES = (
    *(replace(SERVICE, state=state, due_at=SERVICE.due_at) for state in Lifecycle),
    ARCHIVED,
    replace(ARCHIVED, paid_at=DUE + DAY),
    suspended(),
    replace(SERVICE, holds=(hold(),), suspension_proven_at=None, clock_stopped=timedelta(days=1)),
)


def acts(policy: Policy) -> list[tuple[Deadline, ...]]:
    return [deadlines(service, Terms(policy=policy, calendar=CALENDAR), told={}) for service in SERVICES]


def without(part: Any, path: str) -> Any:
    name, _, rest = path.partition(".")
    value = getattr(part, name)
    return replace(part, **{name: without(value, rest) if rest else () if isinstance(value, tuple) else None})


def test_the_rules_that_are_said_to_be_kept_are_those_from_which_something_falls_due() -> None:
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
