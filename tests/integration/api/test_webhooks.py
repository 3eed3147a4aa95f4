"""Webhooks from an independent sender, through a real server into the real engine and store."""

from __future__ import annotations

import base64
import json
import socket
import threading
from datetime import timedelta
from typing import Any

import httpx
import pytest

from orchestrator.drivers.local.clock import SystemClock
from tests.integration.api.answers import refused
from tests.live import BODY_LIMIT, OLD_SECRET, PLAN, SECRET, SOURCE, TOLERANCE, Live, sign

STRANGER = "whsec_" + base64.b64encode(b"a secret that the shop never had").decode()
PAID = {"client_id": "c1", "plan": PLAN}


def post(live: Live, body: str, headers: dict[str, str], *, source: str = SOURCE) -> httpx.Response:
    return live.http.post(f"/v1/webhooks/{source}", content=body.encode(), headers=headers)


def body_of(service_id: str, kind: str = "order.paid", **data: Any) -> str:
    return json.dumps({"type": kind, "data": {"service_id": service_id, **data}})


def events(live: Live, service_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = live.http.get("/v1/events", params={"service_id": service_id}).json()["items"]
    return found


def test_a_paid_order_is_answered_202_with_the_job_that_carries_it_out(live: Live) -> None:
    answer = live.send("order.paid", "paid-1", **PAID)
    assert answer.status_code == 202
    assert answer.json()["outcome"] == "accepted"
    assert live.wait(answer.json()["job_id"]).service_id == "paid-1"
    (event,) = events(live, "paid-1")
    assert event["job_id"] == answer.json()["job_id"]


def test_a_repeated_delivery_is_answered_200_and_does_nothing_more(live: Live) -> None:
    body = body_of("twice", **PAID)
    now = SystemClock().now()
    first = post(live, body, sign("msg-twice", body, at=now - timedelta(seconds=60)))
    second = post(live, body, sign("msg-twice", body, at=now))
    assert (first.status_code, second.status_code) == (202, 200)
    assert second.json()["outcome"] == "duplicate"
    assert second.json()["job_id"] == first.json()["job_id"]
    settled = live.send("order.cancelled", "twice")
    (said, order) = events(live, "twice")
    assert (order["detail"], said["detail"]) == ("", settled.json()["detail"])
    assert said["detail"]
    assert len(live.jobs("twice")) == 1


def test_the_same_id_with_another_body_is_answered_409(live: Live) -> None:
    for body, status in ((body_of("clash", **PAID), 202), (body_of("clash", client_id="other", plan=PLAN), 409)):
        answer = post(live, body, sign("msg-clash", body))
        assert answer.status_code == status
    refused(answer, 409, "event-conflict")
    assert len(events(live, "clash")) == 1


def test_the_same_id_from_another_source_is_another_event(live: Live) -> None:
    body = body_of("elsewhere", **PAID)
    refused(post(live, body, sign("msg-x", body), source="nobody"), 404, "not-found")


def test_a_stale_command_is_answered_200_and_does_nothing(live: Live) -> None:
    live.provisioned("stale")
    assert live.send("service.suspend", "stale", version=5, reason="abuse").status_code == 202
    late = live.send("service.unsuspend", "stale", version=4, reason="abuse")
    assert late.status_code == 200
    assert late.json()["outcome"] == "stale"
    assert live.http.get("/v1/services/stale").json()["suspended"] is True


def test_a_fact_that_only_has_to_be_noted_is_answered_200(live: Live) -> None:
    answer = live.send("order.created", "noted", **PAID)
    assert (answer.status_code, answer.json()["outcome"], answer.json()["job_id"]) == (200, "nothing", "")
    assert live.http.get("/v1/services/noted").json()["state"] == "ordered"


def test_an_event_that_cannot_be_processed_is_kept_as_a_dead_letter_and_answered_200(live: Live) -> None:
    answer = live.send("order.paid", "unknown-plan", client_id="c1", plan="no-such-plan")
    assert (answer.status_code, answer.json()["outcome"]) == (200, "dead")
    dead = live.http.get("/v1/events", params={"outcome": "dead"}).json()["items"]
    assert "no-such-plan" in next(event for event in dead if event["service_id"] == "unknown-plan")["problem"]


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
def test_both_secrets_count_while_they_are_rotated(live: Live, secret: str) -> None:
    service = f"rotated-{len(secret)}-{secret[-6:-1]}"
    assert live.send("order.created", service, secret=secret, **PAID).status_code == 200


def test_a_strangers_signature_is_answered_401(live: Live) -> None:
    refused(live.send("order.paid", "forged", secret=STRANGER, **PAID), 401, "signature-invalid")
    assert events(live, "forged") == []


@pytest.mark.parametrize("direction", [-1, 1])
def test_a_message_out_of_the_window_is_answered_401(live: Live, direction: int) -> None:
    body = body_of("late", **PAID)
    at = SystemClock().now() + direction * (TOLERANCE + timedelta(seconds=30))
    refused(post(live, body, sign("msg-late", body, at=at)), 401, "signature-invalid")


def test_an_altered_body_is_answered_401(live: Live) -> None:
    body = body_of("altered", **PAID)
    refused(post(live, body.replace("c1", "c2"), sign("msg-altered", body)), 401, "signature-invalid")


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_answered_401(live: Live, missing: str) -> None:
    body = body_of("bare", **PAID)
    headers = sign("msg-bare", body)
    del headers[missing]
    refused(post(live, body, headers), 401, "signature-invalid")


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '{"type":"order.paid"}', body_of("s", "order.piad")])
def test_a_signed_body_that_cannot_be_read_is_answered_400(live: Live, body: str) -> None:
    refused(post(live, body, sign("msg-malformed", body)), 400, "request-invalid")


def test_a_body_that_is_no_text_is_answered_400(live: Live) -> None:
    answer = live.http.post(f"/v1/webhooks/{SOURCE}", content=b"\xff\xfe", headers=sign("msg-bytes", ""))
    refused(answer, 400, "request-invalid")


def test_a_body_over_the_limit_is_answered_413_before_it_is_looked_at(live: Live) -> None:
    answer = live.http.post(f"/v1/webhooks/{SOURCE}", content=b"x" * (BODY_LIMIT + 1))
    refused(answer, 413, "body-too-large")


def test_a_body_of_exactly_the_limit_is_looked_at(live: Live) -> None:
    refused(live.http.post(f"/v1/webhooks/{SOURCE}", content=b"x" * BODY_LIMIT), 401, "signature-invalid")


def test_a_body_without_a_length_is_cut_off_at_the_limit(live: Live) -> None:
    def endless() -> Any:
        for _ in range(1000):
            yield b"x" * 1024

    try:
        answer = live.http.post(f"/v1/webhooks/{SOURCE}", content=endless())
    except httpx.WriteError:
        # The server may hang up while we still write; the next request shows that it lives.
        answer = live.http.post(f"/v1/webhooks/{SOURCE}", content=b"x" * (BODY_LIMIT + 1))
    refused(answer, 413, "body-too-large")


def test_a_length_that_lies_far_beyond_the_limit_is_answered_413_at_once(live: Live) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(10)
        sock.connect(str(live.socket))
        sock.sendall(f"POST /v1/webhooks/{SOURCE} HTTP/1.1\r\nHost: x\r\nContent-Length: {'9' * 18}\r\n\r\n".encode())
        assert sock.recv(4096).startswith(b"HTTP/1.1 413")


def test_no_event_is_ever_answered_410(live: Live) -> None:
    """410 would make senders switch the endpoint off."""
    live.provisioned("gone")
    live.send("service.terminate", "gone", version=1)
    late = live.send("invoice.paid", "gone", paid_until="2030-01-01T00:00:00Z")
    assert late.status_code in (200, 202)


def test_twenty_deliveries_at_once_make_one_job(live: Live) -> None:
    body = body_of("crowd", **PAID)
    headers = sign("msg-crowd", body)
    answers: list[httpx.Response] = []

    def deliver() -> None:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(live.socket)), base_url="http://c", timeout=60) as client:
            answers.append(client.post(f"/v1/webhooks/{SOURCE}", content=body, headers=headers))

    threads = [threading.Thread(target=deliver) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [202]
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert len(live.jobs("crowd")) == 1
