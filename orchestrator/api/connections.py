"""Connections to the API: who is on the other end, how long one may take over a request, and how many there may be.

Whoever can reach the TCP address can open connections without any token. They must take nothing from the unix socket, nor
from billing: a connection on which no whole request comes is closed, and when there are too many the longest silent one gives
way to the newest.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import resource
import socket
import struct
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

log = logging.getLogger("orchestrator.api")

# struct ucred: pid, uid, gid (unix(7)).
_UCRED = struct.Struct("3i")
# Seconds from the moment a connection is free for a request until the whole of it, its body too, has come.
REQUEST_SECONDS = 30.0
# That the other end of a WebSocket has, when it is over, to take what was sent to it last.
FAREWELL_SECONDS = 5.0
MOST_TCP = 256
# Files are needed for the database and for the nodes too.
_TCP_SHARE = 4
MOST_FILES = 65_536
LOG_SECONDS = 10.0
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def raise_file_limit() -> None:
    """Let this process open as many files as its hard limit allows (getrlimit(2)), up to 65536."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def tcp_limit() -> int:
    """How many connections there may be over TCP: a quarter of the files that may be open, at most 256."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_TCP if soft == resource.RLIM_INFINITY else max(1, min(MOST_TCP, soft // _TCP_SHARE))


class PeerProtocol(H11Protocol):
    """HTTP/1.1 with the peer's uid in the ASGI state, where the connection came by a unix socket, and with an end to waiting."""

    request_seconds = REQUEST_SECONDS

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.by_unix_socket = False
        self._waiting: asyncio.TimerHandle | None = None
        self._turned_away = False
        self._socket: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = sock = transport.get_extra_info("socket")
        self.by_unix_socket = sock is not None and sock.family == socket.AF_UNIX
        if self.by_unix_socket:
            _pid, uid, _gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
            self.app_state = {**self.app_state, "peer_uid": uid}
        elif not self._has_room():
            self._turned_away = True
            cast(asyncio.Transport, transport).abort()
            return
        super().connection_made(cast(asyncio.Transport, transport))
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._turned_away:
            self._stop_waiting()
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    @property
    def waits_since(self) -> float | None:
        """The loop's time at which the wait for a request ends that has not come whole; None while one is answered."""
        return None if self._waiting is None else self._waiting.when()

    def give_way(self) -> None:
        """End at once: no request has come, so no answer is lost."""
        self.connections.discard(self)
        self._stop_waiting()
        self.transport.abort()

    def cut_off(self) -> None:
        """End also where the transport waits for the other end's good-bye. Asked of the socket: a transport of TLS knows it no
        longer then."""
        with contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def _has_room(self) -> bool:
        others = [other for other in self.connections if isinstance(other, PeerProtocol) and not other.by_unix_socket]
        if len(others) < tcp_limit():
            return True
        _seldom(self.loop, "there are too many connections over TCP; the longest silent ones are closed")
        silent = [(other.waits_since, other) for other in others if other.waits_since is not None]
        if not silent:
            return False
        min(silent, key=lambda pair: pair[0])[1].give_way()
        return True

    def _watch(self) -> None:
        """The time runs while the peer still owes (the rest of) a request, whether its head or its body. One that has become a
        WebSocket owes none: h11 has been told nothing more since."""
        owes = self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and self.transport.get_protocol() is self
        if self.transport.is_closing() or not owes:
            self._stop_waiting()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(self.request_seconds, self.give_way)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


class ConsoleProtocol(WebSocketsSansIOProtocol):
    """WebSockets, which end: whoever does not take the last of what was sent is cut off. In the log they end as they ended:
    uvicorn takes a handshake that was refused with an answer for one that nobody answered."""

    farewell_seconds = FAREWELL_SECONDS

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.transport.abort()  # closing it waits until what was sent is taken, which may be never

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        self.loop.call_later(self.farewell_seconds, self.transport.abort)


def quieten(loop: asyncio.AbstractEventLoop) -> None:
    """Say seldom that connections cannot be accepted: the loop tries thousands of times a second, and would log each."""

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        cause = context.get("exception")
        if isinstance(cause, OSError) and cause.errno in _EXHAUSTED:
            _seldom(loop, f"{context.get('message', 'a connection failed')}: {cause.strerror}")
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)


_said: dict[str, float] = {}


def _seldom(loop: asyncio.AbstractEventLoop, sentence: str) -> None:
    now = loop.time()
    if now - _said.get(sentence, -LOG_SECONDS) >= LOG_SECONDS:
        _said[sentence] = now
        log.error(sentence)
