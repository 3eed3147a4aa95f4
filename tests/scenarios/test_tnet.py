"""Tnet (document 001): as enterpage in what is overdue, with more that is refused meanwhile, and a price for restores."""

from __future__ import annotations

from datetime import datetime

import pytest

from orchestrator.domain import charges, permissions
from orchestrator.domain.charges import Charge, Free, WantedRestore
from orchestrator.domain.complaints import ComplaintKind
from orchestrator.domain.errors import Refused
from orchestrator.domain.intents import IntentKind, Refusal
from orchestrator.domain.permissions import Ask
from orchestrator.domain.services import CancellationKind
from orchestrator.engine.settings import nothing_beside
from tests.scenarios.acts import ends, reports, terms
from tests.scenarios.story import DAY, HOUR, MINUTE, Story

PROVIDER = "tnet"
LATE = "Billing & Payment, Keterlambatan"


def may(story: Story, act: Ask) -> str:
    """What a customer is told who asks for it; '' = it may be done."""
    refusal = permissions.may(act, story.service, terms(PROVIDER, "vps"))
    return "" if refusal is None else f"{refusal.reason} [{refusal.rule}]"


def test_pembayaran_an_order_that_is_not_confirmed_within_2_days_is_cancelled(story: Story) -> None:
    story.begin().ordered().until(2 * DAY - 5 * MINUTE)
    assert story.state == "ordered"
    story.until(2 * DAY + 5 * MINUTE)
    assert (story.state, story.told("service.")) == ("cancelled", ["service.changed"])


def test_keterlambatan_suspended_on_day_2_terminated_on_day_9_once_billing_confirms(story: Story) -> None:
    story.begin().overdue().until(2 * DAY + HOUR)
    assert story.state == "active, suspended"
    story.until(9 * DAY + 2 * HOUR)
    assert (story.done, story.when(IntentKind.TERMINATE) >= 9 * DAY) == (["provision", "suspend", "terminate"], True)
    assert story.waits.startswith("billing is asked to confirm it")
    story.confirms()
    assert story.state == "erased"


@pytest.mark.parametrize("point", ["vps-terminate/hold/before", "vps-terminate/stop/after", "vps-terminate/wipe/before"])
def test_keterlambatan_who_pays_while_it_is_terminated_keeps_it_until_the_wipe(story: Story, point: str) -> None:
    story.begin().overdue().until(9 * DAY + 2 * HOUR)
    story.pays_at(point)
    story.confirms()
    story.turn()
    assert story.passed
    assert (story.state, story.service.holds, story.told("payment.")) == ("active", (), [])


def test_keterlambatan_who_pays_during_the_wipe_is_told_too_late(story: Story) -> None:
    story.begin().overdue().until(9 * DAY + 2 * HOUR)
    story.pays_at("vps-terminate/wipe/after")
    story.confirms()
    story.turn()
    assert (story.state, story.told("payment.")) == ("erased", ["payment.too_late"])


@pytest.mark.parametrize("point", ["vps-suspend/hold/during", "vps-suspend/prove/before"])
def test_keterlambatan_a_controller_that_dies_while_it_suspends_has_suspended_when_it_is_back(story: Story, point: str) -> None:
    story.begin().overdue()
    story.dies_at(point)
    story.until(2 * DAY + HOUR)
    assert story.passed
    assert (story.state, story.service.suspension_proven_at is not None) == ("active, suspended", True)


def test_keterlambatan_who_pays_while_the_controller_that_suspends_is_down_runs_again(story: Story) -> None:
    story.begin().overdue()
    until = (story.day0 + 30 * DAY).isoformat()

    def pays() -> None:
        story.it.event("invoice.paid", "s1", invoice_id="i1", paid_until=until)

    story.dies_at("vps-suspend/stop/during", first=pays)
    story.until(3 * DAY)
    assert story.passed
    assert (story.state, story.service.holds) == ("active", ())


@pytest.mark.parametrize("act", [Ask.BACKUP, Ask.RESTORE, Ask.DOWNGRADE, Ask.SHORTER_TERM])
def test_keterlambatan_and_downgrade_what_is_refused_while_it_is_suspended_for_late_payment(story: Story, act: Ask) -> None:
    story.begin().overdue().until(HOUR)
    assert may(story, act) == ""
    story.until(2 * DAY + HOUR)
    assert "tnet" in may(story, act)
    assert "Billing & Payment" in may(story, act)
    story.pays()
    assert may(story, act) == ""


def test_penghapusan_a_payment_after_the_end_buys_nothing_back(story: Story) -> None:
    story.begin().overdue().until(9 * DAY + 2 * HOUR)
    story.confirms()
    assert (story.pays(), story.state, story.told("payment.")) == ("nothing", "erased", ["payment.too_late"])
    assert "Billing & Payment, Penghapusan" in story.it.event("invoice.paid", "s1", event_id="late").detail


def test_keamanan_data_nothing_is_kept_and_nothing_is_returned(story: Story) -> None:
    story.begin().overdue().until(9 * DAY + 2 * HOUR)
    story.confirms()
    assert "Keamanan Data" in may(story, Ask.RESTORE)
    assert story.told("certificate.") == ["certificate.issued"]


def test_pembayaran_a_cancellation_needs_the_customers_word_and_an_operators_date(story: Story) -> None:
    story.begin().running()
    story.says("service.cancel", version=1, reason="moves away")
    story.until(40 * DAY)
    assert story.state == "active"
    ends(story, CancellationKind.CUSTOMER, on=story.day0 + 50 * DAY)
    story.until(50 * DAY - HOUR)
    assert (story.state, "terminate" in story.done) == ("active", False)
    story.until(50 * DAY + 2 * HOUR)
    assert story.done[-1] == "terminate"
    story.confirms()
    assert story.state == "erased"


def test_pembayaran_who_keeps_it_after_all_is_not_ended(story: Story) -> None:
    story.begin().running()
    ends(story, CancellationKind.CUSTOMER, on=story.day0 + 5 * DAY)
    story.until(5 * DAY + 2 * HOUR)
    assert story.waits
    story.says("service.keep", version=2)
    assert (story.state, story.confirms()) == ("active", "nothing")
    story.until(20 * DAY)
    assert story.state == "active"


def test_restore_data_one_a_month_is_included_and_each_further_one_costs_100000_a_started_gigabyte() -> None:
    by = terms(PROVIDER, "vps")
    wanted = WantedRestore(service_id="s1", id="r2", size_bytes=10**9 + 1, at=datetime(2026, 11, 20, 12, tzinfo=by.calendar.zone))
    assert isinstance(charges.restore_terms(by, wanted, used_this_month=0, pay=False), Free)
    refused = charges.restore_terms(by, wanted, used_this_month=1, pay=False)
    assert isinstance(refused, Refusal)
    sentence = "restore refused: 1 of 1 used in November 2026, policy tnet; more at Rp 100,000 per GB: --pay"
    assert (refused.reason, refused.rule) == (sentence, "tnet: Bantuan Teknis, Restore Data")
    paid = charges.restore_terms(by, wanted, used_this_month=1, pay=True)
    assert isinstance(paid, Charge)
    assert paid.amount == 200_000


def test_penyimpanan_data_pelanggan_what_is_personal_is_deleted_on_request_and_not_while_it_lives(story: Story) -> None:
    story.begin().running()
    leaving = story.it.engine.leaving
    with pytest.raises(Refused, match="only what has ended"):
        leaving.forget("s1", who="anna", why="asked", beside=nothing_beside)
    story.says("service.terminate", version=1, reason="asked")
    leaving.forget("s1", who="anna", why="asked", beside=nothing_beside)
    assert (story.service.client_id, story.service.forgotten_at is not None) == ("", True)


def test_kapasitas_pemakaian_a_full_quota_stops_what_can_be_stopped(story: Story) -> None:
    story.begin().running()
    reports(story, ComplaintKind.QUOTA)
    assert (story.state, story.service.stop_reasons) == ("active, suspended", ["quota"])
    story.pays()
    assert story.state == "active, suspended"


def test_what_the_text_is_silent_on_is_refused_by_name(story: Story) -> None:
    story.begin().running()
    with pytest.raises(Refused, match="says nothing of abuse"):
        reports(story, ComplaintKind.ABUSE)
