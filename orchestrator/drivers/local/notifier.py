"""Posting to the billing system over HTTP (port Notifier), signed as Standard Webhooks says."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
from standardwebhooks import Webhook

from orchestrator.domain.errors import ConfigError
from orchestrator.drivers.local.keys import webhook_secret
from orchestrator.ports.clock import Clock
from orchestrator.ports.notifier import Delivery

# What of an answer's body is kept for the operator.
DETAIL_CHARACTERS = 500
ANSWER_BYTES = 16 * 1024


class HttpNotifier:
    """Posts to ``url`` with the secret of ``secret_file``, which is read at each post: a rotation needs no restart.

    ``transport`` stands in for the network in tests; None = the real one. Redirects are not followed: the answer that asks
    for one is reported, because a signed body must not go where nobody configured it to go.
    """

    def __init__(self, url: str, secret_file: Path, clock: Clock, *, transport: httpx.BaseTransport | None = None) -> None:
        webhook_secret(secret_file)
        self._url = url
        self._secret_file = secret_file
        self._clock = clock
        # trust_env off: a proxy from the environment would see customers' data and nobody configured it here. The
        # system's certificate store, because that is where an operator puts the authority of a billing system in the house.
        self._client = httpx.Client(
            follow_redirects=False, trust_env=False, transport=transport, verify=ssl.create_default_context()
        )

    def post(self, *, message_id: str, body: bytes, deadline: float) -> Delivery:
        """See the port. ``deadline``: seconds for each wait on the receiver, and for its whole answer once that has begun."""
        try:
            headers = self._headers(message_id, body)
        except ConfigError as exc:
            return Delivery(status=0, detail=str(exc))
        end = self._clock.monotonic() + deadline
        try:
            with self._client.stream("POST", self._url, content=body, headers=headers, timeout=max(0.001, deadline)) as answer:
                return Delivery(status=answer.status_code, detail=_detail(answer, lambda: self._clock.monotonic() > end))
        except httpx.TimeoutException:
            return Delivery(status=0, detail=f"no answer within {deadline:g} s")
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            return Delivery(status=0, detail=f"not delivered: {exc}"[:DETAIL_CHARACTERS])

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()

    def _headers(self, message_id: str, body: bytes) -> dict[str, str]:
        now = self._clock.now()
        signature = Webhook(webhook_secret(self._secret_file)).sign(message_id, now, body.decode("utf-8"))
        return {
            "content-type": "application/json",
            "user-agent": "orchestrator",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signature,
        }


def _detail(answer: httpx.Response, late: Callable[[], bool]) -> str:
    """The beginning of the answer's body, for the operator: a success says nothing."""
    if answer.is_success:
        return ""
    kept = b""
    for piece in answer.iter_bytes():
        kept += piece
        if len(kept) > ANSWER_BYTES or late():
            break
    where = f" to {answer.headers['location']}" if answer.has_redirect_location else ""
    text = " ".join(kept.decode("utf-8", "replace").split())
    return f"{answer.status_code} {answer.reason_phrase}{where}: {text}"[:DETAIL_CHARACTERS]
