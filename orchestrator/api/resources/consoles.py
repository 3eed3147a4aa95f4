"""WebSocket /v1/services/{service_id}/console: the serial console of a guest, as bytes each way."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading

from fastapi import APIRouter, WebSocket
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocketDisconnect

from orchestrator.api.callers import Permission, caller_of
from orchestrator.api.connections import ConsoleProtocol
from orchestrator.api.context import ApiContext
from orchestrator.api.problems import of_error
from orchestrator.domain.errors import NotFound, OrchestratorError, RequestError
from orchestrator.domain.services import SERVICE_ID
from orchestrator.engine.consoles import Session

router = APIRouter(prefix="/v1/services", tags=["services"])

# A close frame takes 123 bytes of reason (RFC 6455, 5.5).
_MOST_REASON = 120
_GONE = "the connection ended"
# By the code of the close frame (RFC 6455, 7.4.1; 1012 is of IANA's registry, and uvicorn's own where it stops).
_ENDS = {1000: "it was closed by its user", 1012: "the controller stops"}


@router.websocket("/{service_id}/console")
async def open_console(socket: WebSocket, service_id: str) -> None:
    """What comes in is typed, what goes out is what the guest writes. With ``force=true`` it is taken from whoever has it.

    Refusals are answers of HTTP, in place of the switch of protocols. The close frame's reason says why it ended.
    """
    opening = asyncio.ensure_future(run_in_threadpool(_session, socket, service_id))
    try:
        session = await asyncio.shield(opening)
    except OrchestratorError as exc:
        await socket.send_denial_response(of_error(exc))
        return
    except asyncio.CancelledError:
        opening.add_done_callback(_let_go)
        raise
    gone = _GONE
    try:
        with contextlib.suppress(WebSocketDisconnect, OSError):  # whoever asked is gone: that is its end
            await socket.accept()
            gone = await _carry(socket, session)
    finally:
        await asyncio.shield(run_in_threadpool(session.close, gone))


def _session(socket: WebSocket, service_id: str) -> Session:
    context: ApiContext = socket.app.state.context
    caller = caller_of(socket, context, Permission.OPERATE)
    force = _force(socket)
    if not re.fullmatch(SERVICE_ID, service_id):
        raise NotFound(f"there is no service {service_id!r:.60}", hint="`orchestrator service list` shows all of them")
    return context.consoles.open(service_id, who=caller.name, force=force)


def _let_go(opening: asyncio.Future[Session]) -> None:
    """Close what nobody waits for any more. The loop is not kept busy with it."""
    if not opening.cancelled() and opening.exception() is None:
        threading.Thread(target=opening.result().close, args=(_GONE,), name="console").start()


def _force(socket: WebSocket) -> bool:
    given = socket.query_params.multi_items()
    if any(name != "force" for name, _value in given):
        raise RequestError("query: unknown parameter: this route takes force")
    values = [value for _name, value in given]
    if values not in ([], ["true"], ["false"]):
        raise RequestError("query.force: must be true or false, once")
    return values == ["true"]


async def _carry(socket: WebSocket, session: Session) -> str:
    """Until either side ends; why, where it was the caller's."""
    loop, ready, over = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def wake() -> None:
        loop.call_soon_threadsafe(ready.set)
        if session.why:
            loop.call_soon_threadsafe(over.set)

    session.start(wake)
    inward = asyncio.create_task(_inward(socket, session))
    tasks = {inward, asyncio.create_task(_outward(socket, session, ready)), asyncio.create_task(_enough(over))}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return inward.result() if inward.done() else _GONE
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _enough(over: asyncio.Event) -> None:
    """Of one that has ended: whoever does not take what is left of it is not waited for."""
    await over.wait()
    await asyncio.sleep(ConsoleProtocol.farewell_seconds)


async def _outward(socket: WebSocket, session: Session, ready: asyncio.Event) -> None:
    """Each send waits until the one before has room in the socket: what the guest writes meanwhile waits, bounded."""
    while True:
        ready.clear()
        text, over = session.take()
        if text:
            await socket.send_bytes(text)
        elif over:
            await socket.close(1000, session.why.encode()[:_MOST_REASON].decode(errors="ignore"))
            return
        else:
            await ready.wait()


async def _inward(socket: WebSocket, session: Session) -> str:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return _ENDS.get(message.get("code", 0), _GONE)
        typed = message.get("bytes") or (message.get("text") or "").encode()
        await run_in_threadpool(session.write, typed)
