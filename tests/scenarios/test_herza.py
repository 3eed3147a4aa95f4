"""Herza (document 003): the archive and the way back out of it, periods, hours, money back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.domain import archives, cancellations, charges, conduct, leaving, reactivation
from orchestrator.domain.calendar import DayKind, Days
from orchestrator.domain.complaints import Closed, ComplaintKind
from orchestrator.domain.errors import PermanentDriverError, Refused
from orchestrator.domain.intents import Refusal
from orchestrator.domain.plans import Use
from orchestrator.domain.policies import Effect
from orchestrator.domain.services import CancellationKind
from tests.fault.house import CALENDAR, PLAN
from tests.scenarios.acts import answers, archive, begin_on, excess_traffic, holds, is_let_end, owed, reports, terms
from tests.scenarios.story import DAY, HOUR, MINUTE, Story
from tests.unit.decision_words import E, event
from tests.unit.test_deadlines import DUE, SERVICE, suspended

PROVIDER = "herza"
BACK = "Kebijakan Billing, Biaya Aktivasi Kembali untuk Cloud Server, VPS, Dedicated Server, Colocation"


def terminated(story: Story) -> Story:
    """Billing has the service ended, on day 0."""
    story.begin().running()
    story.says("service.terminate", version=1, reason="arrears")
    story.day0 = story.clock.now()
    return story


def test_aktivasi_kembali_arrears_alone_stop_and_end_nothing(story: Story) -> None:
    story.begin().overdue().until(90 * DAY)
    assert (story.state, story.done, story.told("notice.")) == ("active", ["provision"], [])


def test_aktivasi_kembali_an_archive_is_kept_for_5_days_and_then_erased(story: Story) -> None:
    terminated(story).until(5 * DAY - 10 * MINUTE)
    assert (story.state, archive(story), story.done) == ("archived", True, ["provision", "terminate"])
    story.until(5 * DAY + 10 * MINUTE)
    assert story.done[-1] == "erase"
    story.confirms()
    assert (story.state, archive(story)) == ("erased", False)
    assert len(story.told("certificate.")) == 2


@pytest.mark.parametrize("day", [HOUR, 5 * DAY - 10 * MINUTE, 5 * DAY + 10 * MINUTE])
def test_aktivasi_kembali_a_payment_brings_it_back_out_of_the_archive_for_rp_50000(story: Story, day: timedelta) -> None:
    """Also in the last minutes, and while the erasure waits for billing's word."""
    terminated(story).until(day)
    story.pays(days=60)
    assert (story.state, story.done[-1], archive(story)) == ("active", "reactivate", True), "what it came from is its backup now"
    assert owed(story) == [("reactivation", 50_000, BACK)]
    assert story.told("payment.") == []
    story.until(20 * DAY)
    assert story.state == "active"


def test_aktivasi_kembali_a_payment_as_the_erasure_begins_still_brings_it_back(story: Story) -> None:
    terminated(story).until(5 * DAY + 10 * MINUTE)
    story.pays_at("vps-erase/destroy/before", days=60)
    story.confirms()
    story.turn()
    assert story.passed
    assert (story.state, story.done[-1], story.told("payment.")) == ("active", "reactivate", [])


def test_aktivasi_kembali_a_payment_after_the_archive_was_destroyed_comes_too_late(story: Story) -> None:
    terminated(story).until(5 * DAY + 10 * MINUTE)
    story.pays_at("vps-erase/residue/before", days=60)
    story.confirms()
    story.turn()
    assert story.passed
    assert (story.state, story.told("payment."), owed(story)) == ("erased", ["payment.too_late"], [])


def test_aktivasi_kembali_a_payment_while_its_disks_are_wiped_brings_it_back_when_that_is_done(story: Story) -> None:
    story.begin().running()
    story.pays_at("vps-terminate/wipe/after", days=60)
    story.says("service.terminate", version=1, reason="arrears")
    story.turn()
    assert story.passed
    assert (story.state, story.done) == ("active", ["provision", "terminate", "reactivate"])
    assert owed(story) == [("reactivation", 50_000, BACK)]


def test_aktivasi_kembali_the_fee_is_due_once_for_a_suspension_that_was_paid_away(story: Story) -> None:
    story.begin().overdue()
    story.says("service.suspend", version=1, reason="overdue")
    assert story.state == "active, suspended"
    story.until(DAY)
    story.pays()
    story.pays(invoice="i2")
    assert (story.state, owed(story)) == ("active", [("reactivation", 50_000, BACK)])


@pytest.mark.parametrize(
    ("kind", "amount"),
    [
        ("dedicated", 150_000),
        ("colocation", 300_000),
        ("half-rack", 1_000_000),
        ("full-rack", 2_500_000),
        ("hosting", None),
        ("cloud", None),
        ("reseller", None),
    ],
)
def test_aktivasi_kembali_the_fees_of_the_kinds_that_this_version_makes_none_of(kind: str, amount: int | None) -> None:
    """Hosting's stands in an annex that nobody has; of cloud and reseller the text has no amount."""
    charge = charges.reactivation("s1", DUE, terms(PROVIDER, kind), why="it was cut off")
    assert (charge and (charge.amount, charge.clause)) == (amount and (amount, BACK))


def test_aktivasi_kembali_who_cancelled_comes_back_for_the_fee_too(story: Story) -> None:
    begin_on(story, 10).running()
    story.says("service.cancel", version=1, reason="moves away")
    first = story.service.activated_at
    assert first is not None
    story.until(CALENDAR.add_months(first, 1) - story.day0 + HOUR)
    story.confirms()
    assert story.state == "archived"
    story.day0 = story.clock.now()
    story.pays()
    assert (story.state, owed(story)) == ("active", [("reactivation", 50_000, BACK)])
    story.until(29 * DAY)
    assert (story.state, story.service.cancellation) == ("active", None)


def test_aktivasi_kembali_who_pays_before_the_wipe_of_what_billing_ends_keeps_it_without_a_fee(story: Story) -> None:
    story.begin().running()
    for version, point in enumerate(("hold/before", "archive/during", "archive/after", "undefine/after", "wipe/before"), start=1):
        story.pays_at(f"vps-terminate/{point}", days=version)
        story.says("service.terminate", version=version, reason="arrears")
        # What was kept before the payment came stays, as a backup like any other.
        kept = point != "hold/before"
        assert (story.passed, story.state, archive(story), owed(story)) == (True, "active", kept, []), point
    assert (story.told("payment."), story.told("certificate.")) == ([], [])


@pytest.mark.parametrize("point", ["wipe/during", "certificate/during", "finish/before"])
def test_aktivasi_kembali_who_pays_as_the_controller_dies_in_the_wipe_gets_it_back(story: Story, point: str) -> None:
    story.begin().running()
    story.pays_and_it_dies_at(f"vps-terminate/{point}", days=60)
    story.says("service.terminate", version=1, reason="arrears")
    story.turn()
    assert (story.passed, story.state, story.done) == (True, "active", ["provision", "terminate", "reactivate"])
    assert (owed(story), story.told("payment.")) == ([("reactivation", 50_000, BACK)], [])


@pytest.mark.parametrize(("point", "back"), [("vps-erase/destroy/before", True), ("vps-erase/destroy/during", False)])
def test_aktivasi_kembali_a_payment_and_a_crash_while_the_archive_is_erased(story: Story, point: str, back: bool) -> None:
    terminated(story).until(5 * DAY + 10 * MINUTE)
    story.pays_and_it_dies_at(point, days=60)
    story.confirms()
    story.turn()
    wanted = ("active", []) if back else ("erased", ["payment.too_late"])
    assert (story.passed, (story.state, story.told("payment."))) == (True, wanted)


def test_aktivasi_kembali_of_shared_hosting_no_archive_is_promised() -> None:
    assert archives.kept_for(terms(PROVIDER, "hosting")) is None
    assert archives.kept_for(terms(PROVIDER, "dedicated")) == Days(5)


def test_aktivasi_kembali_what_does_not_run_2_business_days_after_the_payment_is_told(story: Story) -> None:
    begin_on(story, 10).overdue()
    story.says("service.suspend", version=1, reason="overdue")
    story.it.world.fault("hypervisor.mark", nth=0, error=PermanentDriverError("the node is broken"))
    paid = story.clock.now()
    story.pays()
    end = CALENDAR.add(paid, Days(2, DayKind.BUSINESS))
    story.until(end - story.day0 - 10 * MINUTE)
    assert story.told("notice.late") == []
    story.until(end - story.day0 + 10 * MINUTE)
    assert story.told("notice.late") == ["notice.late-reactivation"]
    assert story.messages("notice.late-reactivation")[0]["clause"] == BACK


def test_shared_web_hosting_the_provider_consents_within_30_business_days_and_decides_later() -> None:
    """Of hosting this version makes none: what would be decided. 12 March 2026 is a Thursday, 23 April 30 business days later."""
    hosting, vps, held = terms(PROVIDER, "hosting"), terms(PROVIDER, "vps"), suspended()
    assert "the provider consents" in reactivation.consent(held, hosting, now=DUE + 44 * DAY)
    assert "later than 30 business days" in reactivation.consent(held, hosting, now=DUE + 44 * DAY + MINUTE)
    assert reactivation.consent(held, vps, now=DUE + 90 * DAY) == ""


def test_jasa_layanan_bulanan_a_period_ends_on_the_anniversary_and_14_days_of_notice_count(story: Story) -> None:
    """Ordered on the 10th; the minimum term of a month ends with the first period."""
    begin_on(story, 10).running()
    first = story.service.activated_at
    assert first is not None
    story.says("service.cancel", version=1, reason="moves away")
    (noted,) = story.messages("cancellation.noted")
    assert noted["effective_at"] == CALENDAR.add_months(first, 1).isoformat()
    story.until(CALENDAR.add_months(first, 1) - story.day0 - HOUR)
    assert story.done == ["provision"]
    story.until(CALENDAR.add_months(first, 1) - story.day0 + HOUR)
    assert story.done == ["provision", "terminate"]
    story.confirms()
    assert (story.state, archive(story)) == ("archived", True)


def test_penagihan_asked_for_less_than_14_days_before_the_end_it_runs_a_period_longer(story: Story) -> None:
    begin_on(story, 10).running()
    first = story.service.activated_at
    assert first is not None
    end = CALENDAR.add_months(first, 1)
    story.until(end - 14 * DAY - story.day0 + 10 * MINUTE)
    story.says("service.cancel", version=1, reason="moves away")
    (noted,) = story.messages("cancellation.noted")
    assert noted["effective_at"] == CALENDAR.add_months(first, 2).isoformat()
    assert noted["clause"] == "Kebijakan Billing, Penagihan; Kebijakan Billing, Biaya Jasa Layanan Bulanan"
    story.until(end - story.day0 + DAY)
    assert story.done == ["provision"]


def test_masa_berlaku_a_vps_is_taken_for_a_month_colocation_for_three_and_a_rack_for_a_year(story: Story) -> None:
    begin_on(story, 10).running()
    story.pays(days=20)
    story.says("service.cancel", version=1, reason="moves away")
    (noted,) = story.messages("cancellation.noted")
    activated = story.service.activated_at
    assert activated is not None
    assert noted["effective_at"] == CALENDAR.add_months(activated, 1).isoformat()
    assert noted["clause"].endswith("; Masa Berlaku Perjanjian")
    for kind, months in {"hosting": 1, "dedicated": 1, "colocation": 3, "half-rack": 12, "full-rack": 12}.items():
        assert leaving.minimum_end(story.service, terms(PROVIDER, kind)) == CALENDAR.add_months(activated, months), kind


def test_layanan_per_jam_started_hours_are_charged_when_it_has_ended(story: Story) -> None:
    story.plan = replace(PLAN, price_per_hour=1_000)
    story.begin().running()
    story.until(3 * HOUR + 10 * MINUTE)
    story.says("service.terminate", version=1, reason="not wanted")
    story.turn()
    assert owed(story) == [("hours", 4_000, "Kebijakan Billing, Biaya Jasa Layanan Per Jam")]


def test_layanan_per_jam_an_hour_is_the_least(story: Story) -> None:
    story.plan = replace(PLAN, price_per_hour=1_000)
    story.begin().running()
    story.says("service.terminate", version=1, reason="not wanted")
    story.turn()
    assert owed(story) == [("hours", 1_000, "Kebijakan Billing, Biaya Jasa Layanan Per Jam")]


def test_biaya_pembatalan_no_money_is_given_back_for_a_vps(story: Story) -> None:
    story.begin().running()
    assert story.says("service.cancel", version=1, reason="not content", money_back=True) == "refused"
    assert (story.service.cancellation, story.told("refund.")) == (None, [])


@pytest.mark.parametrize(("day", "given"), [(30 * DAY, True), (30 * DAY + MINUTE, False)])
def test_biaya_pembatalan_shared_hosting_is_given_back_within_30_days(day: timedelta, given: bool) -> None:
    hosted = replace(SERVICE, payments=1, purchased_at=DUE - 5 * DAY, activated_at=DUE)
    asked = cancellations.Asked(asked_at=DUE + day, by="", why="", kind=CancellationKind.MONEY_BACK, confirmed=True)
    received = cancellations.cancel(hosted, asked, terms(PROVIDER, "hosting"), now=DUE + day)
    assert isinstance(received.decision, Refusal) != given
    assert [tell.kind for tell in received.tells] == ["cancellation.noted", "refund.due"] * given


def test_refund_what_cannot_be_delivered_is_given_back_within_3_business_days(story: Story) -> None:
    begin_on(story, 10)
    story.it.world.fault("hypervisor.define", nth=0, error=PermanentDriverError("the node is broken"))
    story.says("order.paid", client_id="c1", plan="small", order_id="o1")
    assert story.state == "failed"
    story.says("order.cancelled", client_id="c1", order_id="o1", reason="it never came")
    (due,) = story.messages("refund.due")
    by = CALENDAR.add(story.clock.now(), Days(3, DayKind.BUSINESS))
    assert (story.state, due["clause"], due["by"][:13]) == ("cancelled", "Kebijakan Billing, Refund", by.isoformat()[:13])


def test_biaya_satu_kali_traffic_in_excess_is_charged_when_the_month_is_over(story: Story) -> None:
    excess_traffic(story)
    assert owed(story) == [("traffic", 3_500, "Kebijakan Billing, Biaya Satu Kali / Setup Fee")]


def test_pelanggaran_a_breach_suspends_and_a_payment_does_not_lift_it(story: Story) -> None:
    story.begin().running()
    complaint = reports(story, ComplaintKind.ABUSE)
    assert (story.state, holds(story)) == ("active, suspended", [("abuse", "stop")])
    story.pays()
    assert story.state == "active, suspended"
    answers(story, complaint, Closed.CEASED)
    assert (story.state, holds(story)) == ("active", [])


def test_pelanggaran_a_breach_may_end_it_for_good_which_a_person_and_billing_agree_to(story: Story) -> None:
    story.begin().running()
    reports(story, ComplaintKind.ABUSE, effect=Effect.TERMINATE)
    story.until(HOUR)
    assert (story.done[-1], "Pelanggaran dan Sanksi" in story.last.reason, story.told("notice.")) == ("terminate", True, [])
    is_let_end(story)
    assert (story.state, archive(story)) == ("archived", True)


def test_pelanggaran_what_the_plan_forbids_is_a_breach_and_what_it_sells_is_none(story: Story) -> None:
    story.plan = replace(PLAN, forbids=(Use.MINING, Use.OPEN_PROXY))
    story.begin().running()
    with pytest.raises(Refused, match="plan small does not forbid vpn"):
        reports(story, ComplaintKind.ABUSE, what="vpn")
    reports(story, ComplaintKind.ABUSE, what="mining")
    assert (story.state, story.messages("complaint.reported")[0]["what"]) == ("active, suspended", "mining")


def test_layanan_hosting_an_account_whose_domain_expired_is_stopped_until_it_is_renewed() -> None:
    hosting = terms(PROVIDER, "hosting")
    expired = conduct.domain_said(event(E.DOMAIN_EXPIRED), replace(SERVICE, domain_expired_at=DUE), hosting, now=DUE + 1000 * DAY)
    assert expired.service is not None
    assert [hold.reason.value for hold in expired.service.holds] == ["abuse"]
    assert expired.tells[0].data["clause"] == "Perjanjian Layanan Hosting secara Umum 9"
    renewed = replace(expired.service, domain_renewed_at=DUE + DAY)
    again = conduct.domain_said(event(E.DOMAIN_RENEWED), renewed, hosting, now=DUE + 1000 * DAY)
    assert again.service is not None
    assert again.service.holds == ()


def test_layanan_hosting_the_domain_of_a_vps_stops_nothing(story: Story) -> None:
    story.begin().running()
    story.says("domain.expired", domain="example.id")
    assert (story.state, story.done) == ("active", ["provision"])
