"""Whether something answers, asked over real sockets on the loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from orchestrator.domain.errors import PermanentDriverError
from orchestrator.drivers.local.reach import TcpReach


@contextmanager
def server(says: bytes, *, family: socket.AddressFamily = socket.AF_INET, keeps: bool = False) -> Iterator[tuple[str, int]]:
    """A server for one caller; with ``keeps`` it keeps the connection open after what it says."""
    address = "127.0.0.1" if family == socket.AF_INET else "::1"
    done = threading.Event()
    with socket.socket(family) as listening:
        listening.bind((address, 0))
        listening.listen()

        def serve() -> None:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.sendall(says)
                if keeps:
                    done.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield address, listening.getsockname()[1]
        finally:
            done.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_first_line_of_a_server_is_its_banner(family: socket.AddressFamily) -> None:
    with server(b"SSH-2.0-OpenSSH_9.2\r\nmore", family=family, keeps=True) as (address, port):
        assert TcpReach().banner(address, port, deadline=5) == "SSH-2.0-OpenSSH_9.2"


def test_a_server_that_says_nothing_has_no_banner_and_costs_no_more_than_the_deadline() -> None:
    with server(b"", keeps=True) as (address, port):
        assert TcpReach().banner(address, port, deadline=0.3) == ""


def test_a_server_that_never_ends_its_line_is_cut_off() -> None:
    with server(b"x" * 5000, keeps=True) as (address, port):
        assert len(TcpReach().banner(address, port, deadline=2)) <= 1024


def test_where_nothing_listens_nothing_answers() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    assert TcpReach().banner("127.0.0.1", port, deadline=1) == ""


def test_a_name_is_no_address() -> None:
    with pytest.raises(PermanentDriverError):
        TcpReach().banner("localhost", 22, deadline=1)
