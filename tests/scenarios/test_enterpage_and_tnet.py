"""Enterpage (document 000) and tnet (document 001) where they say the same: an order to its erasure, under the same headings."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.domain.complaints import Closed, ComplaintKind
from orchestrator.domain.errors import PermanentDriverError, Refused
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.permissions import Ask
from orchestrator.domain.policies import Effect
from orchestrator.domain.services import CancellationKind
from tests.scenarios.acts import answers, archive, ends, holds, may, owed, reports
from tests.scenarios.story import DAY, HOUR, MINUTE, Story

pytestmark = pytest.mark.parametrize("provider", ["enterpage", "tnet"])
LATE = "Billing & Payment, Keterlambatan"
DELETED = "Billing & Payment, Penghapusan"
SAFETY = "Keamanan Data"


def of_order(story: Story) -> None:
    story.says("order.paid", client_id="c1", plan="small", order_id="o1")


def terminated(story: Story) -> Story:
    """Nobody pays, and billing confirms the termination."""
    story.begin().overdue().until(9 * DAY + 2 * HOUR)
    story.confirms()
    return story


# -- Billing & Payment, Pembayaran ------------------------------------------------------------


def test_pembayaran_an_unpaid_order_is_cancelled_after_2_days_and_not_a_minute_before(story: Story) -> None:
    story.begin().ordered().until(2 * DAY - 5 * MINUTE)
    assert (story.state, story.done) == ("ordered", [])
    story.until(2 * DAY + 5 * MINUTE)
    assert (story.state, story.done, story.told("service.")) == ("cancelled", [], ["service.changed"])


def test_pembayaran_an_order_that_is_paid_in_the_last_minute_is_made(story: Story) -> None:
    story.begin().ordered().until(2 * DAY - MINUTE)
    of_order(story)
    story.until(3 * DAY)
    assert (story.state, story.done) == ("active", ["provision"])


def test_pembayaran_a_payment_after_the_cancellation_makes_what_was_ordered(story: Story) -> None:
    """The text is silent on it. Nothing was made that could be gone, so that the money buys what it was paid for."""
    story.begin().ordered().until(2 * DAY + 5 * MINUTE)
    assert (story.state, story.done) == ("cancelled", [])
    of_order(story)
    assert (story.state, story.done, story.told("payment.")) == ("active", ["provision"], [])


def test_pembayaran_nothing_ends_before_the_customer_has_confirmed_it_and_an_operator_gave_the_day(story: Story) -> None:
    """The text gives no day, and who only asks has confirmed nothing."""
    story.begin().running()
    story.says("service.cancel", version=1, reason="moves away")
    story.until(40 * DAY)
    story.says("service.cancel", version=2, reason="moves away", confirmed=True)
    assert [noted["needs"] for noted in story.messages("cancellation.noted")] == ["confirmation", "date"]
    assert {noted["clause"] for noted in story.messages("cancellation.noted")} == {"Billing & Payment, Pembayaran"}
    story.until(45 * DAY)
    assert (story.state, story.done) == ("active", ["provision"])
    ends(story, CancellationKind.CUSTOMER, on=story.day0 + 50 * DAY)
    story.until(50 * DAY - HOUR)
    assert (story.state, story.done) == ("active", ["provision"])
    story.until(50 * DAY + 2 * HOUR)
    story.confirms()
    assert (story.state, story.done) == ("erased", ["provision", "terminate"])


def test_pembayaran_who_keeps_it_after_all_is_not_ended(story: Story) -> None:
    story.begin().running()
    ends(story, CancellationKind.CUSTOMER, on=story.day0 + 5 * DAY)
    story.until(5 * DAY + 2 * HOUR)
    assert story.waits
    story.says("service.keep", version=2)
    assert (story.state, story.confirms()) == ("active", "nothing")
    story.until(20 * DAY)
    assert story.state == "active"


# -- Billing & Payment, Keterlambatan ------------------------------------------------------------


def test_keterlambatan_suspended_on_day_2_and_terminated_on_day_9_once_billing_confirms(story: Story) -> None:
    story.begin().overdue().until(2 * DAY - 5 * MINUTE)
    assert (story.state, story.done) == ("active", ["provision"])
    story.until(2 * DAY + HOUR)
    assert (story.state, story.done, LATE in story.last.reason) == ("active, suspended", ["provision", "suspend"], True)
    story.until(9 * DAY - HOUR)
    assert (story.state, story.done) == ("active, suspended", ["provision", "suspend"])
    story.until(9 * DAY + 2 * HOUR)
    assert (story.done[-1], story.when(IntentKind.TERMINATE) >= 9 * DAY, LATE in story.last.reason) == ("terminate", True, True)
    assert story.waits.startswith("billing is asked to confirm it")
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


@pytest.mark.parametrize("act", [Ask.BACKUP, Ask.RESTORE])
def test_keterlambatan_no_backup_and_no_restore_while_it_is_suspended_for_late_payment(story: Story, act: Ask) -> None:
    story.begin().overdue().until(2 * DAY - MINUTE)
    assert may(story, act) == ""
    story.until(2 * DAY + HOUR)
    assert may(story, act) == f"{act} refused while suspended for late payment [{story.provider}: {LATE}]"
    story.pays()
    assert may(story, act) == ""


def test_keterlambatan_a_suspension_for_something_else_refuses_neither(story: Story) -> None:
    story.begin().running()
    story.says("service.suspend", version=1, reason="abuse")
    assert (story.state, may(story, Ask.BACKUP), may(story, Ask.RESTORE)) == ("active, suspended", "", "")


@pytest.mark.parametrize("day", [2 * DAY - MINUTE, 2 * DAY + MINUTE, 9 * DAY - MINUTE, 9 * DAY + HOUR])
def test_keterlambatan_who_pays_before_it_is_terminated_runs_again_at_once_and_without_a_fee(
    story: Story, day: timedelta
) -> None:
    story.begin().overdue().until(day)
    story.pays()
    assert (story.state, story.service.holds, owed(story)) == ("active", (), [])
    story.until(20 * DAY)
    assert (story.state, story.service.holds) == ("active", ())


def test_keterlambatan_the_next_period_begins_anew(story: Story) -> None:
    story.begin().overdue().until(3 * DAY)
    story.pays(days=30)
    story.until(32 * DAY - HOUR)
    assert story.state == "active"
    story.until(32 * DAY + HOUR)
    assert story.state == "active, suspended"


# -- what is left ------------------------------------------------------------


def test_penghapusan_a_payment_after_the_end_buys_nothing_back(story: Story) -> None:
    terminated(story)
    assert (story.pays(), story.state, story.done[-1]) == ("nothing", "erased", "terminate")
    assert story.told("payment.") == ["payment.too_late"]
    late = story.it.event("invoice.paid", "s1", event_id="late").detail
    assert "a payment buys nothing back, a new order does" in late
    assert DELETED in late


def test_penghapusan_a_new_order_is_a_new_installation(story: Story) -> None:
    terminated(story)
    assert story.it.wait(story.it.order("s2").job_id).state.value == "done"
    assert (story.it.state("s1"), story.it.state("s2")) == ("erased", "active")


def test_keamanan_data_nothing_is_kept_and_nothing_is_returned(story: Story) -> None:
    terminated(story)
    assert (archive(story), story.told("certificate.")) == (False, ["certificate.issued"])
    assert may(story, Ask.RESTORE) == (f"restore refused: whose service has ended gets no data back [{story.provider}: {SAFETY}]")


def test_keamanan_data_who_cancels_gets_nothing_back_and_all_is_erased_with_the_end(story: Story) -> None:
    story.begin().running()
    story.pays(days=30)
    ends(story, CancellationKind.CUSTOMER, on=story.day0 + 5 * DAY)
    assert may(story, Ask.RESTORE) == ""
    story.until(5 * DAY + 2 * HOUR)
    story.confirms()
    assert (story.state, archive(story), story.told("certificate.")) == ("erased", False, ["certificate.issued"])
    assert (story.told("refund."), SAFETY in may(story, Ask.RESTORE)) == ([], True)


# -- Kapasitas Pemakaian ------------------------------------------------------------


def test_kapasitas_pemakaian_a_full_quota_stops_a_vps_which_cannot_be_made_read_only(story: Story) -> None:
    """Accepting, processing, sending: the mildest is to accept no more, which a node cannot do to a guest."""
    story.begin().running()
    with pytest.raises(Refused, match="a vps cannot be made read-only"):
        reports(story, ComplaintKind.QUOTA, effect=Effect.READ_ONLY)
    complaint = reports(story, ComplaintKind.QUOTA)
    assert (story.state, holds(story)) == ("active, suspended", [("quota", "stop")])
    assert story.messages("complaint.reported")[0]["clause"] == "Kapasitas Pemakaian"
    story.pays()
    assert story.state == "active, suspended"
    story.until(20 * DAY)
    assert (story.done, may(story, Ask.BACKUP)) == (["provision", "suspend"], "")
    answers(story, complaint, Closed.RESOLVED)
    assert (story.state, holds(story)) == ("active", [])


def test_kapasitas_pemakaian_it_may_stop_and_not_end(story: Story) -> None:
    story.begin().running()
    with pytest.raises(Refused, match="terminate does not follow from quota"):
        reports(story, ComplaintKind.QUOTA, effect=Effect.TERMINATE)
    assert (story.state, story.service.complaints) == ("active", ())
