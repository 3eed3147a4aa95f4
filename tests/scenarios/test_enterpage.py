"""Enterpage (document 000), what tnet does not say: restores have no price, and what is personal is kept five years."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from orchestrator.domain import charges, permissions
from orchestrator.domain.charges import Free, WantedRestore
from orchestrator.domain.errors import Refused
from orchestrator.domain.intents import Refusal
from orchestrator.domain.permissions import Ask
from orchestrator.domain.services import HoldReason
from orchestrator.store import evidence
from tests.fault.house import CALENDAR
from tests.scenarios.acts import FILE, forgets, holds_for_a_court, may, terms
from tests.scenarios.story import DAY, HOUR, MINUTE, Story

PROVIDER = "enterpage"


@pytest.mark.parametrize("act", [Ask.DOWNGRADE, Ask.SHORTER_TERM])
def test_keterlambatan_it_names_backups_and_restores_and_refuses_nothing_else(story: Story, act: Ask) -> None:
    story.begin().overdue().until(2 * DAY + HOUR)
    assert (story.state, may(story, act), permissions.besides(act, terms(PROVIDER))) == ("active, suspended", "", "")


@pytest.mark.parametrize("pay", [False, True])
def test_restore_data_one_a_month_and_a_further_one_at_no_price(pay: bool) -> None:
    """Of restores this version makes none: what would be decided. The month is the one of the provider's zone."""
    by = terms(PROVIDER)
    in_november = datetime(2026, 11, 30, 23, 59, tzinfo=CALENDAR.zone)
    wanted = WantedRestore(service_id="s1", id="r2", size_bytes=10**9, at=in_november)
    assert charges.restore_terms(by, wanted, used_this_month=0, pay=pay) == Free("0 of 1 used in November 2026")
    refused = charges.restore_terms(by, wanted, used_this_month=1, pay=pay)
    assert isinstance(refused, Refusal)
    sentence = "restore refused: 1 of 1 used in November 2026, policy enterpage"
    assert (refused.reason, refused.rule) == (sentence, "enterpage: Bantuan Teknis, Restore Data")


# -- Kebijakan Privasi D and E ------------------------------------------------------------


def ended(story: Story) -> Story:
    """A customer of whom a name and evidence are known has left, on day 0."""
    story.begin().running()
    story.says("service.terminate", version=1, reason="moves away")
    assert story.state == "erased"
    story.day0 = story.clock.now()
    return story


def known(story: Story) -> tuple[str, str]:
    """What is personal in the record."""
    return story.service.client_id, story.service.order_id


def five_years(story: Story) -> timedelta:
    end = story.service.ended_at
    assert end is not None
    return CALENDAR.add_months(end, 60) - story.day0


def files(story: Story) -> int:
    with story.it.db.read() as conn:
        return len(evidence.of_service(conn, "s1"))


def test_privasi_d_what_is_personal_is_kept_5_years_from_the_end_and_then_deleted(story: Story) -> None:
    later = five_years(ended(story))
    story.until(later - MINUTE)
    assert known(story) == ("c1", "o-s1")
    story.until(later + MINUTE)
    assert (known(story), story.service.forgotten_at is not None) == (("", ""), True)


def test_privasi_d_while_somebody_is_a_customer_nothing_is_deleted(story: Story) -> None:
    story.begin().running()
    story.until(6 * 366 * DAY)
    assert (story.state, known(story)) == ("active", ("c1", "o-s1"))
    with pytest.raises(Refused, match="only what has ended"):
        forgets(story)


def test_privasi_e_a_request_wins_over_the_five_years(story: Story) -> None:
    ended(story).until(DAY)
    forgets(story)
    assert (known(story), story.service.forgotten_at is not None) == (("", ""), True)


def test_privasi_e_a_legal_hold_wins_over_the_request(story: Story) -> None:
    ended(story).until(DAY)
    holds_for_a_court(story)
    with pytest.raises(Refused, match="a legal hold forbids deleting personal data"):
        forgets(story)
    assert (known(story), files(story)) == (("c1", "o-s1"), 1)
    story.it.engine.conduct.lift("s1", HoldReason.LEGAL, "anna", "the court lifted it")
    forgets(story)
    assert (known(story), files(story)) == (("", ""), 0)


def test_privasi_d_a_legal_hold_keeps_it_past_the_five_years_until_the_court_s_day(story: Story) -> None:
    later = five_years(ended(story))
    holds_for_a_court(story, until=story.day0 + later + 30 * DAY)
    story.until(later + 30 * DAY - MINUTE)
    assert known(story) == ("c1", "o-s1")
    story.until(later + 30 * DAY + MINUTE)
    assert (known(story), story.service.holds, files(story)) == (("", ""), (), 0)


def test_privasi_d_a_legal_hold_that_comes_while_its_disks_are_wiped_is_not_lost_with_them(story: Story) -> None:
    story.begin().running()
    story.meanwhile("vps-terminate/certificate/before", lambda: holds_for_a_court(story))
    story.says("service.terminate", version=1, reason="moves away")
    assert (story.state, story.passed, FILE.sha256) == ("erased", True, story.service.holds[0].evidence)
    with pytest.raises(Refused, match="a legal hold"):
        forgets(story)
