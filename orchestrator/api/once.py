"""Idempotency-Key: a POST that is sent again under its key gets the first answer and does nothing.

A key belongs to its caller and is kept for a day. Only answers of success are kept: what was refused or failed changed
nothing and may be tried again under the same key. The answer is kept in the transaction of the act itself, so that no crash
comes between the two.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse

from orchestrator.api.callers import Caller, identify
from orchestrator.api.context import ApiContext, Context
from orchestrator.api.control import Submitted
from orchestrator.api.schemas import Answer
from orchestrator.domain.errors import RequestError
from orchestrator.store import idempotency
from orchestrator.store.database import Connection

REPLAYED_HEADER = "Idempotent-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,200}")


# An act tells its answer to this, inside the transaction that does what was asked.
Keep = Callable[[Connection, BaseModel], None]


def kept_answer(keep: Keep) -> Callable[[Connection, Submitted], None]:
    """What an act of the engine calls beside its own writing."""
    return lambda conn, submitted: keep(conn, Answer.of(submitted))


class Once:
    """Runs one act at most once per key. Made per request; without a key it simply runs the act."""

    def __init__(self, context: ApiContext, lock: threading.Lock, *, who: str, key: str, fingerprint: str) -> None:
        self._context = context
        self._lock = lock
        self._who = who
        self._key = key
        self._fingerprint = fingerprint

    def request_id(self, about: str) -> str:
        """An id of the request ``about`` something: the same where its caller sends it again under its key; else a new one."""
        if not self._key:
            return f"r.{secrets.token_hex(12)}"
        said = "\n".join((self._who, about, self._key))
        return f"k.{hashlib.sha256(said.encode()).hexdigest()[:24]}"

    def run(self, act: Callable[[Keep], object]) -> JSONResponse:
        """The answer that ``act`` told (202 where it names a job, else 200), or the one kept under the key.

        Raises EventConflict where the key came with another request, and whatever ``act`` raises.
        """
        # One at a time for a key: of two requests at once, the second must find the first one's answer. Of two that come to
        # two controllers the later one's act is undone by the key that is there.
        with self._lock if self._key else nullcontext():
            kept = self._kept()
            if kept is not None:
                return _replayed(kept)
            told: list[idempotency.KeptAnswer] = []

            def keep(conn: Connection, answer: BaseModel) -> None:
                told.append(_kept_answer(answer))
                self._keep(conn, told[-1])

            try:
                act(keep)
            except idempotency.Answered:
                kept = self._kept()
                if kept is None:
                    raise
                return _replayed(kept)
            return _response(told[-1])

    def look(self, act: Callable[[], BaseModel]) -> JSONResponse:
        """The same for an act without a transaction, which may be repeated: its answer is kept after it."""
        if not self._key:
            return _response(_kept_answer(act()))

        def looked(keep: Keep) -> None:
            answer = act()
            with self._context.db.write() as conn:
                keep(conn, answer)

        return self.run(looked)

    def _kept(self) -> idempotency.KeptAnswer | None:
        if not self._key:
            return None
        with self._context.db.read() as conn:
            now = self._context.clock.now()
            return idempotency.get(conn, who=self._who, key=self._key, request_sha256=self._fingerprint, now=now)

    def _keep(self, conn: Connection, kept: idempotency.KeptAnswer) -> None:
        if self._key:
            now = self._context.clock.now()
            idempotency.put(conn, who=self._who, key=self._key, request_sha256=self._fingerprint, kept=kept, now=now)


def _kept_answer(answer: BaseModel) -> idempotency.KeptAnswer:
    data: dict[str, Any] = answer.model_dump(mode="json")
    return idempotency.KeptAnswer(status=202 if data.get("job_id") else 200, answer=data)


def _response(answer: idempotency.KeptAnswer) -> JSONResponse:
    return JSONResponse(answer.answer, status_code=answer.status)


def _replayed(answer: idempotency.KeptAnswer) -> JSONResponse:
    return JSONResponse(answer.answer, status_code=answer.status, headers={REPLAYED_HEADER: "true"})


class KeyLocks:
    """Locks for the keys in flight, a fixed number of them: keys that share one wait for each other, which is harmless."""

    def __init__(self, count: int = 64) -> None:
        self._locks = tuple(threading.Lock() for _ in range(count))

    def of(self, who: str, key: str) -> threading.Lock:
        return self._locks[hash((who, key)) % len(self._locks)]


async def _body(request: Request) -> bytes:
    """The bytes, which the rim has read and bounded already."""
    return await request.body()


RawBody = Annotated[bytes, Depends(_body)]


def _once(
    request: Request,
    context: Context,
    caller: Annotated[Caller, Depends(identify)],
    body: RawBody,
    idempotency_key: Annotated[str, Header(max_length=200, description="The same key gets the first answer, for a day.")] = "",
) -> Once:
    if idempotency_key and not _KEY.fullmatch(idempotency_key):
        raise RequestError("Idempotency-Key must be 1 to 200 printable ASCII characters without blanks")
    target = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    return Once(
        context,
        request.app.state.key_locks.of(caller.name, idempotency_key),
        who=caller.name,
        key=idempotency_key,
        fingerprint=hashlib.sha256(target + body).hexdigest(),
    )


OnceOnly = Annotated[Once, Depends(_once)]
