"""Which rules of a policy the controller keeps by itself: what people are told of it is what it does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from orchestrator.config.policies import load_policies
from orchestrator.domain import coming_back
from orchestrator.domain.deadlines import deadlines
from orchestrator.domain.policies import Policy, rules
from orchestrator.domain.policy_words import KEPT
from orchestrator.domain.services import Chargeback, DisputedInvoice, Lifecycle, Traffic
from orchestrator.domain.terms import Prices, Terms
from tests.unit.test_deadlines import CALENDAR, DAY, DUE, SERVICE, hold, suspended

ARCHIVED = replace(SERVICE, state=Lifecycle.ARCHIVED, archived_at=DUE)
POLICIES = load_policies(Path(__file__).parents[2] / "configs" / "policies")
SERVICES = (
    *(replace(SERVICE, state=state, due_at=SERVICE.due_at) for state in Lifecycle),
    ARCHIVED,
    replace(ARCHIVED, paid_at=DUE + DAY),
    suspended(),
    replace(SERVICE, holds=(hold(),), suspension_proven_at=None, disputes=(DisputedInvoice(invoice_id="i", raised_at=DUE),)),
    replace(SERVICE, chargebacks=(Chargeback("i", DUE),), traffic=(Traffic("2026-03", 3 * 10**12),)),
    replace(SERVICE, state=Lifecycle.ERASED, activated_at=DUE, ended_at=DUE + timedelta(hours=3)),
)
PRICES = Prices(traffic_bytes=10**12, traffic_over_per_gb=5000, per_hour=100)


def acts(policy: Policy) -> list[object]:
    """What falls due, and what a payment brings that ends a suspension."""
    terms = Terms(policy=policy, calendar=CALENDAR, prices=PRICES)
    paid = replace(suspended(), holds=(), payments=1)
    return [*(deadlines(service, terms, told={}) for service in SERVICES), coming_back.fee(suspended(), paid, terms)]


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
