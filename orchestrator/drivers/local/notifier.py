"""Posting to the billing system over HTTP (port Notifier), signed as Standard Webhooks says."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

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
        # No connection is kept: one that the receiver has closed meanwhile would cost a message an attempt.
        self._client = httpx.Client(
            follow_redirects=False,
            trust_env=False,
            transport=transport,
            verify=ssl.create_default_context(),
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def post(self, *, message_id: str, body: bytes, deadline: float) -> Delivery:
        """See the port. ``deadline``: seconds for the whole exchange, however slowly the receiver speaks."""
        try:
            headers = self._headers(message_id, body)
        except ConfigError as exc:
            return Delivery(status=0, detail=str(exc))
        end = self._clock.monotonic() + deadline
        request = self._client.build_request("POST", self._url, content=body, headers=headers, timeout=max(0.001, deadline))
        with _Cut(deadline) as cut:
            request.extensions["trace"] = cut.trace
            try:
                answer = self._client.send(request, stream=True)
                try:
                    return Delivery(status=answer.status_code, detail=_detail(answer, lambda: self._clock.monotonic() > end))
                finally:
                    answer.close()
            except httpx.TimeoutException:
                return _no_answer(deadline)
            except (httpx.HTTPError, httpx.InvalidURL) as exc:
                if cut.done:
                    return _no_answer(deadline)
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


class _Cut:
    """Ends the connection of one request once ``deadline`` seconds have passed.

    The client's own timeouts are of each single wait: a receiver that sends a byte of its answer's head from time to time would
    keep the line for ever. ``trace`` is the client's extension that tells of its connections.
    """

    def __init__(self, deadline: float) -> None:
        self._timer = threading.Timer(max(0.001, deadline), self._cut)
        self._guard = threading.Lock()
        self._socket: socket.socket | None = None
        self.done = False

    def __enter__(self) -> _Cut:
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._timer.cancel()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            with self._guard:
                self._socket = info["return_value"].get_extra_info("socket")
            if self.done:
                self._end()

    def _cut(self) -> None:
        self.done = True
        self._end()

    def _end(self) -> None:
        with self._guard, suppress(OSError):
            if self._socket is not None:
                # Not SSLSocket.shutdown, which would take the encryption from under the thread that reads.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _no_answer(deadline: float) -> Delivery:
    return Delivery(status=0, detail=f"no answer within {deadline:g} s")


def _detail(answer: httpx.Response, late: Callable[[], bool]) -> str:
    """The beginning of the answer's body, for the operator: a success says nothing."""
    if answer.is_success:
        return ""
    kept = b""
    with suppress(httpx.HTTPError):  # the status stands, however the rest of the answer ends
        for piece in answer.iter_bytes():
            kept += piece
            if len(kept) > ANSWER_BYTES or late():
                break
    where = f" to {answer.headers['location']}" if answer.has_redirect_location else ""
    text = " ".join(kept.decode("utf-8", "replace").split())
    return f"{answer.status_code} {answer.reason_phrase}{where}: {text}"[:DETAIL_CHARACTERS]
