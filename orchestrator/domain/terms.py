"""What holds for one service: the promises of its plan's policy, for a service of its kind, in days of the provider's zone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, timedelta

from orchestrator.domain.backups.offer import NO_BACKUPS, Offer, Span
from orchestrator.domain.calendar import Calendar
from orchestrator.domain.planned import Announced
from orchestrator.domain.plans import Plan
from orchestrator.domain.policies import SILENT, Policy
from orchestrator.domain.policies.words import Rule
from orchestrator.domain.tariffs import Prices as Prices
from orchestrator.domain.tariffs import Tariff, tariff


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """When the guests of a node may be restarted: ``notice`` before, at the least, their customers are told (``tells``: there is
    a billing system to tell them), and ``takes`` before the end none is begun any more."""

    spans: tuple[Span, ...] = ()
    notice: timedelta = timedelta(hours=24)
    takes: timedelta = timedelta(minutes=15)
    tells: bool = False

    @property
    def usable(self) -> bool:
        """One of them is long enough."""
        return any(timedelta(minutes=span.minutes) >= self.takes for span in self.spans)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """``kind`` is one of ``policies.KINDS``, by which many rules tell services apart. ``tariffs``: what its plan cost since when,
    the latest last; none where that is not kept, and ``prices`` hold as if they always had. ``backups``: what is sold of them.
    ``plan``: what is sold; None where that is not declared any more. ``windows``: of its node, and what maintenance of it
    is ``announced``."""

    policy: Policy = SILENT
    calendar: Calendar = field(default_factory=lambda: Calendar(UTC))
    kind: str = "vps"
    prices: Prices = field(default_factory=Prices)
    tariffs: tuple[Tariff, ...] = ()
    backups: Offer = NO_BACKUPS
    plan: Plan | None = None
    windows: Windows = field(default_factory=Windows)
    announced: Announced | None = None

    @property
    def costs(self) -> tuple[Tariff, ...]:
        """What is charged by, the latest last; at least one."""
        return self.tariffs or (tariff(self.policy, self.prices),)

    def cite(self, rule: Rule) -> str:
        """The rule as people are told where it stands: policy and clause."""
        return f"{self.policy.name}: {rule.clause}"


NO_TERMS = Terms()
"""Nothing is promised, so that nothing is done and nothing is refused."""
