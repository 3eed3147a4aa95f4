"""Holds, complaints and evidence as the controller keeps them, on the simulated node and a clock that the test puts forward."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.policies import load_policies
from orchestrator.domain.complaints import Closed, ComplaintKind
from orchestrator.domain.conduct import Answer
from orchestrator.domain.deadlines import Action
from orchestrator.domain.errors import OrchestratorError, Refused, TransientDriverError, WrongState
from orchestrator.domain.evidence import Evidence
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.policies import Effect
from orchestrator.domain.services import HoldEffect, HoldReason
from orchestrator.engine.conduct import ComplaintSaid, HoldAsked
from orchestrator.store import audit, deadlines, evidence, services
from tests.fault.house import House
from tests.integration.test_due import DAY, HOUR, Year, acts, record, told

POLICIES = load_policies(Path(__file__).parents[2] / "configs" / "policies")
MINUTE = timedelta(minutes=1)
FILE = Evidence.of("log \u202e\x1b[2J.txt", bytes(range(256)) * 16)


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Year]:
    made = Year(tmp_path / "state")
    yield made
    made.close()


def house_under(year: Year, policy: str) -> House:
    """A running service under one of the policies that ship; the plan of the house names it ``default``."""
    house = year.open(replace(POLICIES[policy], name="default"))
    assert house.wait(house.order("s1").job_id).state == JobState.DONE
    paid = (year.clock.now() + 300 * DAY).isoformat()
    house.event("invoice.paid", "s1", invoice_id="i0", paid_until=paid)
    return house


def report(house: House, kind: ComplaintKind = ComplaintKind.COPYRIGHT, **values: Any) -> str:
    house.engine.conduct.report("s1", ComplaintSaid(kind=kind, why="it was seen", **values), "anna")
    return record(house).complaints[-1].id


def answer(house: House, complaint: str, how: Closed, file: Evidence | None = None) -> None:
    house.engine.conduct.answer("s1", complaint, Answer(how=how, by="bert", why="they said so", evidence=file))


def holds(house: House) -> list[tuple[str, str]]:
    return [(hold.reason.value, hold.effect.value) for hold in record(house).holds]


def messages(house: House, kind: str) -> list[dict[str, Any]]:
    bodies = [json.loads(body) for _, body, _ in house.notifier.deliveries()]
    return [body["data"] for body in bodies if body["type"] == kind]


def next_look(house: House) -> datetime | None:
    with house.db.read() as conn:
        return deadlines.next_looks(conn)["s1"]


LIMITED = [("abuse", "limit")]


def test_a_copyright_notice_limits_after_72_hours_and_not_a_minute_before(year: Year) -> None:
    house = house_under(year, "zettagrid")
    complaint = report(house)
    received = record(house).complaints[0].received_at
    year.turn()
    assert next_look(house) == received + 72 * HOUR
    year.later(71 * HOUR + 59 * MINUTE)
    assert holds(house) == []
    year.later(MINUTE)
    assert holds(house) == LIMITED
    assert record(house).holds[0].complaint == complaint
    answer(house, complaint, Closed.CEASED)
    assert holds(house) == []
    with house.db.read() as conn:
        rows, _ = audit.list_page(conn, limit=500)
    (done,) = [row for row in rows if row.what == f"deadline {Action.LIMIT_CONDUCT}"]
    assert done.facts["clause"] == "4.5.1 to 4.5.3"
    assert messages(house, "complaint.reported")[0]["cease_by"] == (received + 72 * HOUR).isoformat()


def test_a_notice_that_was_received_before_it_was_reported_counts_from_its_receipt(year: Year) -> None:
    house = house_under(year, "zettagrid")
    report(house, received_at=year.clock.now() - 71 * HOUR)
    year.later(55 * MINUTE)
    assert holds(house) == []
    year.later(10 * MINUTE)
    assert holds(house) == LIMITED


def test_a_notice_that_is_waived_at_the_last_moment_has_no_effect(year: Year) -> None:
    house = house_under(year, "zettagrid")
    complaint = report(house)
    year.later(71 * HOUR + 59 * MINUTE)
    with pytest.raises(Refused, match="on evidence only"):
        answer(house, complaint, Closed.WAIVED)
    answer(house, complaint, Closed.WAIVED, FILE)
    year.later(DAY)
    assert holds(house) == []


@pytest.mark.parametrize(("days", "ends"), [(10, True), (11, False)])
def test_a_fourth_notice_within_thirty_days_asks_for_the_end_after_its_notice(year: Year, days: int, ends: bool) -> None:
    """The first is 30, or 33, days older than the last."""
    house = house_under(year, "zettagrid")
    now = year.clock.now()
    for back in (3 * days, 2 * days, days):
        answer(house, report(house, received_at=now - back * DAY), Closed.CEASED)
    year.turn()
    assert told(house) == []
    answer(house, report(house, received_at=now), Closed.CEASED)
    year.later(HOUR)
    year.later(HOUR)
    asked = [job.state for job in house.jobs("s1") if job.intent == IntentKind.TERMINATE]
    assert told(house) == ["notice.notice-conduct"] * ends
    assert asked == [JobState.WAITING_APPROVAL] * ends


def test_the_fourth_notice_does_nothing_where_one_was_waived(year: Year) -> None:
    house = house_under(year, "zettagrid")
    ids = [report(house) for _ in range(3)]
    answer(house, ids[1], Closed.WAIVED, FILE)
    report(house)
    year.later(2 * HOUR)
    assert (acts(house), told(house)) == (["provision"], [])


def test_abuse_suspends_at_once_and_its_answer_brings_it_back_and_no_payment_does(year: Year) -> None:
    house = house_under(year, "masternet")
    complaint = report(house, ComplaintKind.ABUSE, evidence=FILE)
    year.rest()
    assert (acts(house), holds(house)) == (["provision", "suspend"], [("abuse", "stop")])
    (shown,) = messages(house, "complaint.reported")[0]["evidence"]
    assert base64.b64decode(shown["content"]) == FILE.content
    house.event("invoice.paid", "s1", invoice_id="i1", paid_until=(year.clock.now() + 400 * DAY).isoformat())
    year.later(HOUR)
    assert acts(house) == ["provision", "suspend"]
    answer(house, complaint, Closed.RESOLVED)
    year.rest()
    assert (acts(house), holds(house)) == (["provision", "suspend", "unsuspend"], [])


def test_a_termination_for_abuse_waits_for_a_person_and_its_notice_carries_the_evidence(year: Year) -> None:
    house = house_under(year, "default")
    report(house, ComplaintKind.ABUSE, effect=Effect.TERMINATE, evidence=FILE)
    year.later(2 * HOUR)
    (notice,) = messages(house, "notice.notice-conduct")
    assert notice["evidence"] == [FILE.told()]
    job = house.jobs("s1")[-1]
    assert (job.intent, job.state) == (IntentKind.TERMINATE, JobState.WAITING_APPROVAL)
    house.engine.approve(job.id, "anna")
    year.rest()
    assert house.state("s1") == "erased"
    with pytest.raises(Refused, match="too late"):
        report(house, ComplaintKind.ABUSE)


def test_a_payment_calls_the_termination_off_and_it_is_asked_for_anew(year: Year) -> None:
    house = house_under(year, "masternet")
    complaint = report(house, ComplaintKind.ABUSE, effect=Effect.TERMINATE)
    year.later(HOUR)
    house.event("invoice.paid", "s1", invoice_id="i1", paid_until=(year.clock.now() + 400 * DAY).isoformat())
    year.later(HOUR)
    states = [job.state for job in house.jobs("s1") if job.intent == IntentKind.TERMINATE]
    assert states == [JobState.CANCELLED, JobState.WAITING_APPROVAL]
    house.engine.cancel(house.jobs("s1")[-1].id, "anna")
    answer(house, complaint, Closed.RESOLVED)
    year.later(HOUR)
    assert len(acts(house)) == 3


LEGAL = HoldAsked(reason=HoldReason.LEGAL, effect=HoldEffect.NO_ERASE, why="a court")


def test_a_legal_hold_stops_a_termination_that_runs_before_its_first_destructive_act(year: Year) -> None:
    house = house_under(year, "default")
    house.world.fault("hypervisor.mark", nth=0, error=TransientDriverError("busy", retry_after=0.2))
    submitted = house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="test", arguments={})
    house.wait(submitted.job_id, JobState.RUNNING)
    house.engine.conduct.hold("s1", LEGAL, "bert")
    house.world.clear_faults()
    job = house.wait(submitted.job_id)
    assert (job.state, job.error_code) == (JobState.FAILED, "fence-closed")
    assert (house.state("s1"), record(house).point_of_no_return) == ("active", None)


def test_a_termination_that_waits_does_not_destroy_what_a_legal_hold_keeps(year: Year) -> None:
    house = house_under(year, "masternet")
    report(house, ComplaintKind.ABUSE, effect=Effect.TERMINATE)
    year.later(HOUR)
    job = house.jobs("s1")[-1]
    house.engine.conduct.hold("s1", LEGAL, "bert")
    with pytest.raises(WrongState):
        house.engine.approve(job.id, "anna")
    year.later(HOUR)
    assert (house.job(job.id).state, "forbids erasing" in house.job(job.id).error) == (JobState.CANCELLED, True)
    assert (house.state("s1"), record(house).point_of_no_return) == ("active", None)


def test_a_hold_with_an_end_is_lifted_by_the_clock_and_one_without_stays(year: Year) -> None:
    house = house_under(year, "default")
    until = year.clock.now() + 5 * HOUR
    house.engine.conduct.hold(
        "s1", HoldAsked(reason=HoldReason.MAINTENANCE, effect=HoldEffect.STOP, why="a move", until=until), "anna"
    )
    house.engine.conduct.hold("s1", HoldAsked(reason=HoldReason.LEGAL, effect=HoldEffect.NO_ERASE, why="a court"), "anna")
    year.later(4 * HOUR)
    assert acts(house) == ["provision", "suspend"]
    year.later(HOUR + MINUTE)
    assert (acts(house), holds(house)) == (["provision", "suspend", "unsuspend"], [("legal", "no-erase")])
    year.later(DAY)
    assert holds(house) == [("legal", "no-erase")]


def test_evidence_is_kept_to_the_byte_and_what_was_altered_is_not_handed_out(year: Year) -> None:
    house = house_under(year, "default")
    house.engine.conduct.hold(
        "s1", HoldAsked(reason=HoldReason.LEGAL, effect=HoldEffect.NONE, why="a court", evidence=FILE), "anna"
    )
    assert record(house).holds[0].evidence == FILE.sha256
    with house.db.read() as conn:
        kept, file = evidence.get(conn, "s1", FILE.sha256)
        assert (kept.name, kept.size, kept.by, file.content) == (FILE.name, len(FILE.content), "anna", FILE.content)
        assert [each.sha256 for each in evidence.of_service(conn, "s1")] == [FILE.sha256]
    with house.db.write() as conn:
        conn.exec_driver_sql("UPDATE evidence SET content = x'00'")
    with house.db.read() as conn, pytest.raises(OrchestratorError, match="its hash is another"):
        evidence.get(conn, "s1", FILE.sha256)


def test_what_is_refused_keeps_no_evidence(year: Year) -> None:
    house = house_under(year, "enterpage")
    with pytest.raises(Refused, match="says nothing"):
        report(house, ComplaintKind.ABUSE, evidence=FILE)
    with house.db.read() as conn:
        assert evidence.of_service(conn, "s1") == ()


def test_complaints_and_holds_come_back_from_the_store_as_they_were(year: Year) -> None:
    house = house_under(year, "zettagrid")
    complaint = report(house, evidence=FILE)
    answer(house, complaint, Closed.WAIVED, FILE)
    report(house, ComplaintKind.HARM)
    before = record(house)
    with house.db.write() as conn:
        services.put(conn, before, now=year.clock.now())
    assert record(house) == before
    assert [(c.closed, c.effect) for c in before.complaints] == [(Closed.WAIVED, Effect.LIMIT), (None, Effect.LIMIT)]
