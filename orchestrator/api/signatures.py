"""Standard Webhooks signatures (https://www.standardwebhooks.com), over several secrets at once and our own clock.

The HMAC is the PyPI library's; the headers, the window and the comparison are ours, because its ``verify`` reads the system's
clock with a fixed window, and raises ValueError or UnicodeDecodeError for what is merely malformed.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

from orchestrator.domain.errors import RequestError, SignatureInvalid

_ID = re.compile(r"[\x21-\x7e]{1,256}")
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,10}")
# More signatures than anybody rotates; bounds the work that a stranger can ask for.
_MAX_SIGNATURES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message whose signature held. ``sent_at`` is the webhook-timestamp, UTC; it changes when a sender retries."""

    id: str
    sent_at: datetime
    body: bytes


def verify(
    body: bytes, headers: Mapping[str, str], *, secrets: Sequence[str], now: datetime, tolerance_seconds: float
) -> Message:
    """The message, if one of its ``v1`` signatures was made with one of ``secrets`` inside the window around ``now``.

    Raises SignatureInvalid; RequestError for headers that are not of the scheme at all or a body that is not UTF-8 text.
    """
    message_id = headers.get("webhook-id", "")
    stamp = headers.get("webhook-timestamp", "")
    signatures = headers.get("webhook-signature", "")
    if not (message_id and stamp and signatures):
        raise SignatureInvalid("the headers webhook-id, webhook-timestamp and webhook-signature are needed")
    if not _ID.fullmatch(message_id):
        raise RequestError("webhook-id must be 1 to 256 printable ASCII characters without blanks")
    if not _TIMESTAMP.fullmatch(stamp):
        raise RequestError("webhook-timestamp must be whole seconds since 1970")
    sent_at = datetime.fromtimestamp(int(stamp), tz=UTC)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise RequestError("the body is not UTF-8 text") from None
    given = _signatures(signatures)
    # Every secret is tried against every signature, so that the time taken does not tell which one nearly held.
    held = False
    for secret in secrets:
        expected = Webhook(secret).sign(message_id, sent_at, text).partition(",")[2]
        for signature in given:
            held |= hmac.compare_digest(base64.b64decode(expected), signature)
    if not held:
        raise SignatureInvalid("no signature of this message was made with a secret of this source")
    if abs((now - sent_at).total_seconds()) > tolerance_seconds:
        raise SignatureInvalid(
            f"webhook-timestamp is more than {tolerance_seconds:g} seconds away from now",
            hint="send it again with the present time, and check the clocks of both machines",
        )
    return Message(id=message_id, sent_at=sent_at, body=body)


def _signatures(header: str) -> list[bytes]:
    found = []
    for part in header.split()[:_MAX_SIGNATURES]:
        version, _, value = part.partition(",")
        if version != "v1":
            continue
        try:
            found.append(base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError):
            continue
    return found
