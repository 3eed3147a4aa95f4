"""Tnet (document 001), what enterpage does not say: a weekly backup, a price for restores, downgrades, deletion on request."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestrator.domain import charges, permissions
from orchestrator.domain.charges import Charge, Free, WantedRestore
from orchestrator.domain.complaints import ComplaintKind
from orchestrator.domain.errors import Refused
from orchestrator.domain.intents import Refusal
from orchestrator.domain.permissions import Ask
from tests.fault.house import CALENDAR
from tests.scenarios.acts import forgets, may, reports, terms
from tests.scenarios.story import DAY, HOUR, Story

PROVIDER = "tnet"


@pytest.mark.parametrize("act", [Ask.DOWNGRADE, Ask.SHORTER_TERM])
def test_downgrade_neither_that_nor_a_shorter_term_while_it_is_suspended_for_late_payment(story: Story, act: Ask) -> None:
    story.begin().overdue().until(HOUR)
    assert may(story, act) == ""
    story.until(2 * DAY + HOUR)
    assert may(story, act) == f"{act} refused while suspended for late payment [tnet: Billing & Payment, Downgrade]"
    story.pays()
    assert may(story, act) == ""


def test_downgrade_what_was_paid_too_much_is_not_given_back(story: Story) -> None:
    """Of changes of plan this version makes none: what the customer is told."""
    story.begin().running()
    assert may(story, Ask.DOWNGRADE) == ""
    told = permissions.besides(Ask.DOWNGRADE, terms(PROVIDER))
    assert told == "what was paid too much is not given back [tnet: Billing & Payment, Downgrade]"


@pytest.mark.parametrize(("size", "amount"), [(10**9, 100_000), (10**9 + 1, 200_000), (10**10, 1_000_000)])
def test_restore_data_one_a_month_is_included_and_a_further_one_costs_100000_a_started_gigabyte(size: int, amount: int) -> None:
    """Of restores this version makes none: what would be decided."""
    by = terms(PROVIDER)
    wanted = WantedRestore(service_id="s1", id="r2", size_bytes=size, at=datetime(2026, 11, 20, 12, tzinfo=CALENDAR.zone))
    assert isinstance(charges.restore_terms(by, wanted, used_this_month=0, pay=False), Free)
    refused = charges.restore_terms(by, wanted, used_this_month=1, pay=False)
    assert isinstance(refused, Refusal)
    sentence = "restore refused: 1 of 1 used in November 2026, policy tnet; more at Rp 100,000 per GB: --pay"
    assert (refused.reason, refused.rule) == (sentence, "tnet: Bantuan Teknis, Restore Data")
    paid = charges.restore_terms(by, wanted, used_this_month=1, pay=True)
    assert isinstance(paid, Charge)
    assert (paid.amount, paid.clause) == (amount, "Bantuan Teknis, Restore Data")


def test_restore_data_the_month_is_over_at_midnight_where_the_provider_is() -> None:
    midnight = datetime(2026, 11, 30, 17, tzinfo=UTC)
    told = [
        charges.restore_terms(
            terms(PROVIDER), WantedRestore(service_id="s1", id="r", size_bytes=1, at=at), used_this_month=0, pay=False
        )
        for at in (midnight - HOUR, midnight)
    ]
    assert told == [Free("0 of 1 used in November 2026"), Free("0 of 1 used in December 2026")]


def test_penyimpanan_data_pelanggan_what_is_personal_is_deleted_on_request_and_not_while_it_lives(story: Story) -> None:
    story.begin().running()
    with pytest.raises(Refused, match="only what has ended"):
        forgets(story)
    story.says("service.terminate", version=1, reason="asked")
    story.until(10 * 366 * DAY)
    assert story.service.client_id == "c1", "the text names no years after which it goes by itself"
    forgets(story)
    assert (story.service.client_id, story.service.forgotten_at is not None) == ("", True)


def test_what_the_text_is_silent_on_is_refused_by_name(story: Story) -> None:
    story.begin().running()
    with pytest.raises(Refused, match="says nothing of abuse"):
        reports(story, ComplaintKind.ABUSE)
