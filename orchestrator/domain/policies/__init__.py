"""The promises of a provider as data: what is done when, what is refused, what is charged, and by which clause.

Every rule is an object with its own ``clause``, because every deadline, refusal and charge that follows from it cites it. A rule
that is None is one on which the document is silent: nothing is done automatically. Days are counted in the provider's zone,
business days as its calendar knows them. Money is whole rupiah, sizes are bytes. All values are immutable.

``asks``: the text says "may". What falls due waits for an operator's approval.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from orchestrator.domain.policies.conduct import Abuse, Conduct, Copyright, Measure, RepeatOffender
from orchestrator.domain.policies.data import (
    Backup,
    BackupCaps,
    BackupOnRequest,
    BackupSchedule,
    BackupsKept,
    BackupVerified,
    DataLocation,
    KeepPersonal,
    Migration,
    PersonalData,
    Restore,
)
from orchestrator.domain.policies.life import (
    Archive,
    BillingPeriod,
    Cancellation,
    CancelUnpaid,
    Chargeback,
    EndingWithoutCause,
    Erase,
    Forbids,
    LatePayment,
    MinimumTerm,
    Notices,
    Order,
    Overdue,
    Reactivation,
    ReactivationDone,
    ReactivationFees,
    ReactivationWindow,
    Suspend,
    Terminate,
)
from orchestrator.domain.policies.money import Dispute, Downgrade, Hourly, MoneyBack, Undeliverable
from orchestrator.domain.policies.words import (
    KINDS,
    Act,
    CancellationEffect,
    Effect,
    EraseSince,
    LatePaymentEffect,
    MoneyBackSince,
    Period,
    Rule,
    TerminateSince,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "KINDS",
    "SILENT",
    "Abuse",
    "Act",
    "Archive",
    "Backup",
    "BackupCaps",
    "BackupOnRequest",
    "BackupSchedule",
    "BackupVerified",
    "BackupsKept",
    "BillingPeriod",
    "CancelUnpaid",
    "Cancellation",
    "CancellationEffect",
    "Chargeback",
    "Conduct",
    "Copyright",
    "DataLocation",
    "Dispute",
    "Downgrade",
    "Effect",
    "EndingWithoutCause",
    "Erase",
    "EraseSince",
    "Forbids",
    "Hourly",
    "KeepPersonal",
    "LatePayment",
    "LatePaymentEffect",
    "Measure",
    "Migration",
    "MinimumTerm",
    "MoneyBack",
    "MoneyBackSince",
    "Notices",
    "Order",
    "Overdue",
    "Period",
    "PersonalData",
    "Policy",
    "Reactivation",
    "ReactivationDone",
    "ReactivationFees",
    "ReactivationWindow",
    "RepeatOffender",
    "Restore",
    "Rule",
    "Suspend",
    "Terminate",
    "TerminateSince",
    "Undeliverable",
    "rules",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One file of configs/policies/. ``document``: what the clauses are clauses of.

    ``nothing_returned``: whose service has ended gets no data back, in no form. ``traffic``: what goes beyond the plan's
    allowance is charged, at the plan's price. ``quota``: what follows when the plan's disk is full.
    """

    name: str
    provider: str
    document: str = ""
    order: Order = field(default_factory=Order)
    overdue: Overdue = field(default_factory=Overdue)
    notices: Notices | None = None
    reactivation: Reactivation = field(default_factory=Reactivation)
    archive: Archive | None = None
    erase: Erase | None = None
    late_payment: LatePayment | None = None
    nothing_returned: Rule | None = None
    billing_period: BillingPeriod | None = None
    minimum_term: MinimumTerm | None = None
    cancellation: Cancellation | None = None
    ending_without_cause: EndingWithoutCause | None = None
    downgrade: Downgrade | None = None
    hourly: Hourly | None = None
    money_back: MoneyBack | None = None
    undeliverable: Undeliverable | None = None
    dispute: Dispute | None = None
    traffic: Rule | None = None
    backup: Backup = field(default_factory=Backup)
    restore: Restore | None = None
    migration: Migration | None = None
    quota: Measure | None = None
    conduct: Conduct = field(default_factory=Conduct)
    location: DataLocation | None = None
    personal_data: PersonalData = field(default_factory=PersonalData)

    def forbids(self, act: Act) -> Forbids | None:
        """The rule that refuses this act while the service is held for nonpayment."""
        return next((rule for rule in self.overdue.forbids if act in rule.acts), None)


SILENT = Policy(name="silent", provider="nobody")
"""A policy that promises nothing, so that nothing is done."""


def rules(policy: Policy) -> Iterator[tuple[str, Rule | None]]:
    """Every rule by its path, such as ``overdue.suspend``, None where the document is silent. Only ``overdue.forbids`` may come
    more than once."""
    yield from _rules(policy, "")


def _rules(part: DataclassInstance, prefix: str) -> Iterator[tuple[str, Rule | None]]:
    for each in fields(part):
        value = getattr(part, each.name)
        path = f"{prefix}{each.name}"
        if value is None or isinstance(value, Rule):
            yield path, value
        elif isinstance(value, tuple):
            yield from ((path, rule) for rule in value or (None,))
        elif not isinstance(value, str):
            yield from _rules(value, f"{path}.")
