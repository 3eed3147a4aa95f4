"""Which rules of a policy the controller keeps by itself: what people are told of it is what it does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from orchestrator.config.policies import load_policies
from orchestrator.domain import charges, coming_back, conduct, personal
from orchestrator.domain.cancellations import Asked, cancel
from orchestrator.domain.complaints import Complaint, ComplaintKind
from orchestrator.domain.conduct import Report
from orchestrator.domain.deadlines import deadlines
from orchestrator.domain.permissions import Ask, may
from orchestrator.domain.policies import KINDS, Effect, Policy, rules
from orchestrator.domain.policies.kept import KEPT
from orchestrator.domain.services import (
    Cancellation,
    CancellationKind,
    Chargeback,
    DisputedInvoice,
    Lifecycle,
    Traffic,
)
from orchestrator.domain.terms import Prices, Terms
from tests.unit import backup_outcomes
from tests.unit.decision_words import NOW
from tests.unit.test_deadlines import CALENDAR, DAY, DUE, SERVICE, hold, suspended

ARCHIVED = replace(SERVICE, state=Lifecycle.ARCHIVED, archived_at=DUE)
ASKED = datetime(2026, 2, 10, 5, tzinfo=UTC)
POLICIES = load_policies(Path(__file__).parents[2] / "configs" / "policies")
SERVICES = (
    *(replace(SERVICE, state=state, due_at=SERVICE.due_at) for state in Lifecycle),
    ARCHIVED,
    replace(ARCHIVED, paid_at=DUE + DAY),
    suspended(),
    replace(SERVICE, holds=(hold(),), suspension_proven_at=None, disputes=(DisputedInvoice(invoice_id="i", raised_at=DUE),)),
    replace(SERVICE, chargebacks=(Chargeback("i", DUE),), traffic=(Traffic("2026-03", 3 * 10**12),)),
    replace(SERVICE, state=Lifecycle.ERASED, activated_at=DUE, ended_at=DUE + timedelta(hours=3)),
    *(
        replace(
            SERVICE, activated_at=ASKED - timedelta(days=3), cancellation=Cancellation(asked_at=ASKED, by="", why="", kind=kind)
        )
        for kind in CancellationKind
    ),
    replace(SERVICE, suspension_proven_at=ASKED, paid_at=ASKED),
    replace(SERVICE, state=Lifecycle.ERASED, ended_at=ASKED),
)
# Kept by refusing a configuration that would break it: test_config_load.
BY_CONFIGURATION = {"location"}
PRICES = Prices(traffic_bytes=10**12, traffic_over_per_gb=5000, per_hour=100)


NOTICES = tuple(
    Complaint(id=f"c{day}", kind=kind, received_at=NOW, by="anna", why="seen", effect=Effect.TERMINATE)
    for day, kind in enumerate((*[ComplaintKind.COPYRIGHT] * 4, ComplaintKind.ABUSE))
)
COMPLAINED = replace(SERVICE, due_at=None, complaints=NOTICES)


def acts(policy: Policy) -> list[object]:
    """What falls due, and what becomes of what is asked for."""
    found: list[object] = []
    for kind in KINDS:
        terms = Terms(policy=policy, calendar=CALENDAR, kind=kind, prices=PRICES)
        found += [deadlines(service, terms, told={}) for service in (*SERVICES, COMPLAINED)]
        found += [coming_back.fee(suspended(), replace(suspended(), holds=(), payments=1), terms)]
        paid = replace(SERVICE, payments=1, purchased_at=ASKED, activated_at=ASKED)
        back = Asked(asked_at=ASKED, by="", why="", kind=CancellationKind.MONEY_BACK, confirmed=True)
        found += [cancel(paid, back, terms, now=ASKED)]
        failed = replace(SERVICE, payments=1, state=Lifecycle.FAILED)
        found += [cancel(failed, Asked(asked_at=ASKED, by="", why=""), terms, now=ASKED)]
        found += [personal.on_request(replace(SERVICE, state=Lifecycle.ERASED), terms, now=ASKED)]
        found += [personal.blanks(terms)]
        found += backup_outcomes.outcomes(terms, words=True)
        found += [charges.migration_terms(terms, request_id="r", service_id="s1", size_bytes=1, pay=True)]
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
    assert matter | BY_CONFIGURATION == KEPT


def test_what_is_said_to_be_kept_is_a_rule() -> None:
    paths = {path for path, _ in rules(POLICIES["default"])}
    assert paths >= KEPT
