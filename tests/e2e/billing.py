"""A billing system that is told things: an HTTP server on loopback that verifies and keeps what is posted to it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from svix.webhooks import Webhook, WebhookVerificationError


class Billing:
    """Keeps each message that is rightly signed, by its id; ``refused`` counts the others."""

    def __init__(self, secret: str) -> None:
        self.messages: dict[str, dict[str, Any]] = {}
        self.refused = 0
        self._verifier = Webhook(secret)
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
        try:
            self._verifier.verify(body, lower)
        except WebhookVerificationError:
            self.refused += 1
            return 401
        self.messages[lower["webhook-id"]] = json.loads(body)
        return 204

    def __enter__(self) -> Billing:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)
