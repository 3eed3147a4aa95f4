"""A billing system that is told things: an HTTP server on loopback that verifies and keeps what is posted to it."""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from svix.webhooks import Webhook

TOLERANCE = timedelta(minutes=5)


def machine_time() -> datetime:
    return datetime.now(UTC)


class Billing:
    """Keeps each message that is rightly signed, by its id; ``refused`` counts the others. ``now``: its clock."""

    def __init__(self, secret: str, *, now: Callable[[], datetime] = machine_time) -> None:
        self.messages: dict[str, dict[str, Any]] = {}
        self.refused = 0
        self._now = now
        self._signer = Webhook(secret)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(outer.take(dict(self.headers), body))
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="billing", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/notify"

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """The status to answer with."""
        lower = {name.lower(): value for name, value in headers.items()}
        if not self._authentic(lower, body):
            self.refused += 1
            return 401
        self.messages[lower["webhook-id"]] = json.loads(body)
        return 204

    def _authentic(self, headers: dict[str, str], body: bytes) -> bool:
        """Verified as the specification says. Not by the library's own check: that knows no time but the machine's."""
        try:
            sent = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
            wanted = self._signer.sign(headers["webhook-id"], sent, body.decode())
            given = headers["webhook-signature"].split()
        except (KeyError, ValueError, OverflowError):
            return False
        return abs(self._now() - sent) <= TOLERANCE and any(hmac.compare_digest(wanted.encode(), one.encode()) for one in given)

    def __enter__(self) -> Billing:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)
