"""The notifier against a real HTTP server, its signatures checked by an independent implementation (svix)."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from svix.webhooks import Webhook, WebhookVerificationError

from orchestrator.domain.errors import ConfigError
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.drivers.local.notifier import HttpNotifier
from orchestrator.ports.notifier import Delivery
from tests.receiver import answer, billing

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BODY = json.dumps({"type": "service.provisioned", "service": "s1", "note": "ünïcode"}, ensure_ascii=False).encode()


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "notify"
    file.write_text(SECRET)
    file.chmod(0o600)
    return file


def post(url: str, secret_file: Path, *, deadline: float = 5.0) -> Delivery:
    notifier = HttpNotifier(url, secret_file, SystemClock())
    try:
        return notifier.post(message_id="msg_1", body=BODY, deadline=deadline)
    finally:
        notifier.close()


def test_a_message_arrives_whole_and_its_signature_holds_for_others(secret_file: Path) -> None:
    with billing(answer(204)) as (url, requests):
        delivery = post(url, secret_file)
    assert delivery == Delivery(status=204)
    assert delivery.taken
    (request,) = requests
    assert request["body"] == BODY
    assert request["headers"]["webhook-id"] == "msg_1"
    assert request["headers"]["content-type"] == "application/json"
    Webhook(SECRET).verify(request["body"], request["headers"])  # raises where it does not hold


def test_each_attempt_keeps_the_id_and_takes_the_secret_of_the_moment(secret_file: Path) -> None:
    newer = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
    with billing(answer(200)) as (url, requests):
        notifier = HttpNotifier(url, secret_file, SystemClock())
        notifier.post(message_id="msg_1", body=BODY, deadline=5.0)
        secret_file.write_text(newer)
        notifier.post(message_id="msg_1", body=BODY, deadline=5.0)
        notifier.close()
    assert [request["headers"]["webhook-id"] for request in requests] == ["msg_1", "msg_1"]
    Webhook(newer).verify(requests[1]["body"], requests[1]["headers"])  # raises where it does not hold
    with pytest.raises(WebhookVerificationError):
        Webhook(newer).verify(requests[0]["body"], requests[0]["headers"])


@pytest.mark.parametrize("status", [400, 401, 404, 409, 410, 429, 500, 503])
def test_a_refusal_is_reported_with_what_was_said(secret_file: Path, status: int) -> None:
    with billing(answer(status, b"unknown\n  service \xff")) as (url, _):
        delivery = post(url, secret_file)
    assert delivery.status == status
    assert not delivery.taken
    assert "unknown service" in delivery.detail


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_reported_and_not_followed(secret_file: Path, status: int) -> None:
    with billing(answer(200)) as (elsewhere, followed), billing(answer(status, Location=elsewhere)) as (url, _):
        delivery = post(url, secret_file)
    assert delivery.status == status
    assert not delivery.taken
    assert elsewhere in delivery.detail
    assert followed == []


def test_a_long_answer_is_cut_and_not_read_to_its_end(secret_file: Path) -> None:
    sent: list[int] = []

    def pour(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(500)
        handler.send_header("content-length", str(64 << 20))
        handler.end_headers()
        for _ in range(64):
            try:
                handler.wfile.write(b"x" * (1 << 20))
            except OSError:
                return
            sent.append(1 << 20)

    with billing(pour) as (url, _):
        assert len(post(url, secret_file, deadline=30.0).detail) == 500
    assert sum(sent) < 32 << 20  # what the sockets buffer, and no more


def test_a_receiver_that_never_answers_costs_the_deadline_and_no_more(secret_file: Path) -> None:
    release = threading.Event()
    with billing(lambda handler: (release.wait(20), None)[1]) as (url, _):
        begun = time.monotonic()
        delivery = post(url, secret_file, deadline=0.3)
        assert time.monotonic() - begun < 3
        release.set()
    assert delivery.status == 0
    assert "no answer within 0.3 s" in delivery.detail


def test_an_answer_that_trickles_in_is_given_up_on(secret_file: Path) -> None:
    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(500)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        for _ in range(200):
            try:
                handler.wfile.write(b"x")
            except OSError:
                return
            time.sleep(0.05)

    with billing(trickle) as (url, _):
        begun = time.monotonic()
        assert post(url, secret_file, deadline=0.3).status == 500
        assert time.monotonic() - begun < 3


@pytest.mark.parametrize("begins", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_an_answer_whose_head_trickles_in_is_given_up_on(secret_file: Path, begins: bytes) -> None:
    """Each byte comes within the wait for a byte: only the whole exchange has an end."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(begins)
        for _ in range(200):
            try:
                handler.wfile.write(b"x")
            except OSError:
                return
            time.sleep(0.05)

    with billing(drip) as (url, _):
        begun = time.monotonic()
        delivery = post(url, secret_file, deadline=0.4)
        assert time.monotonic() - begun < 3
    assert delivery == Delivery(status=0, detail="no answer within 0.4 s")


def test_a_receiver_that_closes_without_a_word_has_taken_nothing(secret_file: Path) -> None:
    with billing(lambda handler: handler.connection.close()) as (url, requests):
        delivery = post(url, secret_file)
    assert (delivery.status, delivery.taken, len(requests)) == (0, False, 1)
    assert "not delivered" in delivery.detail


def test_nobody_there_is_an_answer_too(secret_file: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        delivery = post(url, secret_file)
    assert delivery.status == 0
    assert delivery.detail


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://127.0.0.1:99999/", "http:///nohost", "nonsense"])
def test_a_url_that_leads_nowhere_never_raises(secret_file: Path, url: str) -> None:
    assert post(url, secret_file).status == 0


def test_what_is_no_http_is_reported(secret_file: Path) -> None:
    with billing(lambda handler: (handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n"), None)[1]) as (url, _):
        delivery = post(url, secret_file)
    assert delivery.status == 0
    assert "not delivered" in delivery.detail


def test_a_proxy_from_the_environment_sees_nothing(secret_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with billing(answer(200)) as (proxy, through_proxy), billing(answer(200)) as (url, direct):
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("ALL_PROXY", proxy)
        assert post(url, secret_file).taken
    assert (len(direct), len(through_proxy)) == (1, 0)


def test_a_secret_that_became_unreadable_is_reported_and_named_at_the_start(secret_file: Path) -> None:
    with billing(answer(200)) as (url, requests):
        notifier = HttpNotifier(url, secret_file, SystemClock())
        secret_file.chmod(0o644)
        delivery = notifier.post(message_id="msg_1", body=BODY, deadline=5.0)
        notifier.close()
    assert delivery.status == 0
    assert "other users" in delivery.detail
    assert requests == []
    with pytest.raises(ConfigError):
        HttpNotifier("http://127.0.0.1/", secret_file, SystemClock())
