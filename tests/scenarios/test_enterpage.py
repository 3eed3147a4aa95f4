"""Enterpage (document 000): an order to its erasure, with payments at every awkward moment."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.domain.errors import PermanentDriverError
from orchestrator.domain.intents import IntentKind
from tests.scenarios.story import DAY, HOUR, MINUTE, Story

PROVIDER = "enterpage"


def test_pembayaran_an_unpaid_order_is_cancelled_after_2_days_and_not_a_minute_before(story: Story) -> None:
    story.begin().ordered().until(2 * DAY - 5 * MINUTE)
    assert (story.state, story.done) == ("ordered", [])
    story.until(2 * DAY + 5 * MINUTE)
    assert (story.state, story.done) == ("cancelled", [])


def test_pembayaran_an_order_that_is_paid_in_the_last_minute_is_made(story: Story) -> None:
    story.begin().ordered().until(2 * DAY - MINUTE)
    story.says("order.paid", client_id="c1", plan="small", order_id="o1")
    story.until(3 * DAY)
    assert (story.state, story.done) == ("active", ["provision"])


def test_pembayaran_a_payment_after_the_cancellation_makes_nothing_and_is_given_back(story: Story) -> None:
    story.begin().ordered().until(2 * DAY + 5 * MINUTE)
    story.says("order.paid", client_id="c1", plan="small", order_id="o1")
    assert (story.state, story.done, story.told("payment.")) == ("cancelled", [], ["payment.too_late"])


def test_keterlambatan_suspended_on_day_2_and_terminated_on_day_9(story: Story) -> None:
    story.begin().overdue().until(2 * DAY - 5 * MINUTE)
    assert (story.state, story.done) == ("active", ["provision"])
    story.until(2 * DAY + HOUR)
    assert (story.state, story.done) == ("active, suspended", ["provision", "suspend"])
    story.until(9 * DAY - HOUR)
    assert (story.state, story.done) == ("active, suspended", ["provision", "suspend"])
    story.until(9 * DAY + 2 * HOUR)
    assert (story.done[-1], story.when(IntentKind.TERMINATE) >= 9 * DAY) == ("terminate", True)
    story.confirms()
    assert story.state == "erased"
    assert story.told("certificate.") == ["certificate.issued"]


def test_keterlambatan_the_seven_days_count_from_the_suspension_in_force_and_not_from_the_order_to_suspend(
    story: Story,
) -> None:
    story.begin().overdue()
    story.it.world.fault("hypervisor.mark", nth=0, error=PermanentDriverError("the node is broken"))
    story.until(5 * DAY)
    early = story.service.suspension_proven_at
    story.it.world.clear_faults()
    story.until(6 * DAY)
    proven = story.service.suspension_proven_at
    assert early is None
    assert proven is not None
    story.later(proven + 7 * DAY - HOUR - story.clock.now())
    assert "terminate" not in story.done
    story.later(2 * HOUR)
    assert story.done[-1] == "terminate"


@pytest.mark.parametrize("day", [2 * DAY - 5 * MINUTE, 2 * DAY + HOUR, 9 * DAY - 5 * MINUTE, 9 * DAY + HOUR])
def test_keterlambatan_who_pays_before_it_is_terminated_runs_again_at_once(story: Story, day: timedelta) -> None:
    story.begin().overdue().until(day)
    story.pays()
    assert (story.state, story.service.holds) == ("active", ())
    story.until(20 * DAY)
    assert (story.state, story.service.holds) == ("active", ())


def test_penghapusan_a_payment_after_the_termination_buys_nothing_back(story: Story) -> None:
    story.begin().overdue().until(9 * DAY + 2 * HOUR)
    story.confirms()
    assert story.pays() == "nothing"
    assert (story.state, story.done[-1], story.told("payment.")) == ("erased", "terminate", ["payment.too_late"])


def test_penghapusan_the_next_period_begins_anew(story: Story) -> None:
    story.begin().overdue().until(3 * DAY)
    story.pays(days=30)
    story.until(32 * DAY - HOUR)
    assert story.state == "active"
    story.until(32 * DAY + HOUR)
    assert story.state == "active, suspended"
