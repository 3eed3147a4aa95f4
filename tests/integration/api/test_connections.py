"""Connections without a token: they are closed when nothing comes on them, and take nothing from the others."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from orchestrator.api import connections
from orchestrator.api.connections import PeerProtocol
from tests.live import Live

HALF = b"POST /v1/webhooks/shop HTTP/1.1\r\nHost: c\r\nContent-Length: 10000\r\n\r\nabc"
PATIENCE = 0.6


@pytest.fixture
def hasty() -> Iterator[None]:
    """A request must come within a moment, not within half a minute."""
    before = PeerProtocol.request_seconds
    PeerProtocol.request_seconds = PATIENCE
    yield
    PeerProtocol.request_seconds = before


@pytest.fixture
def few_files() -> Iterator[int]:
    """As many files as the controller needs and not many more; gives the room that leaves over TCP."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
    yield connections.tcp_limit()
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def opened(live: Live, said: bytes = b"") -> socket.socket:
    address = urlsplit(live.url)
    sock = socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=5)
    sock.sendall(said)
    return sock


def ended(sock: socket.socket) -> bool:
    try:
        while sock.recv(4096):
            continue
        return True
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("said", [b"", b"GET /heal", HALF], ids=["silent", "half a head", "half a body"])
def test_a_connection_on_which_no_whole_request_comes_is_closed(live: Live, said: bytes) -> None:
    with opened(live, said) as sock:
        assert ended(sock)


@pytest.mark.usefixtures("hasty")
def test_a_second_request_that_stays_half_is_not_waited_for_either(live: Live) -> None:
    with opened(live, b"GET /healthz HTTP/1.1\r\nHost: c\r\n\r\n") as sock:
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        sock.sendall(HALF)
        assert ended(sock)


def test_many_silent_connections_keep_neither_billing_nor_the_operator_out(live: Live, few_files: int) -> None:
    with ExitStack() as stack:
        crowd = [stack.enter_context(opened(live, HALF if n % 2 else b"")) for n in range(few_files + 10)]
        for _ in range(3):
            assert live.tcp(live.tokens["readonly"]).get("/v1/services").status_code == 200
        assert live.http.get("/healthz").status_code == 200
        assert ended(crowd[0])


def test_out_of_files_is_said_seldom(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        loop = asyncio.get_running_loop()
        connections.quieten(loop)
        for _ in range(100):
            loop.call_exception_handler({"message": "accept", "exception": OSError(errno.EMFILE, "Too many open files")})
        loop.call_exception_handler({"message": "another thing"})

    with caplog.at_level(logging.ERROR):
        asyncio.run(fail())
    said = [record.getMessage() for record in caplog.records]
    assert said.count("accept: Too many open files") == 1
    assert "another thing" in said


def test_serving_takes_as_many_files_as_it_may() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(200, before[1]), before[1]))
    try:
        connections.raise_file_limit()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert hard == before[1]
    assert soft == (connections.MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, connections.MOST_FILES))
