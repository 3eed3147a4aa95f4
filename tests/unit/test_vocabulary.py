"""The body of a webhook: what is read, and what is refused with which words."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.vocabulary import parse
from orchestrator.domain.errors import RequestError
from orchestrator.domain.events import Event, EventType

SENT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
# RFC 8709: the kind and 32 bytes, each behind its length. Nobody has the private half.
_BLOB = b"\0\0\0\x0bssh-ed25519" + b"\0\0\0\x20" + b"no key at all, only its length.."
KEY = f"ssh-ed25519 {base64.b64encode(_BLOB).decode()} admin@example"
CRYPT = "$6$abcdefgh$" + "0123456789" * 8 + "abcdef"


def read(body: Any) -> Event:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse(raw, source="shop", message_id="m1", sent_at=SENT)


def event(kind: str = "order.paid", **data: Any) -> dict[str, Any]:
    return {"type": kind, "data": {"service_id": "s1", **data}}


def test_a_whole_event_is_read_into_domain_types() -> None:
    body = event(
        "service.create",
        client_id="c7",
        plan="vps-1",
        order_id="o1",
        invoice_id="i1",
        domain="example.com",
        hostname="web-1.example.com",
        template="debian-12",
        zone="jkt1",
        ssh_keys=[KEY],
        password_hash=CRYPT,
        reason="new order",
        due_at="2026-12-01T00:00:00+07:00",
        paid_until="2027-01-01T00:00:00Z",
        version=3,
        metadata={"anything": [1, None]},
    ) | {"timestamp": "2026-11-19T01:02:03Z", "vocabulary": 1}
    assert read(body) == Event(
        source="shop",
        id="m1",
        type=EventType.SERVICE_CREATE,
        service_id="s1",
        sent_at=datetime(2026, 11, 19, 1, 2, 3, tzinfo=UTC),
        client_id="c7",
        order_id="o1",
        invoice_id="i1",
        plan="vps-1",
        domain="example.com",
        hostname="web-1.example.com",
        template="debian-12",
        zone="jkt1",
        ssh_keys=(KEY,),
        password_hash=CRYPT,
        reason="new order",
        due_at=datetime(2026, 11, 30, 17, 0, tzinfo=UTC),
        paid_until=datetime(2027, 1, 1, tzinfo=UTC),
        version=3,
    )


def test_an_event_without_its_own_time_has_the_time_it_was_sent() -> None:
    assert read(event()).sent_at == SENT


@pytest.mark.parametrize("kind", list(EventType))
def test_every_type_of_the_vocabulary_is_read(kind: EventType) -> None:
    needed = {"invoice_id": "i1", "upheld": False, "period": "2026-11", "bytes": 0, "job_id": "j1", "account": {"cron": []}}
    assert read(event(kind, client_id="c", plan="p", version=1, password_hash=CRYPT, **needed)).type is kind


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        (EventType.INVOICE_CHARGED_BACK, "invoice_id"),
        (EventType.INVOICE_DISPUTED, "invoice_id"),
        (EventType.INVOICE_DISPUTE_SETTLED, "invoice_id, data.upheld"),
        (EventType.USAGE_TRAFFIC, "period, data.bytes"),
    ],
)
def test_what_a_claim_or_a_figure_is_of_has_to_be_said(kind: EventType, missing: str) -> None:
    with pytest.raises(RequestError, match=f"{kind} needs data.{missing}"):
        read(event(kind))


@pytest.mark.parametrize("period", ["2026-13", "2026-00", "2026-1", "26-01", "2026-11-01", "1969-12", "9000-01"])
def test_a_period_that_is_no_month_is_refused(period: str) -> None:
    with pytest.raises(RequestError, match="a month such as 2026-11"):
        read(event(EventType.USAGE_TRAFFIC, period=period, bytes=1))


@pytest.mark.parametrize(
    ("body", "path", "words"),
    [
        (b"", "body", "JSON"),
        (b"[]", "body", "mapping"),
        (b'{"type": "order.paid"', "body", "JSON"),
        (b"\xff\xfe", "body", "JSON"),
        (b'{"type":"order.paid","data":{"service_id":"\\ud800"}}', "body", "JSON"),
        (b'{"type":"order.paid","data":{"service_id":"s1","service_id":"s2"}}', "body", "twice"),
        (b'{"type":"order.paid","type":"order.paid","data":{"service_id":"s1"}}', "body", "twice"),
        (b'{"type":"order.paid","data":{"service_id":"s1","metadata":{"a":NaN}}}', "body", "NaN"),
        ({"data": {"service_id": "s1"}}, "type", "is missing"),
        (event("order.piad"), "type", "order.paid"),
        ({"type": ["order.paid"], "data": {"service_id": "s1"}}, "type", "order.paid"),
        ({"type": "order.paid", "data": {}}, "data.service_id", "is missing"),
        ({"type": "order.paid", "data": None}, "data", ""),
        (event() | {"vocabulary": 2}, "vocabulary", "1"),
        (event() | {"tpye": "x"}, "tpye", "unknown field"),
        (event(paid_untill="2027-01-01T00:00:00Z"), "data.paid_untill", "unknown field"),
        (event(paid_until="2027-01-01T00:00:00"), "data.paid_until", "with its zone"),
        (event(paid_until=1893456000), "data.paid_until", "must be a time"),
        (event(paid_until="9999-12-31T23:59:59Z"), "data.paid_until", "9000"),
        (event(paid_until="0001-01-01T00:00:00+14:00"), "data.paid_until", "1970"),
        (event(version="3"), "data.version", "a whole number"),
        (event(version=True), "data.version", "a whole number"),
        (event(version=-1), "data.version", "at least"),
        (event(version=2**63), "data.version", "at most"),
        (event(client_id=7), "data.client_id", "must be a text"),
        (event(client_id="a\nb"), "data.client_id", "control"),
        (event(client_id="a\x9b2J"), "data.client_id", "control"),
        (event(plan="small\u202e"), "data.plan", "control"),
        (event(ssh_keys=[KEY + "\u2066"]), "data.ssh_keys.0", "control"),
        (event(client_id="x" * 256), "data.client_id", "255"),
        (event(hostname="-web"), "data.hostname", "name"),
        (event(hostname="web_1"), "data.hostname", "name"),
        (event(ssh_keys=[KEY + "\n" + KEY]), "data.ssh_keys.0", "control"),
        (event(ssh_keys=['command="reboot" ssh-ed25519 AAAA']), "data.ssh_keys.0", "key"),
        (event(ssh_keys=[KEY] * 33), "data.ssh_keys", "32"),
        (event(password_hash="correct horse battery staple"), "data.password_hash", "crypt hash"),
        (event(password_hash="root:$6$abcdefgh$ijklmnop"), "data.password_hash", "crypt hash"),
        ({"type": "order.paid", "data": {"service_id": "../s1"}}, "data.service_id", "48"),
        ({"type": "order.paid", "data": {"service_id": "s.1"}}, "data.service_id", "48"),
        ({"type": "order.paid", "data": {"service_id": "s1\n"}}, "data.service_id", "48"),
        (event("order.created"), "body", "data.client_id, data.plan"),
        (event("service.suspend"), "body", "data.version"),
        (event("service.suspend", version=0), "body", "from 1 on"),
        (event("service.change_plan", version=1), "body", "data.plan"),
        (event("service.reset_password", version=1), "body", "data.password_hash"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place_and_a_sentence(body: Any, path: str, words: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(body)
    problems = {problem["path"]: problem["sentence"] for problem in caught.value.details["problems"]}
    assert path in problems
    assert words in problems[path]
    assert "docs/webhooks.md" in caught.value.hint


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(RequestError) as caught:
        read(event(version="x", hostname="-", nonsense=1))
    assert len(caught.value.details["problems"]) == 3


def test_a_refused_secret_is_not_repeated_in_the_answer() -> None:
    with pytest.raises(RequestError) as caught:
        read(event(password_hash="hunter2-in-the-clear"))
    assert "hunter2" not in str(caught.value) + str(caught.value.details)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from(["service_id", "client_id", "plan", "version", "ssh_keys", "due_at", "hostname", "password_hash"])


@given(
    kind=st.sampled_from(list(EventType)) | json_values,
    data=st.dictionaries(fields, json_values | st.just("s1") | st.datetimes().map(str)) | json_values,
)
def test_whatever_json_comes_is_read_or_refused_in_our_words(kind: Any, data: Any) -> None:
    try:
        found = read(json.dumps({"type": kind, "data": data}).encode())
    except RequestError as refused:
        told: Any = refused.details["problems"]
    else:
        told = found
    assert told


@given(st.binary(max_size=200))
def test_whatever_bytes_come_are_refused_in_our_words(raw: bytes) -> None:
    with pytest.raises(RequestError):
        read(raw)


@pytest.mark.parametrize(
    ("body", "path", "sentence"),
    [
        (event(plann="vps-1"), "data.plann", "unknown field 'plann'; did you mean 'plan'?"),
        (event() | {"tipe": 1}, "tipe", "unknown field 'tipe'; did you mean 'type'?"),
        (event(version="7"), "data.version", "must be a whole number, got '7'"),
        (event(version=1.5), "data.version", "must be a whole number, got 1.5"),
        (event(version=-1), "data.version", "must be at least 0, got -1"),
        (event(version=[]), "data.version", "must be a whole number, got a list"),
        (event(plan=7), "data.plan", "must be a text"),
        (event(plan="x" * 256), "data.plan", "may have at most 255 characters"),
        (event(ssh_keys="none"), "data.ssh_keys", "must be a list"),
        (
            event(due_at="2026-11-30"),
            "data.due_at",
            "must be a time with its zone, such as 2026-11-30T12:00:00Z, got '2026-11-30'",
        ),
        (event(metadata=1), "data.metadata", "must be a mapping of keys to values"),
        (event() | {"vocabulary": 2}, "vocabulary", "must be 1, got 2"),
        ({"type": "order.paid", "data": {}}, "data.service_id", "'service_id' is missing"),
        (b'{"type": ', "body", "this is not JSON: EOF while parsing a value at line 1 column 9"),
        (b"[]", "body", "must be a mapping of keys to values"),
    ],
)
def test_a_fault_is_told_in_a_sentence_behind_its_path(body: Any, path: str, sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(body)
    assert {"path": path, "sentence": sentence} in caught.value.details["problems"]


def test_an_event_of_a_misspelt_type_is_told_its_nearest() -> None:
    with pytest.raises(RequestError, match=r"no such event; did you mean 'order\.paid'\?: one of version 1 is order\.created, "):
        read(event("order.payd"))


def test_what_was_given_is_not_repeated_where_it_may_be_secret_or_long() -> None:
    for value in (7, ["s3cret-value"], "s3cret-value"):
        with pytest.raises(RequestError) as caught:
            read(event("service.reset_password", password_hash=value, version=1))
        assert "s3cret" not in str(caught.value.details)
    with pytest.raises(RequestError) as caught:
        read(event(version="9" * 100))
    assert "999" not in caught.value.message
    with pytest.raises(RequestError) as caught:
        read(event() | {"\x1b[2J\u202e": 1})
    assert "\x1b" not in caught.value.message
    assert "\\u001b[2J\\u202e" in caught.value.message
