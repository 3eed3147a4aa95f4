"""What this software does by itself where a plan names no policy: it reminds, and asks before it stops or ends anything."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.scenarios.acts import begin_on
from tests.scenarios.story import DAY, HOUR, MINUTE, Story

PROVIDER = "default"


def test_unpaid_orders_an_order_is_cancelled_after_14_days(story: Story) -> None:
    story.begin().ordered().until(14 * DAY - 5 * MINUTE)
    assert story.state == "ordered"
    story.until(14 * DAY + 5 * MINUTE)
    assert (story.state, story.done) == ("cancelled", [])


def test_overdue_services_it_is_suspended_after_7_days_when_an_operator_agrees(story: Story) -> None:
    story.begin().overdue().until(7 * DAY - 5 * MINUTE)
    assert story.done == ["provision"]
    story.until(7 * DAY + 5 * MINUTE)
    assert (story.done, story.state) == (["provision", "suspend"], "active")
    assert "default: overdue services" in story.waits
    story.agrees()
    assert story.state == "active, suspended"


def test_overdue_services_what_nobody_agrees_to_is_neither_suspended_nor_terminated(story: Story) -> None:
    story.begin().overdue().until(60 * DAY)
    assert (story.done, story.state) == (["provision", "suspend"], "active")


@pytest.mark.parametrize("paid", [7 * DAY - MINUTE, 7 * DAY + 5 * MINUTE])
def test_overdue_services_a_payment_calls_off_what_waits(story: Story, paid: timedelta) -> None:
    story.begin().overdue().until(paid)
    story.pays(days=200)
    story.until(45 * DAY)
    assert (story.state, story.service.holds, story.waits) == ("active", (), "")


def test_overdue_services_it_ends_30_days_after_the_suspension_with_a_notice_7_days_old_and_both_agreeing(story: Story) -> None:
    story.begin().overdue().until(8 * DAY)
    story.agrees()
    suspended = story.clock.now() - story.day0
    story.until(suspended + 23 * DAY - HOUR)
    assert story.told("notice.notice-") == []
    story.until(suspended + 23 * DAY + HOUR)
    assert story.told("notice.notice-") == ["notice.notice-terminate"]
    story.until(suspended + 30 * DAY - HOUR)
    assert story.done == ["provision", "suspend"]
    story.until(suspended + 30 * DAY + 2 * HOUR)
    assert story.done[-1] == "terminate"
    story.confirms()
    assert story.state == "active, suspended"
    assert "billing has confirmed it" in story.waits
    story.agrees()
    assert story.state == "erased"


def test_overdue_services_who_pays_while_the_termination_waits_runs_again(story: Story) -> None:
    story.begin().overdue().until(8 * DAY)
    story.agrees()
    story.until(39 * DAY)
    assert story.done[-1] == "terminate"
    story.pays(days=90)
    story.until(60 * DAY)
    assert (story.state, story.service.holds) == ("active", ())


def test_notices_reminders_go_out_before_the_suspension_and_before_the_termination(story: Story) -> None:
    story.begin().overdue().until(HOUR)
    assert story.told("notice.remind-") == ["notice.remind-suspend"]
    story.until(4 * DAY + HOUR)
    assert story.told("notice.remind-") == ["notice.remind-suspend"] * 2
    story.until(8 * DAY)
    assert story.told("notice.remind-") == ["notice.remind-suspend"] * 3
    assert {message["clause"] for message in story.messages("notice.remind-suspend")} == {"default: notices"}
    story.agrees()
    story.until(8 * DAY + 30 * DAY - HOUR)
    assert story.told("notice.remind-terminate") == ["notice.remind-terminate"] * 2


def test_cancellations_nothing_ends_before_the_customer_has_confirmed_it(story: Story) -> None:
    begin_on(story, 10).running()
    story.pays(days=5)
    story.says("service.cancel", version=1, reason="moves away")
    assert story.messages("cancellation.noted")[0]["needs"] == "confirmation"
    story.until(4 * DAY)
    story.says("service.cancel", version=2, reason="moves away", confirmed=True)
    story.until(5 * DAY - HOUR)
    assert story.done == ["provision"]
    story.until(5 * DAY + HOUR)
    assert story.done == ["provision", "terminate"]
