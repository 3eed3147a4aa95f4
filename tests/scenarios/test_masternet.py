"""Masternet (document 002): rights that it may use, so that a person is asked before each."""

from __future__ import annotations

import base64

from orchestrator.domain.complaints import Closed, ComplaintKind
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.policies import Effect
from tests.scenarios.acts import FILE, answers, holds, reports
from tests.scenarios.story import DAY, HOUR, MINUTE, Story

PROVIDER = "masternet"


def test_hak_10_a_late_payment_may_hold_the_service_and_a_person_says_whether(story: Story) -> None:
    story.begin().overdue().until(5 * MINUTE)
    assert (story.done[-1], story.state) == ("suspend", "active")
    assert "Hak 10" in story.waits
    story.agrees()
    assert story.state == "active, suspended"


def test_hak_10_who_pays_before_anybody_has_agreed_is_never_stopped(story: Story) -> None:
    story.begin().overdue().until(HOUR)
    story.pays()
    suspending = [job.state.value for job in story.it.jobs("s1") if job.intent == IntentKind.SUSPEND]
    assert (suspending, story.service.holds) == (["cancelled"], ())
    story.until(10 * DAY)
    assert (story.state, story.service.suspension_proven_at) == ("active", None)


def test_hak_7_it_is_deleted_at_the_end_of_the_period_after_a_notice_a_person_and_billings_word(story: Story) -> None:
    story.begin().running()
    story.pays(days=10)
    story.until(10 * DAY + HOUR)
    story.agrees()
    assert story.state == "active, suspended"
    story.until(12 * DAY)
    assert story.told("notice.") == ["notice.notice-terminate"]
    assert "terminate" in story.done
    story.confirms()
    assert "Hak 7" in story.waits
    story.agrees()
    assert story.state == "erased"


def test_hak_7_nothing_is_deleted_before_the_notice_was_taken_a_day_ago(story: Story) -> None:
    story.begin().overdue()
    story.it.notifier.answer(*[503] * 2000)
    story.until(HOUR)
    story.agrees()
    story.until(2 * DAY)
    assert (story.state, "terminate" in story.done) == ("active, suspended", False)


def test_hak_7_a_payment_while_a_person_is_asked_ends_it(story: Story) -> None:
    story.begin().overdue().until(HOUR)
    story.agrees()
    story.until(3 * DAY)
    assert story.done[-1] == "terminate"
    story.pays()
    assert (story.state, story.service.holds) == ("active", ())


def test_kewajiban_7_the_data_goes_with_the_service(story: Story) -> None:
    story.begin().running()
    story.says("service.terminate", version=1, reason="no customer any more")
    assert (story.state, story.told("certificate.")) == ("erased", ["certificate.issued"])


def test_hak_8_a_proven_breach_suspends_and_the_customer_is_given_the_evidence(story: Story) -> None:
    story.begin().running()
    complaint = reports(story, ComplaintKind.ABUSE, evidence=FILE)
    assert (story.state, holds(story)) == ("active, suspended", [("abuse", "stop")])
    (told,) = story.messages("complaint.reported")
    (file,) = [told["evidence"]] if isinstance(told["evidence"], dict) else told["evidence"]
    assert base64.b64decode(file["content"]) == b"what was seen"
    story.pays()
    assert story.state == "active, suspended"
    answers(story, complaint, Closed.RESOLVED)
    assert (story.state, holds(story)) == ("active", [])


def test_hak_8_up_to_deleting_it_which_a_person_and_billing_agree_to(story: Story) -> None:
    story.begin().running()
    reports(story, ComplaintKind.ABUSE, effect=Effect.TERMINATE)
    story.until(HOUR)
    assert (story.done[-1], "Hak 8" in story.last.reason) == ("terminate", True)
    story.confirms()
    assert story.waits
    story.agrees()
    assert story.state == "erased"
