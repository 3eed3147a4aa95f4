"""What a text is silent on is not done: no provider is lent another one's number."""

from __future__ import annotations

import pytest

from orchestrator.domain.errors import Refused
from orchestrator.domain.permissions import Ask
from orchestrator.domain.services import CancellationKind
from tests.scenarios.acts import ends, forgets, may, owed, suspends_by_hand
from tests.scenarios.story import DAY, HOUR, Story

EVERY = ["enterpage", "tnet", "masternet", "herza", "zettagrid"]


def but(*providers: str) -> pytest.MarkDecorator:
    """Told of each provider but these, whose text has such a rule."""
    return pytest.mark.parametrize("provider", [provider for provider in EVERY if provider not in providers])


@but("enterpage", "tnet")
def test_an_unpaid_order_waits_and_nobody_is_reminded(story: Story) -> None:
    story.begin().ordered().until(90 * DAY)
    assert (story.state, story.told("notice."), story.told("charge.")) == ("ordered", [], [])


@but("enterpage", "tnet")
def test_nothing_is_refused_while_it_is_suspended_for_late_payment(story: Story) -> None:
    suspends_by_hand(story)
    said = [may(story, act) for act in (Ask.BACKUP, Ask.RESTORE, Ask.DOWNGRADE, Ask.SHORTER_TERM)]
    assert [words for words in said if words and "bought" not in words] == []  # who has bought no backups has none, paid or not


@but("herza")
def test_coming_back_costs_nothing_and_waits_for_nobody(story: Story) -> None:
    suspends_by_hand(story)
    story.until(HOUR)
    story.pays()
    assert (story.state, story.service.holds, owed(story)) == ("active", (), [])


@but("herza")
def test_no_archive_is_kept_and_a_payment_for_what_has_ended_comes_too_late(story: Story) -> None:
    story.begin().running()
    story.says("service.terminate", version=1, reason="left")
    assert story.state == "erased"
    assert (story.pays(), story.state, story.told("payment.")) == ("nothing", "erased", ["payment.too_late"])


@but("herza", "zettagrid")
def test_a_cancellation_has_no_day_by_itself_and_no_money_is_given_back(story: Story) -> None:
    story.begin().running()
    story.says("service.cancel", version=1, reason="moves away", confirmed=True)
    (noted,) = story.messages("cancellation.noted")
    assert (noted["needs"], noted["effective_at"]) == ("date", None)
    with pytest.raises(Refused, match="gives no money back"):
        ends(story, CancellationKind.MONEY_BACK)
    story.until(90 * DAY)
    assert (story.state, story.done, story.told("refund.")) == ("active", ["provision"], [])


@but("masternet", "zettagrid")  # masternet asks an operator as soon as it is late, before anybody can dispute it
def test_a_dispute_of_whatever_age_stops_the_clock_until_it_is_settled(story: Story) -> None:
    story.begin().overdue()
    issued = (story.day0 - 60 * DAY).isoformat()
    story.says("invoice.disputed", invoice_id="i1", issued_at=issued, reason="double booking")
    story.until(90 * DAY)
    assert (story.state, story.done, story.told("notice.")) == ("active", ["provision"], [])


@but("enterpage", "tnet", "zettagrid")
def test_what_is_personal_is_kept_and_no_request_deletes_it(story: Story) -> None:
    story.begin().running()
    story.says("service.terminate", version=1, reason="left")
    story.until(20 * 366 * DAY)
    with pytest.raises(Refused, match="has no rule by which personal data"):
        forgets(story)
    assert story.service.client_id == "c1"
