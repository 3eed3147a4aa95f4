"""Zettagrid (document 004): what it may do asks a person; conduct has its clocks; a contract ends by its notice."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from orchestrator.domain import personal
from orchestrator.domain.calendar import DayKind, Days
from orchestrator.domain.complaints import Closed, ComplaintKind
from orchestrator.domain.errors import Refused
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.permissions import Ask
from orchestrator.domain.plans import LIMITED_NETWORK
from orchestrator.domain.policies import Effect
from orchestrator.domain.services import CancellationKind
from tests.fault.house import CALENDAR
from tests.scenarios.acts import (
    FILE,
    answers,
    archive,
    begin_on,
    ends,
    excess_traffic,
    forgets,
    holds,
    may,
    month_end,
    network,
    owed,
    reports,
    terms,
)
from tests.scenarios.story import DAY, HOUR, MINUTE, Story

PROVIDER = "zettagrid"


def test_4_8_1_b_unpaid_for_15_days_it_may_be_terminated_by_a_notice_that_goes_out_with_it(story: Story) -> None:
    story.begin().overdue().until(15 * DAY - HOUR)
    assert (story.state, story.done, story.told("notice.")) == ("active", ["provision"], [])
    story.until(15 * DAY + 2 * HOUR)
    assert (story.done[-1], story.told("notice.")) == ("terminate", ["notice.notice-terminate"])
    assert story.when(IntentKind.TERMINATE) >= 15 * DAY
    story.confirms()
    assert "4.8.1 b" in story.waits
    story.agrees()
    assert story.state == "erased"


def test_4_8_1_b_who_pays_while_a_person_is_asked_keeps_it(story: Story) -> None:
    story.begin().overdue().until(15 * DAY + 2 * HOUR)
    story.confirms()
    story.pays()
    assert (story.state, story.last.state.value) == ("active", "cancelled")
    story.until(29 * DAY)
    assert story.state == "active"


def test_7_3_16_a_charged_back_payment_may_suspend_without_notice_until_it_is_paid_again(story: Story) -> None:
    story.begin().running()
    story.pays(days=30)
    story.says("invoice.charged_back", invoice_id="i1", paid_until=story.day0.isoformat())
    assert (story.done[-1], "7.3.16" in story.waits, story.told("notice.")) == ("suspend", True, [])
    story.agrees()
    assert story.state == "active, suspended"
    story.pays(invoice="i2")
    assert story.state == "active"


def test_4_7_2_a_cancellation_takes_effect_at_the_end_of_the_calendar_month(story: Story) -> None:
    begin_on(story, day=10).running()
    story.says("service.cancel", version=1, reason="moves away")
    end = month_end(story.clock.now())
    story.later(end - HOUR - story.clock.now())
    assert (story.state, story.done) == ("active", ["provision"])
    story.later(3 * HOUR)
    assert story.done[-1] == "terminate"
    story.confirms()
    assert story.state == "erased"


def test_4_7_3_asked_for_later_than_1_business_day_before_that_it_is_the_next_month(story: Story) -> None:
    begin_on(story, day=10).running()
    end = month_end(story.clock.now())
    last = CALENDAR.subtract(end, Days(1, DayKind.BUSINESS))
    story.later(last + HOUR - story.clock.now())
    story.says("service.cancel", version=1, reason="too late")
    story.later(end + 2 * HOUR - story.clock.now())
    assert (story.state, story.done) == ("active", ["provision"])
    story.later(month_end(end + DAY) + 2 * HOUR - story.clock.now())
    assert story.done[-1] == "terminate"


def test_4_8_2_either_side_ends_it_without_cause_by_30_days_notice(story: Story) -> None:
    story.begin().running()
    ends(story, CancellationKind.WITHOUT_CAUSE)
    story.until(30 * DAY - HOUR)
    assert story.done == ["provision"]
    story.until(30 * DAY + 2 * HOUR)
    assert story.done[-1] == "terminate"


def test_5_3_1_nothing_is_returned_to_who_has_left(story: Story) -> None:
    story.begin().running()
    assert may(story, Ask.RESTORE) == ""
    story.says("service.terminate", version=1, reason="left")
    assert "[zettagrid: 5.3.1]" in may(story, Ask.RESTORE)


def test_5_3_3_all_is_erased_with_the_end_long_before_the_90_days(story: Story) -> None:
    begin_on(story, day=10).running()
    story.says("service.cancel", version=1, reason="moves away")
    end = month_end(story.clock.now())
    story.later(end + HOUR - story.clock.now())
    story.confirms()
    assert (story.state, archive(story), story.told("certificate.")) == ("erased", False, ["certificate.issued"])
    assert story.service.ended_at is not None
    assert story.service.ended_at - end < DAY


def test_5_3_2_metadata_is_kept_without_limit_and_no_request_deletes_it(story: Story) -> None:
    story.begin().running()
    story.says("service.terminate", version=1, reason="left")
    story.until(20 * 366 * DAY)
    with pytest.raises(Refused, match="has no rule by which personal data"):
        forgets(story)
    assert (story.service.client_id, story.service.order_id) == ("c1", "o-s1")
    assert not {"client_id", "order_id"} & set(personal.blanks(terms(PROVIDER)))


def test_4_8_2_not_before_what_is_paid_for_ends_where_that_is_longer(story: Story) -> None:
    story.begin().running()
    story.pays(days=60)
    ends(story, CancellationKind.WITHOUT_CAUSE)
    story.until(60 * DAY - HOUR)
    assert story.done == ["provision"]
    story.until(60 * DAY + 2 * HOUR)
    assert (story.done[-1], "4.8.2" in story.last.reason) == ("terminate", True)


@pytest.mark.parametrize(("days", "given"), [(7, True), (8, False)])
def test_7_4_1_money_is_given_back_within_7_days_of_the_purchase_without_the_set_up_fee(
    story: Story, days: int, given: bool
) -> None:
    story.begin().running()
    story.until(days * DAY - HOUR)
    if not given:
        with pytest.raises(Refused, match=r"7\.4\.1"):
            ends(story, CancellationKind.MONEY_BACK)
        assert story.messages("refund.due") == []
        return
    ends(story, CancellationKind.MONEY_BACK)
    story.later(HOUR)
    (refund,) = story.messages("refund.due")
    assert (refund["reason"], refund["setup_fees"]) == ("money-back", False)
    assert story.done[-1] == "terminate"


def disputed(story: Story, *, issued: timedelta, part: bool = False) -> str:
    story.begin().overdue().until(DAY)
    issued_at = (story.clock.now() - issued).isoformat()
    return story.says("invoice.disputed", invoice_id="i1", issued_at=issued_at, part=part, reason="double booking")


def test_7_2_a_dispute_within_10_days_stops_the_clock_and_its_verdict_is_due_in_5_business_days(story: Story) -> None:
    disputed(story, issued=9 * DAY)
    raised = story.clock.now()
    story.until(40 * DAY)
    assert (story.state, story.done, story.told("notice.")) == ("active", ["provision"], ["notice.verdict-due"])
    (due,) = story.messages("notice.verdict-due")
    wanted = CALENDAR.add(raised, Days(5, DayKind.BUSINESS))
    assert abs(datetime.fromisoformat(due["at"]) - wanted) <= MINUTE


def test_7_2_a_dispute_that_comes_later_stops_nothing(story: Story) -> None:
    disputed(story, issued=11 * DAY)
    story.until(15 * DAY + 2 * HOUR)
    assert story.done[-1] == "terminate"


def test_7_2_2_what_is_not_disputed_of_an_invoice_stays_due(story: Story) -> None:
    disputed(story, issued=2 * DAY, part=True)
    story.until(15 * DAY + 2 * HOUR)
    assert story.done[-1] == "terminate"


def test_7_2_who_loses_it_has_2_business_days_before_the_15_days_begin(story: Story) -> None:
    disputed(story, issued=2 * DAY)
    story.until(4 * DAY)
    story.says("invoice.dispute_settled", invoice_id="i1", upheld=False)
    begins = CALENDAR.add(story.clock.now(), Days(2, DayKind.BUSINESS))
    story.later(begins + 15 * DAY - HOUR - story.clock.now())
    assert "terminate" not in story.done
    story.later(3 * HOUR)
    assert story.done[-1] == "terminate"


def test_7_2_who_wins_it_owes_nothing(story: Story) -> None:
    disputed(story, issued=2 * DAY)
    story.says("invoice.dispute_settled", invoice_id="i1", upheld=True)
    story.until(60 * DAY)
    assert (story.state, story.done) == ("active", ["provision"])


def test_4_5_1_a_copyright_notice_limits_after_72_hours_and_only_the_network(story: Story) -> None:
    story.begin().running()
    before = network(story)
    notice = reports(story, ComplaintKind.COPYRIGHT)
    story.until(72 * HOUR - 5 * MINUTE)
    assert (network(story), holds(story)) == (before, [])
    story.until(72 * HOUR + 5 * MINUTE)
    assert (story.state, network(story), holds(story)) == ("active", LIMITED_NETWORK, [("abuse", "limit")])
    story.pays()
    assert network(story) == LIMITED_NETWORK
    answers(story, notice, Closed.CEASED)
    assert (network(story), holds(story)) == (before, [])


@pytest.mark.parametrize("how", [Closed.CEASED, Closed.WAIVED])
def test_4_5_3_who_ceases_or_is_waived_in_the_last_minute_is_never_limited(story: Story, how: Closed) -> None:
    story.begin().running()
    notice = reports(story, ComplaintKind.COPYRIGHT)
    story.until(72 * HOUR - MINUTE)
    answers(story, notice, how, FILE)
    story.until(5 * DAY)
    assert (story.done, holds(story)) == (["provision"], [])


def test_4_5_3_a_notice_is_waived_on_evidence_only(story: Story) -> None:
    story.begin().running()
    notice = reports(story, ComplaintKind.COPYRIGHT)
    with pytest.raises(Refused, match="evidence"):
        answers(story, notice, Closed.WAIVED)


@pytest.mark.parametrize(("waived", "ended"), [(0, True), (1, False)])
def test_4_5_4_the_fourth_notice_in_30_days_that_was_not_waived_may_end_it(story: Story, waived: int, ended: bool) -> None:
    story.begin().running()
    for number in range(4):
        notice = reports(story, ComplaintKind.COPYRIGHT)
        answers(story, notice, Closed.WAIVED if number < waived else Closed.CEASED, FILE)
        story.later(DAY)
    assert ("terminate" in story.done) == ended
    if ended:
        assert story.told("notice.") == ["notice.notice-conduct"]
        story.confirms()
        assert story.waits
        story.agrees()
        assert story.state == "erased"


@pytest.mark.parametrize(
    ("kind", "state", "held"),
    [
        (ComplaintKind.ABUSE, "active, suspended", "stop"),
        (ComplaintKind.LICENCE, "active, suspended", "stop"),
        (ComplaintKind.HARM, "active", "limit"),
    ],
)
def test_4_2_1_5_8_2_and_4_13_10_the_mildest_that_the_clause_has_is_done_at_once(
    story: Story, kind: ComplaintKind, state: str, held: str
) -> None:
    story.begin().running()
    complaint = reports(story, kind)
    assert (story.state, holds(story)) == (state, [("abuse", held)])
    answers(story, complaint, Closed.RESOLVED)
    assert (story.state, holds(story)) == ("active", [])


def test_4_13_10_what_harms_others_may_be_shut_down_besides(story: Story) -> None:
    story.begin().running()
    reports(story, ComplaintKind.HARM, effect=Effect.SUSPEND)
    assert (story.state, holds(story)) == ("active, suspended", [("abuse", "stop")])


def test_7_1_1_b_and_7_3_8_traffic_in_excess_is_charged_in_arrears(story: Story) -> None:
    excess_traffic(story)
    assert owed(story) == [("traffic", 3_500, "7.1.1 b, 7.3.8")]


def test_7_3_16_a_payment_at_the_last_moment_before_an_operator_agrees_is_never_stopped(story: Story) -> None:
    story.begin().running()
    story.pays(days=30)
    story.says("invoice.charged_back", invoice_id="i1", paid_until=story.day0.isoformat())
    assert story.waits
    story.pays(invoice="i2")
    assert (story.state, story.waits, story.service.holds) == ("active", "", ())
    story.until(29 * DAY)
    assert (story.state, story.service.suspension_proven_at) == ("active", None)


def test_4_2_1_the_customer_is_told_before_a_termination_for_reckless_use(story: Story) -> None:
    story.begin().running()
    reports(story, ComplaintKind.ABUSE, effect=Effect.TERMINATE)
    story.until(HOUR)
    assert (story.told("notice."), story.done[-1]) == (["notice.notice-conduct"], "terminate")
