"""Whatever comes over the wire: never a 5xx, never a traceback, and the controller goes on."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.domain.events import EventType
from tests.live import SOURCE, sign
from tests.served import Served

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
field_names = st.sampled_from(
    [
        "client_id",
        "plan",
        "version",
        "ssh_keys",
        "due_at",
        "paid_until",
        "hostname",
        "password_hash",
        "reason",
        "zone",
        "template",
    ]
)
# Values that get past the schema now and then, so that the engine is reached too.
likely = st.sampled_from(["small", "debian", "z1", "abuse", "2030-01-01T00:00:00Z", "", 1, 7, 2**63 - 1, []])
service_ids = st.sampled_from([f"fuzz-{number}" for number in range(6)])
header_text = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=80)
header_names = st.sampled_from(
    ["webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "authorization", "idempotency-key", "accept", "host"]
)


# How the validation library speaks, and what is said where a fault of its has no sentence of ours.
LIBRARY = (
    "Input should",
    "Value error",
    "Extra inputs",
    "Field required",
    "should have",
    "should match",
    "pydantic",
    "what is expected",
)


def in_our_words(text: str) -> None:
    assert not [words for words in LIBRARY if words in text], text


def answered(response: httpx.Response) -> None:
    """An answer of ours: no 5xx, and where it is refused, a problem."""
    assert response.status_code < 500, response.text
    assert "Traceback" not in response.text
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["code"]
        in_our_words(response.text)


@FUZZ
@given(kind=st.sampled_from(list(EventType)), service=service_ids, data=st.dictionaries(field_names, likely | json_values))
def test_signed_events_of_every_shape(served: Served, kind: EventType, service: str, data: dict[str, Any]) -> None:
    body = json.dumps({"type": kind.value, "data": {"service_id": service, **data}})
    answered(served.http.post(f"/v1/webhooks/{SOURCE}", content=body, headers=sign(f"fuzz-{abs(hash(body))}", body)))


@FUZZ
@given(body=st.text(max_size=200))
def test_signed_text_of_every_kind(served: Served, body: str) -> None:
    answered(served.http.post(f"/v1/webhooks/{SOURCE}", content=body.encode(), headers=sign("fuzz-text", body)))


@FUZZ
@given(body=st.binary(max_size=300), headers=st.dictionaries(header_names, header_text))
def test_unsigned_bytes_and_strange_headers(served: Served, body: bytes, headers: dict[str, str]) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answered(served.http.post(f"/v1/webhooks/{SOURCE}", content=body, headers=raw))


@FUZZ
@given(source=st.text(min_size=1, max_size=80).filter(lambda text: text not in (".", "..")))
def test_sources_of_every_name(served: Served, source: str) -> None:
    answered(served.http.post(f"/v1/webhooks/{quote(source, safe='')}", content=b"{}"))


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"POST /v1/webhooks/shop HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/webhooks/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 2\r\n\r\nx",
        b"POST /v1/webhooks/shop HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST /v1/webhooks/shop HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/webhooks/shop HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nx",
        b"POST /v1/webhooks/shop HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 5000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%ff%fe%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/services?after=%ff%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /v1/services HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ],
)
def test_what_is_hardly_http_is_refused_and_the_controller_goes_on(served: Served, request_bytes: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(10)
        sock.connect(str(served.socket))
        sock.sendall(request_bytes)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
    assert not answer or answer.split(b" ", 2)[1][:1] in (b"2", b"4"), answer
    assert b"Traceback" not in answer
    assert served.http.get("/healthz").status_code == 200


def test_nothing_of_it_surprised_the_controller(served: Served) -> None:
    """Runs last: the log of all of the above holds no incident."""
    assert "unexpected error" not in served.log
    assert "Traceback" not in served.log
