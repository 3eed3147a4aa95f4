"""What a story's people do besides paying, and where it is looked what became of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from orchestrator.domain import permissions
from orchestrator.domain.complaints import Closed, ComplaintKind
from orchestrator.domain.conduct import Answer
from orchestrator.domain.evidence import Evidence
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.permissions import Ask
from orchestrator.domain.policies import Policy
from orchestrator.domain.services import CancellationKind, HoldEffect, HoldReason
from orchestrator.domain.terms import Terms
from orchestrator.engine.conduct import ComplaintSaid, HoldAsked
from orchestrator.engine.settings import nothing_beside
from orchestrator.store import charges
from tests.fault.house import CALENDAR, PLAN
from tests.scenarios.story import MINUTE, Story, shipped

FILE = Evidence.of("log.txt", b"what was seen")


def terms(provider: str, kind: str = "vps") -> Terms:
    """For what this version makes none of, kinds of service and backups: what would be decided."""
    return Terms(policy=shipped()[provider], calendar=CALENDAR, kind=kind)


def may(story: Story, act: Ask) -> str:
    """What a customer is told who asks for it; '' = it may be done."""
    refusal = permissions.may(act, story.service, terms(story.provider))
    return "" if refusal is None else f"{refusal.reason} [{refusal.rule}]"


def suspends_by_hand(story: Story) -> None:
    """An overdue service that billing has suspended, on day 0."""
    story.begin().overdue()
    story.says("service.suspend", version=1, reason="overdue")
    assert story.state == "active, suspended"


def doomed(story: Story) -> None:
    """Nobody pays, until its termination waits for an answer. Who is asked before, for the suspension, agrees."""
    for _ in range(20):
        if story.waits and story.last.intent == IntentKind.TERMINATE:
            return
        if story.waits:
            story.agrees()
        else:
            story.next()
    raise AssertionError(f"nobody is asked whether it is to be terminated: {story.done}")


def is_let_end(story: Story) -> None:
    """Billing confirms the termination that waits, and an operator agrees where the text only says that it may be."""
    story.confirms()
    if story.waits:
        story.agrees()


def forgets(story: Story) -> None:
    """The customer wants what is personal to be deleted."""
    story.it.engine.leaving.forget("s1", who="anna", why="asked", beside=nothing_beside)


def holds_for_a_court(story: Story, until: datetime | None = None) -> None:
    asked = HoldAsked(reason=HoldReason.LEGAL, effect=HoldEffect.NO_ERASE, why="a court", until=until, evidence=FILE)
    story.it.engine.conduct.hold("s1", asked, "anna")


def begin_on(story: Story, day: int, hour: int = 12, policy: Policy | None = None) -> Story:
    """The controller runs from the next such day of a month on, in the provider's zone."""
    now = story.clock.now().astimezone(CALENDAR.zone)
    wanted = now.replace(day=day, hour=hour, minute=0, second=0, microsecond=0)
    if wanted <= now:
        wanted = (wanted.replace(day=1) + timedelta(days=32)).replace(day=day)
    story.clock.ahead += wanted - now
    return story.begin(policy)


def excess_traffic(story: Story) -> None:
    """7 GB over the allowance, at Rp 500 each, until the month is over; nothing is owed a moment before."""
    story.plan = replace(PLAN, traffic_bytes=10**12, traffic_over_per_gb=500)
    begin_on(story, 27).running()
    period = f"{CALENDAR.day(story.clock.now()):%Y-%m}"
    story.says("usage.traffic", period=period, bytes=10**12 + 7 * 10**9)
    end = CALENDAR.month(story.clock.now())[1] - story.day0
    story.until(end - 10 * MINUTE)
    assert owed(story) == []
    story.until(end + 10 * MINUTE)


def month_end(moment: datetime) -> datetime:
    """The first moment of the next month in the provider's zone, worked out by the wall clock."""
    local = moment.astimezone(CALENDAR.zone)
    return (local.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)


def ends(story: Story, kind: CancellationKind, *, on: datetime | None = None) -> None:
    """An operator writes down that the service is to end."""
    story.it.engine.leaving.cancel("s1", kind=kind, confirmed=True, on=on, who="anna", why="ends", beside=nothing_beside)
    story.turn()


def reports(story: Story, kind: ComplaintKind, **values: Any) -> str:
    """Somebody complains; the complaint's id."""
    story.it.engine.conduct.report("s1", ComplaintSaid(kind=kind, why="it was seen", **values), "anna")
    story.turn()
    return story.service.complaints[-1].id


def answers(story: Story, complaint: str, how: Closed, file: Evidence | None = None) -> None:
    story.it.engine.conduct.answer("s1", complaint, Answer(how=how, by="bert", why="they said so", evidence=file))
    story.turn()


def owed(story: Story) -> list[tuple[str, int, str]]:
    """What the customer owes besides the invoices: for what, how much, by which clause."""
    with story.it.db.read() as conn:
        rows = charges.list_page(conn)[0]
    return [(row.kind.value, row.amount, row.clause) for row in rows]


def network(story: Story) -> int:
    """What the guest's network lets through, by the node's own word."""
    guest = story.it.world.read()["nodes"]["n1"]["guests"]["orch.s1"]
    assert guest["power"] == "running"
    return int(guest["definition"]["network_bytes_per_second"])


def holds(story: Story) -> list[tuple[str, str]]:
    return [(hold.reason.value, hold.effect.value) for hold in story.service.holds]


def archive(story: Story) -> bool:
    """Whether there is a copy of the service's data apart from its node."""
    return any(each["snapshots"] for each in story.it.world.read().get("repositories", {}).values())
