"""Standard Webhooks signatures, made by an independent sender."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from svix.webhooks import Webhook

from orchestrator.api.signatures import Message, verify
from orchestrator.domain.errors import RequestError, SignatureInvalid

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes....").decode()
OTHER = "whsec_" + base64.b64encode(b"another secret, newer than it...").decode()
BODY = '{"type":"order.paid","data":{"service_id":"s1","reason":"Überweisung"}}'


def headers(
    *, body: str = BODY, message_id: str = "msg_1", at: datetime = NOW, secret: str = SECRET, stamp: str | None = None
) -> dict[str, str]:
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp if stamp is not None else str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body),
    }


def check(
    given_headers: dict[str, str], *, body: bytes = BODY.encode(), secrets: tuple[str, ...] = (SECRET,), tolerance: float = 300
) -> Message:
    return verify(body, given_headers, secrets=secrets, now=NOW, tolerance_seconds=tolerance)


def test_a_message_signed_by_another_implementation_holds() -> None:
    assert check(headers()) == Message(id="msg_1", sent_at=NOW, body=BODY.encode())


@pytest.mark.parametrize("secrets", [(SECRET, OTHER), (OTHER, SECRET)])
def test_any_of_several_secrets_is_enough_while_they_are_rotated(secrets: tuple[str, ...]) -> None:
    assert check(headers(), secrets=secrets).id == "msg_1"


def test_any_of_several_signatures_is_enough() -> None:
    several = headers()
    several["webhook-signature"] = f"v1,AAAA v1a,xyz {headers(secret=OTHER)['webhook-signature']} {several['webhook-signature']}"
    assert check(several).id == "msg_1"


@pytest.mark.parametrize("seconds", [-301, -299, 0, 299, 301])
def test_the_window_is_ours_and_closes_on_both_sides(seconds: int) -> None:
    signed = headers(at=NOW + timedelta(seconds=seconds))
    if abs(seconds) <= 300:
        assert check(signed).sent_at == NOW + timedelta(seconds=seconds)
    else:
        with pytest.raises(SignatureInvalid, match="seconds away"):
            check(signed)


def test_a_wider_window_than_the_librarys_is_kept() -> None:
    assert check(headers(at=NOW - timedelta(hours=1)), tolerance=7200).id == "msg_1"


def _changed(**changes: str | None) -> dict[str, str]:
    changed: dict[str, str | None] = {**headers(), **{name.replace("_", "-"): value for name, value in changes.items()}}
    return {name: value for name, value in changed.items() if value is not None}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        _changed(webhook_id=None),
        _changed(webhook_timestamp=None),
        _changed(webhook_signature=None),
        _changed(webhook_signature=""),
        _changed(webhook_id="msg_2"),
        _changed(webhook_timestamp=str(int(NOW.timestamp()) + 1)),
        _changed(webhook_signature="v1"),
        _changed(webhook_signature="v1,"),
        _changed(webhook_signature="v1,not base64!"),
        _changed(webhook_signature="v1,ÿ"),
        _changed(webhook_signature="v2,AAAA"),
        _changed(webhook_signature=",,,,"),
        _changed(webhook_signature=headers()["webhook-signature"].replace("v1,", "v2,")),
        headers(secret=OTHER),
        headers(body=BODY + " "),
    ],
)
def test_what_was_not_signed_so_is_not_authentic(wrong: dict[str, str]) -> None:
    with pytest.raises(SignatureInvalid):
        check(wrong)


def test_without_any_secret_nothing_holds() -> None:
    with pytest.raises(SignatureInvalid):
        check(headers(), secrets=())


@pytest.mark.parametrize(
    "malformed",
    [
        _changed(webhook_timestamp="soon"),
        _changed(webhook_timestamp="-1"),
        _changed(webhook_timestamp="1e9"),
        _changed(webhook_timestamp="9" * 400),
        _changed(webhook_timestamp="١٢٣"),
        _changed(webhook_id="a b"),
        _changed(webhook_id="ü"),
        _changed(webhook_id="x" * 257),
    ],
)
def test_headers_that_are_not_of_the_scheme_are_malformed(malformed: dict[str, str]) -> None:
    with pytest.raises(RequestError):
        check(malformed)


def test_a_body_that_is_no_text_is_malformed() -> None:
    with pytest.raises(RequestError, match="UTF-8"):
        check(headers(), body=b"\xff\xfe")


@given(
    st.fixed_dictionaries(
        {}, optional={name: st.text(max_size=60) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
    ),
    st.binary(max_size=60),
)
def test_whatever_a_stranger_sends_is_refused_in_our_words(strange: dict[str, str], body: bytes) -> None:
    with pytest.raises(RequestError):
        check(strange, body=body)
