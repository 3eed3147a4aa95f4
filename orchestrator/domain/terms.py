"""What holds for one service: the promises of its plan's policy, for a service of its kind, in days of the provider's zone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC

from orchestrator.domain.backups.offer import NO_BACKUPS, Offer
from orchestrator.domain.calendar import Calendar
from orchestrator.domain.policies import SILENT, Policy
from orchestrator.domain.policies.words import Rule


@dataclass(frozen=True, slots=True)
class Prices:
    """What the service's plan costs beside its invoices, in whole rupiah: a GB over its traffic (``traffic_bytes`` a month, None:
    as much as one likes), an hour. 0 = nothing."""

    traffic_bytes: int | None = None
    traffic_over_per_gb: int = 0
    per_hour: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """``kind`` is one of ``policies.KINDS``, by which many rules tell services apart. ``backups``: what is sold of them."""

    policy: Policy = SILENT
    calendar: Calendar = field(default_factory=lambda: Calendar(UTC))
    kind: str = "vps"
    prices: Prices = field(default_factory=Prices)
    backups: Offer = NO_BACKUPS

    def cite(self, rule: Rule) -> str:
        """The rule as people are told where it stands: policy and clause."""
        return f"{self.policy.name}: {rule.clause}"


NO_TERMS = Terms()
"""Nothing is promised, so that nothing is done and nothing is refused."""
