"""A proxy before a controller, which is not always there: a real HTTP server on the loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import httpx

from orchestrator.api.problems import of_error
from orchestrator.domain.errors import StoreUnavailable
from tests.receiver import Answer, answer, billing

PAGE = b"<html><head><title>502 Bad Gateway</title></head></html>"
AWAY = bytes(of_error(StoreUnavailable("the store cannot be used")).body)


@contextmanager
def proxy(http: httpx.Client, *first: Answer | None) -> Iterator[str]:
    """Its first answers; None, and after them, is what the controller answers."""
    left = list(first)

    def send(handler: BaseHTTPRequestHandler) -> None:
        own = left.pop(0) if left else None
        if own is None:
            headers = {"Content-Type": "application/json", "Idempotency-Key": handler.headers.get("Idempotency-Key", "")}
            found = http.request(handler.command, handler.path, content=requests[-1].get("body"), headers=headers)
            own = answer(found.status_code, found.content)
        own(handler)

    with billing(send) as (url, requests):
        yield url.removesuffix("/hook")
