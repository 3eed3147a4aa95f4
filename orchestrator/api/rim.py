"""The outermost layer: bounds every body, logs every request, and is the one place where an unknown error is caught."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Mapping

from fastapi.telemetry import TelemetryConfig
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.api.problems import of_error, problem
from orchestrator.api.rates import HERE, Rates
from orchestrator.domain.errors import OrchestratorError, RequestError, TooLarge
from orchestrator.domain.sizes import size_words
from orchestrator.ports.clock import Clock

log = logging.getLogger("orchestrator.api")

# FastAPI's own traces and metrics, which nobody collects here: whether somebody does, it would look up in each request.
UNTRACED: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False}


class Rim:
    """ASGI middleware. A body is read whole, up to the limit, before anything else sees the request: handlers are
    synchronous and get bytes. ``limits``: of the paths, by patterns, that take more than the others. ``logged``: a path as the
    log may have it.
    ``rates``: how much one address may ask for, but this machine's own. Raises
    nothing: what goes wrong below is logged with an incident id and answered.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        body_limit: int,
        clock: Clock,
        limits: Mapping[str, int] | None = None,
        logged: Callable[[str], str] = str,
        rates: Rates | None = None,
    ) -> None:
        self._app = app
        self._logged = logged
        self._rates = rates
        self._limits = {re.compile(path): limit for path, limit in (limits or {}).items()}
        self._limit = body_limit
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        started = self._clock.monotonic()
        answer = _Answer(send)
        try:
            self._count(scope)
            if scope["type"] == "websocket":  # what comes by it is bounded by the server, message by message
                await self._app(scope, receive, answer)
            elif (body := await self._read(scope, receive)) is not None:
                await self._app(scope, _replay(body, receive), answer)
        except OrchestratorError as exc:
            await of_error(exc)(scope, receive, answer)
        except Exception as exc:
            incident = secrets.token_hex(6)
            log.error("unexpected error", exc_info=exc, extra={"incident": incident, "path": self._logged(scope["path"])})
            if not answer.begun:
                await problem(
                    OrchestratorError.code,
                    "something unexpected happened; nothing more is known to you, and all of it is in the server's log",
                    hint=f"ask an operator to look for incident {incident}",
                    incident=incident,
                )(scope, receive, answer)
        seconds = self._clock.monotonic() - started
        log.info(
            "request",
            extra={
                "method": scope.get("method", "WEBSOCKET"),
                "path": self._logged(scope["path"]),
                "status": answer.status,
                "caller": scope.get("state", {}).get("caller", ""),
                "seconds": round(seconds, 4),
            },
        )

    def _count(self, scope: Scope) -> None:
        """Before a byte of the body is read. Raises TooMany. A unix socket's peer has no address."""
        address = scope.get("client")
        if self._rates is not None and address and address[0] not in HERE:
            self._rates.take(address[0])

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None where the caller went away. Raises TooLarge at the first byte too many."""
        limit = next((most for path, most in self._limits.items() if path.fullmatch(scope["path"])), self._limit)
        declared = dict(scope["headers"]).get(b"content-length")
        if declared is not None:
            if not declared.isdigit():
                raise RequestError("content-length is not a number")
            # Compared by length first: int() of a very long digit string is refused by Python.
            if len(declared) > 18 or int(declared) > limit:
                raise self._too_large(limit)
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise self._too_large(limit)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    def _too_large(self, limit: int) -> TooLarge:
        hint = "the limit is body_limit in orchestrator.yaml" if limit == self._limit else ""
        return TooLarge(f"the body is larger than {size_words(limit)}", hint=hint)


class _Answer:
    """``send``, remembering whether an answer has begun and with which status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self.begun = True
            self.status = message["status"]
        elif message["type"] in ("websocket.accept", "websocket.close") and not self.begun:
            self.begun = True
            self.status = 101 if message["type"] == "websocket.accept" else 403
        await self._send(message)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
