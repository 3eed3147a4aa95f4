"""What is said against a service: abuse, a copyright notice, a breach of a licence, harm, an expired domain, a full quota."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from orchestrator.domain.policies import Abuse, Copyright, Effect, Measure
from orchestrator.domain.terms import Terms


class ComplaintKind(StrEnum):
    ABUSE = "abuse"
    COPYRIGHT = "copyright"
    LICENCE = "licence"
    HARM = "harm"
    DOMAIN = "domain"
    QUOTA = "quota"


class Closed(StrEnum):
    """How a complaint ended. ``CEASED``: the customer stopped. ``WAIVED``: it does not count, on evidence. ``RESOLVED``: else."""

    CEASED = "ceased"
    WAIVED = "waived"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """``received_at``: when it reached the provider, from which its hours count. ``what``: the use that the plan forbids, ''
    where none is named. ``effect``: what follows from it. ``held_at``: since when its hold stands; None where it set none (yet).

    ``evidence`` and ``closed_evidence``: the SHA-256 of files that are kept with the service.
    """

    id: str
    kind: ComplaintKind
    received_at: datetime
    by: str
    why: str
    effect: Effect
    what: str = ""
    evidence: str = ""
    held_at: datetime | None = None
    closed: Closed | None = None
    closed_at: datetime | None = None
    closed_by: str = ""
    closed_why: str = ""
    closed_evidence: str = ""

    @property
    def open(self) -> bool:
        return self.closed is None


def rule_of(kind: ComplaintKind, terms: Terms) -> Abuse | Copyright | Measure | None:
    """The rule by which something follows; None where the policy is silent, or does not speak of services of this kind."""
    rules = terms.policy.conduct
    found: dict[ComplaintKind, Abuse | Copyright | Measure | None] = {
        ComplaintKind.ABUSE: rules.abuse,
        ComplaintKind.COPYRIGHT: rules.copyright,
        ComplaintKind.LICENCE: rules.licence_breach,
        ComplaintKind.HARM: rules.harm,
        ComplaintKind.DOMAIN: rules.domain_expired,
        ComplaintKind.QUOTA: terms.policy.quota,
    }
    rule = found[kind]
    return None if isinstance(rule, Measure) and rule.kinds and terms.kind not in rule.kinds else rule
