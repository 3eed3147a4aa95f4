"""What billing is told, as operators see it: over the API, on the command line, and through the end of a controller."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from svix.webhooks import Webhook

from orchestrator.store import outbox
from tests.integration.api.answers import refused
from tests.live import SECRET, Live, telling
from tests.receiver import answer, billing
from tests.served import Ran, Served

DOC = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text(encoding="utf-8")


class Ear:
    """A billing system whose mood the test sets."""

    def __init__(self) -> None:
        self.status = 200
        self.requests: list[dict[str, Any]] = []

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        answer(self.status, b"not in the mood" if self.status >= 300 else b"")(handler)

    def heard(self, count: int) -> list[dict[str, Any]]:
        """So many of those that tell the end of a job, once they have come."""
        until(lambda: len(endings(self.requests)) >= count)
        return endings(self.requests)[:count]


def endings(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A job's end changes the service, too, which is told beside it."""
    return [request for request in requests if json.loads(request["body"])["type"].startswith("job.")]


def until(look: Callable[[], Any], seconds: float = 20) -> Any:
    """What ``look`` finds, as soon as it finds something."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.05)
    return found


@contextmanager
def ear() -> Iterator[tuple[Ear, str]]:
    made = Ear()
    with billing(made) as (url, requests):
        made.requests = requests
        yield made, url


@pytest.fixture
def told(tmp_path: Path) -> Iterator[tuple[Live, Ear]]:
    """A controller with a billing system that hears."""
    with ear() as (hears, url):
        live = Live(tmp_path, billing=telling(url))
        live.start()
        try:
            yield live, hears
        finally:
            live.stop()


def messages(live: Live, **filters: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = live.http.get("/v1/messages", params=filters).json()["items"]
    return found


def given_up(live: Live, message_id: str) -> None:
    """As if three days had passed."""
    with live.db.write() as conn:
        outbox.mark_dead(conn, message_id, status=500, problem="500 not in the mood", now=live.clock.now())


def test_a_message_is_shown_with_its_body_and_every_attempt(told: tuple[Live, Ear]) -> None:
    live, hears = told
    hears.status = 503
    job_id = live.provisioned("s1")
    (request,) = hears.heard(1)
    until(lambda: all(message["attempts"] for message in messages(live)))  # the service's change, too, was refused once
    hears.status = 204
    message_id = messages(live, type="job.done")[0]["id"]
    assert live.http.post(f"/v1/messages/{message_id}/retry").json() == {"messages": 1}
    until(lambda: not messages(live, state="waiting"))
    shown = live.http.get(f"/v1/messages/{message_id}").json()
    assert (shown["type"], shown["service_id"], shown["state"], shown["note"]) == ("job.done", "s1", "taken", "")
    assert shown["body"].encode() == request["body"]
    assert json.loads(shown["body"])["data"]["job_id"] == job_id
    assert [record["status"] for record in shown["deliveries"]] == [503, 204]
    assert "not in the mood" in shown["deliveries"][0]["problem"]
    assert all(record["milliseconds"] >= 0 and record["at"] for record in shown["deliveries"])
    refused(live.http.post(f"/v1/messages/{message_id}/retry"), 409, "wrong-state")
    refused(live.http.get("/v1/messages/nobody"), 404, "not-found")
    refused(live.http.post("/v1/messages/nobody/retry"), 404, "not-found")
    row = live.http.get("/v1/audit", params={"service_id": "s1", "limit": 1}).json()["items"][0]
    assert (row["what"], row["facts"]["message_id"]) == ("message retried", message_id)
    lines = set(live.http.get("/metrics").text.splitlines())
    assert {
        "orchestrator_outbox_messages 0.0",
        "orchestrator_outbox_dead_messages 0.0",
        'orchestrator_deliveries_total{outcome="taken"} 2.0',
        'orchestrator_deliveries_total{outcome="refused"} 2.0',
    } <= lines


def test_lists_are_filtered_and_paged_without_gaps(told: tuple[Live, Ear]) -> None:
    live, _ = told
    with live.db.write() as conn:
        for number in range(7):
            kind = "notice.x" if number % 2 else "job.done"
            outbox.add(conn, message_id=f"m{number}", kind=kind, service_id=f"s{number % 3}", data={}, now=live.clock.now())
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = live.http.get("/v1/messages", params={"limit": 3, "after": after}).json()
        seen += [message["id"] for message in page["items"]]
        after = page["next"]
    assert seen == [f"m{number}" for number in range(6, -1, -1)]
    assert [message["id"] for message in messages(live, type="notice.x", service_id="s0")] == ["m3"]
    until(lambda: len(messages(live, state="taken")) == 7)
    assert live.http.get("/v1/messages", params={"state": "deaf"}).status_code == 400
    for cursor in ("x", "20261126T000000.000000Z", "~m1", "99999999T000000.000000Z~m1"):
        answer_ = live.http.get("/v1/messages", params={"after": cursor})
        assert answer_.status_code in (200, 400), cursor


def test_dead_messages_are_posted_again_once_for_a_key(told: tuple[Live, Ear]) -> None:
    live, hears = told
    hears.status = 500
    with live.db.write() as conn:
        for message_id in ("m1", "m2"):
            outbox.add(conn, message_id=message_id, kind="job.done", service_id="s1", data={}, now=live.clock.now())
    hears.heard(2)
    until(lambda: all(message["attempts"] for message in messages(live)))
    for message_id in ("m1", "m2"):
        given_up(live, message_id)
    assert [message["id"] for message in messages(live, state="dead")] == ["m2", "m1"]
    assert "orchestrator_outbox_dead_messages 2.0" in live.http.get("/metrics").text.splitlines()
    hears.status = 200
    key = {"Idempotency-Key": "again"}
    nothing = live.http.post("/v1/messages/retry", params={"type": "notice.x"})
    assert nothing.json() == {"messages": 0}
    first = live.http.post("/v1/messages/retry", headers=key)
    assert first.json() == {"messages": 2}
    until(lambda: len(messages(live, state="taken")) == 2)
    given_up(live, "m1")
    again = live.http.post("/v1/messages/retry", headers=key)
    assert (again.json(), again.headers["idempotent-replayed"]) == ({"messages": 2}, "true")


def test_where_nobody_is_told_messages_are_kept_and_none_is_dead(own: Live) -> None:
    own.provisioned("kept")
    (message,) = messages(own, service_id="kept", type="job.done")
    given_up(own, message["id"])  # while somebody was told, say
    page = own.http.get("/v1/messages", params={"state": "waiting"}).json()
    assert "no billing system is told" in page["note"]
    found = {found["id"]: (found["state"], found["dead_at"]) for found in page["items"]}
    assert found[message["id"]] == ("waiting", None)
    assert messages(own, state="dead") == []
    shown = own.http.get(f"/v1/messages/{message['id']}").json()
    assert ("no billing system is told" in shown["note"], shown["state"], shown["deliveries"]) == (True, "waiting", [])
    problem = refused(own.http.post(f"/v1/messages/{message['id']}/retry"), 409, "wrong-state")
    assert "notify_url" in problem["hint"]
    refused(own.http.post("/v1/messages/retry"), 409, "wrong-state")
    assert "orchestrator_outbox_dead_messages 0.0" in own.http.get("/metrics").text.splitlines()


def test_of_two_billing_systems_the_first_that_named_where_is_told(tmp_path: Path) -> None:
    with ear() as (first, url), ear() as (second, other):
        mute = "{source: mute, secret_files: [secrets/old]}"
        systems = [mute, telling(url)[1:-1], telling(other)[1:-1].replace("shop", "shop2").replace("[secrets/newest, ", "[")]
        live = Live(tmp_path, billing=f"[{', '.join(systems)}]")
        live.start()
        try:
            live.provisioned("s1")
            first.heard(1)
        finally:
            live.stop()
        assert (len(endings(first.requests)), len(second.requests)) == (1, 0)


def ok(result: Ran) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_command_line_lists_shows_and_posts_again(tmp_path: Path) -> None:
    with ear() as (hears, url):
        hears.status = 410
        served = Served(tmp_path, billing=telling(url))
        try:
            served.enrol("n1")
            ok(served.run("job", "watch", served.order("s1")))
            hears.heard(1)
            until(lambda: "410 Gone" in ok(served.run("message", "list")))
            listed = ok(served.run("message", "list", "--service", "s1", "--type", "job.done", "--state", "waiting"))
            (message_id,) = re.findall(r"(?m)^(j\S+\.1\.done) ", listed)
            shown = ok(served.run("message", "show", message_id))
            assert re.search(r"(?m)^state +waiting$", shown)
            assert re.search(r"(?m)^\d{4}-\S+ \S+Z +410 +\d+ ms +410 Gone: not in the mood$", shown)
            hears.status = 200
            assert ok(served.run("message", "retry", message_id)) == f"message {message_id} is posted again\n"
            until(lambda: json.loads(ok(served.run("message", "list", "--state", "taken", "--json")))["items"])
            assert json.loads(ok(served.run("message", "show", message_id, "--json")))["deliveries"][-1]["status"] == 200
            assert ok(served.run("message", "retry", "--all")) == "no message is dead\n"
            assert json.loads(ok(served.run("message", "retry", "--all", "--json"))) == {"messages": 0}
            taken = served.run("message", "retry", message_id)
            assert (taken.returncode, "took message" in taken.stderr) == (3, True)
            assert "dead messages" in served.run("doctor").stdout
        finally:
            served.stop()


def test_the_command_line_says_where_nobody_is_told(served: Served) -> None:
    ok(served.run("job", "watch", served.order("untold")))
    listed = served.run("message", "list", "--service", "untold")
    assert ("waiting" in listed.stdout, "no billing system is told" in listed.stderr) == (True, True)
    (message, _) = json.loads(ok(served.run("message", "list", "--service", "untold", "--json")))["items"]
    assert "no billing system is told" in ok(served.run("message", "show", message["id"]))
    failed = served.run("message", "retry", "--all")
    assert (failed.returncode, "no billing system is told" in failed.stderr) == (3, True)


def test_a_controller_that_is_killed_while_billing_answers_posts_once_more_under_the_same_id(tmp_path: Path) -> None:
    killed = threading.Event()
    processes: list[subprocess.Popen[bytes]] = []

    def kill_the_first_time(handler: BaseHTTPRequestHandler) -> None:
        if not killed.is_set():
            processes[0].send_signal(signal.SIGKILL)
            processes[0].wait(20)
            killed.set()
        answer(200)(handler)

    with billing(kill_the_first_time) as (url, requests):
        served = Served(tmp_path, billing=telling(url))
        try:
            processes.append(served.process)
            served.enrol("n1")
            served.order("s1")
            assert killed.wait(30)
            served.start()
            of_jobs = ("message", "list", "--type", "job.done", "--json")
            until(lambda: json.loads(ok(served.run(*of_jobs, "--state", "taken")))["items"])
            (message,) = json.loads(ok(served.run(*of_jobs)))["items"]
            shown = json.loads(ok(served.run("message", "show", message["id"], "--json")))
        finally:
            served.stop()
    told = endings(requests)
    assert [request["headers"]["webhook-id"] for request in told] == [message["id"]] * 2
    assert told[0]["body"] == told[1]["body"]
    for request in requests:
        Webhook(SECRET).verify(request["body"], request["headers"])  # raises where it does not hold
    assert [record["status"] for record in shown["deliveries"]] == [200]


def test_the_example_of_hearing_takes_what_a_controller_posts_and_nothing_else(told: tuple[Live, Ear]) -> None:
    (source,) = re.findall(r"(?ms)^```py\n(.*?)^```", DOC)
    module: dict[str, Any] = {}
    exec(compile(source, "hear.py", "exec"), module)
    live, hears = told
    live.provisioned("s1")
    (request,) = hears.heard(1)
    headers, body = request["headers"], request["body"]
    is_authentic = module["is_authentic"]
    assert is_authentic(headers, body, SECRET)
    assert not is_authentic(headers, body + b" ", SECRET)
    assert not is_authentic(headers, body, SECRET, tolerance=-1)
    assert not is_authentic({**headers, "webhook-id": "other"}, body, SECRET)
    assert not is_authentic({**headers, "webhook-signature": "v1,AAAA"}, body, SECRET)
    assert not is_authentic({}, body, SECRET)
