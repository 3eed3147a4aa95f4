"""A TCP proxy before a database, that can be cut: as a network is that lets nothing through, and tells nobody."""

from __future__ import annotations

import contextlib
import select
import socket
import threading


class Proxy:
    """Listens on a free port of ``host`` and passes on to ``port`` of the loopback. While it is cut, nothing arrives, in either
    direction, and connections are taken that lead nowhere."""

    entering: tuple[str, ...] = ()
    """The words before a command that is to come by it: any may."""

    def __init__(self, port: int, *, host: str = "127.0.0.1") -> None:
        self.host = host
        self._to = port
        self._open = threading.Event()
        self._open.set()
        self._ending = threading.Event()
        self._server = socket.create_server((host, 0), backlog=128)
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._ending.set()
        self._open.set()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        while not self._ending.is_set():
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        self._open.wait()
        try:
            server = socket.create_connection(("127.0.0.1", self._to), timeout=5)
        except OSError:
            client.close()
            return
        ways = {client: server, server: client}
        with client, server, contextlib.suppress(OSError):
            server.settimeout(None)
            while not self._ending.is_set():
                ready, _, _ = select.select(list(ways), [], [], 0.5)
                for source in ready:
                    data = source.recv(65536)
                    self._open.wait()
                    if not data:
                        return
                    ways[source].sendall(data)
