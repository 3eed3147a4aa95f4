"""Telling billing, over real HTTP on the loopback and on a clock that the test puts forward."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import svix.webhooks

from orchestrator.domain.calendar import Days
from orchestrator.domain.deadlines import Action
from orchestrator.domain.errors import InDoubt, NotFound, PermanentDriverError, WrongState
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.policies import Notices
from orchestrator.domain.services import Lifecycle
from orchestrator.drivers.local.notifier import HttpNotifier
from orchestrator.store import audit, outbox
from orchestrator.store.outbox import DeliveryRecord, Message, MessageState
from tests.fault.house import House, Options, prepared
from tests.integration.test_due import DAY, HOUR, POLICY, Wound, Year, agree, overdue, record
from tests.receiver import Answer, answer, billing
from tests.store_files import engine_database

SECRET = "whsec_" + base64.b64encode(b"what billing and we know of each").decode()
REFUSED = (400, 401, 404, 409, 410, 429, 500, 503)


class Post:
    """A controller whose engine does nothing by itself, and the billing system that it tells."""

    def __init__(self, directory: Path, url: str, secret_file: Path, *, deadline: float) -> None:
        self.deadline = deadline
        self.clock = Wound()
        self._directory = prepared(directory, engine_database)
        self.place = (url, secret_file)
        self.open()

    def open(self) -> None:
        """Start the controller (again): what it knows is in its store."""
        self.notifier = HttpNotifier(*self.place, self.clock)
        options = Options(notify_deadline_seconds=self.deadline)
        self.house = House(self._directory, steps={}, playbooks={}, clock=self.clock, options=options, posts_to=self.notifier)

    def close(self) -> None:
        self.notifier.close()
        self.house.close()

    def put(self, *message_ids: str, kind: str = "job.done", service_id: str = "s1") -> None:
        with self.house.db.write() as conn:
            for message_id in message_ids:
                outbox.add(conn, message_id=message_id, kind=kind, service_id=service_id, data={"n": 1}, now=self.clock.now())

    def message(self, message_id: str) -> Message:
        with self.house.db.read() as conn:
            found = outbox.get(conn, message_id)
        assert found is not None
        return found

    def records(self, message_id: str) -> tuple[DeliveryRecord, ...]:
        with self.house.db.read() as conn:
            return outbox.records(conn, message_id)

    def later(self, by: timedelta) -> int:
        self.clock.ahead += by
        return self.house.engine.post_messages()

    def until_dead(self, message_id: str) -> int:
        """Let the days pass in steps of an hour; how many steps it took."""
        for step in range(200):
            if self.message(message_id).state is MessageState.DEAD:
                return step
            self.later(HOUR)
        raise AssertionError("it is posted for ever")


@contextmanager
def posting(directory: Path, send: Answer, *, deadline: float = 15) -> Iterator[tuple[Post, list[dict[str, Any]]]]:
    secret_file = directory / "secret"
    secret_file.write_text(SECRET)
    secret_file.chmod(0o600)
    with billing(send) as (url, requests):
        post = Post(directory / "state", url, secret_file, deadline=deadline)
        try:
            yield post, requests
        finally:
            post.close()


class Says:
    """Answers by the id of the message; what is not named is taken."""

    def __init__(self, **special: Answer) -> None:
        self.special = special

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        self.special.get(str(handler.headers["webhook-id"]), answer(200))(handler)


def heard(requests: list[dict[str, Any]]) -> list[str]:
    return [request["headers"]["webhook-id"] for request in requests]


def signed(request: dict[str, Any]) -> bool:
    """Whether an independent implementation signs the same; at whatever time the controller believed it to be."""
    headers = request["headers"]
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), tz=UTC)
    signature = svix.webhooks.Webhook(SECRET).sign(headers["webhook-id"], at, request["body"].decode())
    return bool(signature == headers["webhook-signature"])


def hang(seconds: float = 20) -> tuple[Answer, Callable[[], None]]:
    release = threading.Event()
    return lambda handler: (release.wait(seconds), None)[1], release.set


def test_each_attempt_is_written_down_with_what_was_said_and_how_long_it_took(tmp_path: Path) -> None:
    says = Says(m1=answer(503, b"busy"))
    with posting(tmp_path, says) as (post, requests):
        post.put("m1")
        begun = post.clock.now()
        assert post.house.engine.post_messages() == 0
        says.special.clear()
        assert post.later(timedelta(seconds=6)) == 1
        first, second = post.records("m1")
        message = post.message("m1")
    assert (first.status, first.problem, second.status, second.problem) == (503, "503 Service Unavailable: busy", 200, "")
    assert timedelta(0) <= first.at - begun < timedelta(seconds=3)
    assert second.at - first.at >= timedelta(seconds=5)
    assert all(0 <= record.milliseconds < 3000 for record in (first, second))
    assert (message.state, message.attempts, message.last_problem) == (MessageState.TAKEN, 2, "")
    bodies = {request["body"] for request in requests}
    stamps = [int(request["headers"]["webhook-timestamp"]) for request in requests]
    assert (heard(requests), len(bodies), stamps[1] - stamps[0] >= 5) == (["m1", "m1"], 1, True)
    assert all(signed(request) for request in requests)


@pytest.mark.parametrize("status", [*REFUSED, 301, 308])
def test_whatever_is_no_success_is_posted_again_and_never_dropped(tmp_path: Path, status: int) -> None:
    says = Says(m1=answer(status, Location="http://127.0.0.1:1/elsewhere"))
    with posting(tmp_path, says) as (post, requests):
        post.put("m1")
        for _ in range(3):
            post.later(HOUR)
        says.special.clear()
        assert post.later(HOUR) == 1
        assert [record.status for record in post.records("m1")] == [status] * 3 + [200]
    assert heard(requests) == ["m1"] * 4


def test_the_waits_between_attempts_double_up_to_an_hour(tmp_path: Path) -> None:
    with posting(tmp_path, answer(500)) as (post, requests):
        post.put("m1")
        post.house.engine.post_messages()
        waits = []
        for _ in range(12):
            message = post.message("m1")
            assert message.next_attempt_at is not None
            wait = message.next_attempt_at - post.clock.now()
            waits.append(round(wait.total_seconds()))
            post.later(wait - timedelta(seconds=2))
            post.later(timedelta(seconds=3))
    assert len(requests) == 13  # never before its time
    wanted = [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
    assert [wait for wait, exact in zip(waits, wanted, strict=True) if abs(wait - exact) > 4] == []


def test_a_message_that_was_not_taken_for_three_days_is_dead_and_posted_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with posting(tmp_path, answer(410, b"gone")) as (post, requests):
        post.put("m1")
        with caplog.at_level(logging.ERROR):
            hours = post.until_dead("m1")
            posted = len(requests)
            for _ in range(30):
                post.later(DAY)
        assert 72 <= hours <= 74
        assert len(requests) == posted == len(post.records("m1")) == post.message("m1").attempts
    said = [entry.message for entry in caplog.records if "m1" in entry.message]
    assert len(said) == 1
    assert "orchestrator message retry m1" in said[0]
    assert "410 Gone: gone" in said[0]


def test_a_dead_message_that_is_posted_again_keeps_its_id_and_body_and_has_all_its_time(tmp_path: Path) -> None:
    says = Says(m1=answer(500))
    with posting(tmp_path, says) as (post, requests):
        post.put("m1")
        post.until_dead("m1")
        attempts = post.message("m1").attempts
        assert post.house.engine.retry_message("m1", "anna") == 1
        post.house.engine.post_messages()
        again = post.message("m1")
        assert (again.state, again.attempts, again.tries) == (MessageState.WAITING, attempts + 1, 1)
        assert again.next_attempt_at is not None
        assert again.next_attempt_at - post.clock.now() <= timedelta(seconds=5)
        post.later(2 * DAY)
        assert post.message("m1").state is MessageState.WAITING
        says.special.clear()
        assert post.later(HOUR) == 1
        with post.house.db.read() as conn:
            rows, _ = audit.list_page(conn, limit=10)
    assert len({request["body"] for request in requests}) == 1
    assert set(heard(requests)) == {"m1"}
    assert all(signed(request) for request in requests)
    assert [(row.who, row.what, row.service_id, row.facts["message_id"]) for row in rows] == [
        ("anna", "message retried", "s1", "m1")
    ]


def test_all_dead_messages_or_those_of_a_type_or_service_are_posted_again(tmp_path: Path) -> None:
    with posting(tmp_path, answer(500)) as (post, _):
        post.put("a1", "a2", kind="job.done", service_id="s1")
        post.put("b1", kind="notice.notice-terminate", service_id="s2")
        for message_id in ("a1", "a2", "b1"):
            post.until_dead(message_id)
        post.put("waits")
        engine = post.house.engine
        assert engine.retry_dead_messages("anna", kind="notice.notice-terminate", service_id="s1") == 0
        assert engine.retry_dead_messages("anna", kind="notice.notice-terminate", service_id="") == 1
        assert [post.message(m).state.value for m in ("a1", "a2", "b1")] == ["dead", "dead", "waiting"]
        assert engine.retry_dead_messages("anna", kind="", service_id="") == 2
        assert engine.retry_dead_messages("anna", kind="", service_id="") == 0


def test_only_what_was_not_taken_can_be_posted_again(tmp_path: Path) -> None:
    with posting(tmp_path, Says(waits=answer(500))) as (post, requests):
        post.put("m1", "waits")
        post.house.engine.post_messages()
        with pytest.raises(WrongState, match="took message m1"):
            post.house.engine.retry_message("m1", "anna")
        with pytest.raises(NotFound, match="no message m9"):
            post.house.engine.retry_message("m9", "anna")
        post.house.engine.retry_message("waits", "anna")  # somebody does not want to wait for the next attempt
        post.house.engine.post_messages()
    assert heard(requests) == ["m1", "waits", "waits"]


def test_where_nobody_is_told_nothing_is_posted_again(tmp_path: Path) -> None:
    house = House(prepared(tmp_path, engine_database), steps={}, playbooks={}, tells=False)
    try:
        with house.db.write() as conn:
            outbox.add(conn, message_id="m1", kind="job.done", service_id="s1", data={}, now=house.clock.now())
        assert house.engine.post_messages() == 0
        with pytest.raises(WrongState, match="no billing system is told"):
            house.engine.retry_message("m1", "anna")
        with pytest.raises(WrongState, match="no billing system is told"):
            house.engine.retry_dead_messages("anna", kind="", service_id="")
    finally:
        house.close()


def test_messages_that_are_refused_do_not_hold_up_the_others(tmp_path: Path) -> None:
    bad = [f"bad{number:02}" for number in range(60)]
    with posting(tmp_path, Says(**{name: answer(500) for name in bad})) as (post, requests):
        post.put(*bad)
        for _ in range(20):
            post.later(HOUR)
        seen = len(requests)
        post.put("good1", "good2")
        assert post.later(timedelta(hours=2)) == 2
        assert heard(requests)[seen : seen + 2] == ["good1", "good2"]
        counts = {name: post.message(name).attempts for name in bad}
    assert max(counts.values()) - min(counts.values()) <= 1, "each gets its turn"


def test_a_receiver_that_hangs_over_some_messages_gets_the_others_meanwhile(tmp_path: Path) -> None:
    slow, release = hang()
    bad = [f"bad{number}" for number in range(4)]
    with posting(tmp_path, Says(**dict.fromkeys(bad, slow)), deadline=1.0) as (post, requests):
        post.put(*bad)
        for _ in range(4):
            post.later(timedelta(0))
        for _ in range(3):
            post.put(f"good{len(requests)}")
            begun = time.monotonic()
            assert post.later(timedelta(hours=1)) == 1, "what is new comes first"
            assert time.monotonic() - begun < 3, "a turn waits for one that hangs, not for all"
        assert {post.message(name).attempts > 1 for name in bad[:3]} == {True}
        problems = {entry.problem for name in bad for entry in post.records(name)}
        took = [entry.milliseconds for name in bad for entry in post.records(name)]
        release()
    assert problems == {"no answer within 1 s"}
    assert all(1000 <= each < 3000 for each in took)


def test_new_messages_arrive_in_their_order(tmp_path: Path) -> None:
    with posting(tmp_path, answer(200)) as (post, requests):
        for number in range(9, 0, -1):
            post.put(f"m{number}")
        assert post.house.engine.post_messages() == 9
    assert heard(requests) == [f"m{number}" for number in range(9, 0, -1)]


def test_two_receivers_of_the_same_house_are_told_apart(tmp_path: Path) -> None:
    """A house that changes its billing system: what was not taken goes to the new one, what was taken does not."""
    with billing(answer(200)) as (other, told_other), posting(tmp_path, Says(m2=answer(500))) as (post, told):
        post.put("m1", "m2")
        post.house.engine.post_messages()
        post.close()
        post.place = (other, post.place[1])
        post.open()
        post.put("m3")
        post.later(HOUR)
    assert (heard(told), sorted(heard(told_other))) == (["m1", "m2"], ["m2", "m3"])


def test_a_message_that_waits_outlives_a_restart_with_its_time_and_its_records(tmp_path: Path) -> None:
    with posting(tmp_path, answer(500)) as (post, requests):
        post.put("m1")
        post.later(2 * DAY)
        post.close()
        post.open()
        post.later(HOUR)
        assert post.message("m1").state is MessageState.WAITING
        post.later(3 * DAY)
        assert (post.message("m1").state, len(post.records("m1"))) == (MessageState.DEAD, 3)
    assert heard(requests) == ["m1"] * 3


def test_a_notice_that_is_dead_was_not_taken_and_the_termination_goes_on_waiting(tmp_path: Path) -> None:
    year = Year(tmp_path / "state")
    try:
        house = year.open(options=Options(give_up_after=timedelta(hours=6)))
        overdue(house, year)
        year.later(5 * DAY)
        house.notifier.answer(*[410] * 40)
        year.later(14 * DAY)
        with house.db.read() as conn:
            page, _ = outbox.list_page(conn, outbox.Filters(state=MessageState.DEAD), limit=10)
        assert [message.type for message in page] == ["notice.notice-terminate"]
        assert [job.intent for job in house.jobs("s1")] == [IntentKind.PROVISION, IntentKind.SUSPEND]
        with house.world.change() as state:
            state["answers"].clear()
        house.engine.retry_message(page[0].id, "anna")
        year.later(2 * DAY)
        assert [job.intent for job in house.jobs("s1")][-1] == IntentKind.SUSPEND, "the notice counts from when it was taken"
        year.later(2 * DAY)
        assert [job.intent for job in house.jobs("s1")][-1] == IntentKind.TERMINATE
    finally:
        year.close()


def test_the_controller_deletes_what_was_taken_more_than_four_hundred_days_ago(tmp_path: Path) -> None:
    year = Year(tmp_path / "state")
    try:
        for message_id in ("older", "younger"):
            house = year.open()
            with house.db.write() as conn:
                outbox.add(conn, message_id=message_id, kind="job.done", service_id="s9", data={}, now=year.clock.now())
            year.rest()
            year.clock.ahead += 2 * DAY
        year.clock.ahead += 397 * DAY
        house = year.open()

        def kept(message_id: str) -> bool:
            with house.db.read() as conn:
                return outbox.get(conn, message_id) is not None

        until = house.clock.monotonic() + 30
        while kept("older"):
            assert house.clock.monotonic() < until, "nothing is deleted"
            house.clock.sleep(0.05)
        assert kept("younger")
    finally:
        year.close()


NOTICES = {f"notice.{action.value}" for action in Action if action.tells}
OF_DEBTS = {"notice.remind-suspend", "notice.remind-terminate", "notice.notice-terminate"}
BESIDES = {"payment.too_late", "service.changed", "termination.confirm", "certificate.issued"}
ENDINGS = {f"job.{state.value}" for state in (JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.NEEDS_OPERATOR)}


def everything_happens(year: Year, notifier: HttpNotifier) -> None:
    """A house in which something of each kind comes to an end."""
    notices = Notices(clause="4", before_suspend=(Days(1),), before_terminate=(Days(1),))
    house = year.open(replace(POLICY, notices=notices), posts_to=notifier)
    assert house.wait(house.order("s3").job_id).state == JobState.DONE
    house.world.fault("hypervisor.guest", error=InDoubt("nobody knows"))
    check = house.engine.command(IntentKind.CHECK, "s3", who="anna", why="", arguments={})
    assert house.wait(check.job_id).state == JobState.NEEDS_OPERATOR
    house.world.clear_faults()
    house.engine.cancel(check.job_id, "anna")
    house.world.fault("hypervisor.define", error=PermanentDriverError("no"))
    assert house.wait(house.order("s2").job_id).state == JobState.FAILED
    overdue(house, year)
    year.later(11 * DAY)
    agree(house, year)
    assert record(house).state == Lifecycle.ERASED
    house.event("invoice.paid", "s1", invoice_id="i1")
    year.rest()


def test_every_type_of_message_is_signed_and_says_what_the_manual_says(tmp_path: Path) -> None:
    """Each made by the controller itself, in a house where everything happens."""
    secret_file = tmp_path / "secret"
    secret_file.write_text(SECRET)
    secret_file.chmod(0o600)
    year = Year(tmp_path / "state")
    with billing(answer(200)) as (url, requests):
        notifier = HttpNotifier(url, secret_file, year.clock)
        try:
            everything_happens(year, notifier)
        finally:
            year.close()
            notifier.close()
    bodies = [json.loads(request["body"]) for request in requests]
    assert {body["type"] for body in bodies} == OF_DEBTS | ENDINGS | BESIDES
    manual = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")
    assert [kind for kind in NOTICES if f"`{kind}`" not in manual] == []
    for request, body in zip(requests, bodies, strict=True):
        assert signed(request), body["type"]
        assert (body["id"], set(body)) == (request["headers"]["webhook-id"], {"type", "id", "timestamp", "data"})
        assert f"`{body['type']}`" in manual
        assert [name for name in body["data"] if f"`{name}`" not in manual] == [], body["type"]
    assert len(heard(requests)) == len(set(heard(requests)))
    assert all(" " not in message_id and "/" not in message_id for message_id in heard(requests))
