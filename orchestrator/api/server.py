"""uvicorn on the unix socket (0660), and on TCP where ``listen`` says so. Ends gracefully on SIGTERM and SIGINT.

Who is on the other end of the unix socket is asked from the kernel (SO_PEERCRED, unix(7)) once per connection and handed to
the handlers in the ASGI state, where nothing that a client sends can reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from orchestrator.api import connections
from orchestrator.domain.errors import ConfigError

GRACE_SECONDS = 20
# Machines ask again.
DESK_GRACE_SECONDS = 3
# Connections that the kernel keeps until they are accepted.
BACKLOG = 128
# What a caller may say at once by a WebSocket, which is by a console.
MESSAGE_BYTES = 64 * 1024


class Server(uvicorn.Server):
    """A uvicorn server that ends its process's run quietly: a signal it has handled is not raised a second time."""

    def __init__(self, app: FastAPI, *, ready: Callable[[], None], identity: tuple[Path, Path] | None = None) -> None:
        """``identity``: certificate and key, of a server that speaks TLS."""
        self._ready = ready
        super().__init__(
            uvicorn.Config(
                app,
                http=connections.PeerProtocol,
                backlog=BACKLOG,
                ws=connections.ConsoleProtocol,
                ws_max_size=MESSAGE_BYTES,
                ws_per_message_deflate=False,
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS if identity is None else DESK_GRACE_SECONDS,
                ssl_certfile=None if identity is None else identity[0],
                ssl_keyfile=None if identity is None else str(identity[1]),
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        connections.quieten(asyncio.get_running_loop())
        await super().startup(sockets=sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets=sockets)
        # By TLS one says good-bye; those whose other end is gone without a word, as a machine that lost its power, are cut off.
        left = [each for each in self.server_state.connections if isinstance(each, connections.PeerProtocol)]
        for connection in left:
            connection.cut_off()
        if left:
            await asyncio.sleep(0.1)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            yield
            self._captured_signals.clear()


def serve(app: FastAPI, sockets: list[socket.socket], *, ready: Callable[[], None]) -> None:
    """Serve on what ``bind`` gave until SIGTERM or SIGINT; ``ready`` is called once when requests are answered."""
    connections.raise_file_limit()
    unix_path = sockets[0].getsockname()
    try:
        Server(app, ready=ready).run(sockets=sockets)
    finally:
        Path(unix_path).unlink(missing_ok=True)


@contextlib.contextmanager
def beside(app: FastAPI, sock: socket.socket, identity: tuple[Path, Path], *, what: str) -> Iterator[None]:
    """Serve an application by TLS on a socket of its own, in a thread, for as long as the block takes. ``what`` it is, in words.

    Raises ConfigError where the server does not start.
    """
    started = threading.Event()
    require_identity(identity, what=what)
    server = Server(app, ready=started.set, identity=identity)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, name="beside", daemon=True)
    thread.start()
    try:
        while not started.wait(0.05):
            if not thread.is_alive():
                raise ConfigError(f"{what} cannot be served", hint="the log says why")
        yield
    finally:
        app.state.ending = True  # what hangs on purpose is answered
        server.should_exit = True
        thread.join(GRACE_SECONDS)
        sock.close()


def require_identity(identity: tuple[Path, Path], *, what: str) -> None:
    """Raises ConfigError where certificate and key cannot be used, or others may read the key."""
    certificate, key = identity
    try:
        if key.stat().st_mode & 0o077:
            raise ConfigError(f"{key}: others may read the key", hint=f"chmod 600 {key}")
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password=_no_passphrase)
    except ssl.SSLError as exc:
        raise ConfigError(
            f"{what} cannot be served: {certificate} and {key} are no certificate and its key ({exc.reason})"
        ) from exc
    except OSError as exc:
        raise ConfigError(f"{what} cannot be served: {exc.filename or certificate}: {exc.strerror or exc}") from exc


def _no_passphrase() -> str:
    """Else OpenSSL would ask for it at the terminal."""
    raise OSError("the key has a passphrase, which nobody is there to type")


def bind(*, unix_socket: Path, listen: str = "") -> list[socket.socket]:
    """The listening sockets, the unix one first; a stale socket file is replaced, a living one is not."""
    sockets = [_bind_unix(unix_socket)]
    if listen:
        try:
            sockets.append(bind_tcp(listen))
        except ConfigError:
            sockets[0].close()
            unix_socket.unlink(missing_ok=True)
            raise
    return sockets


def _bind_unix(path: Path) -> socket.socket:
    if path.exists():
        _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Bound under a umask, so that there is no moment in which others could connect.
    before = os.umask(0o117)
    try:
        sock.bind(str(path))
    except OSError as exc:
        sock.close()
        raise ConfigError(f"cannot listen on {path}: {exc.strerror}", hint="check socket: in orchestrator.yaml") from exc
    finally:
        os.umask(before)
    sock.listen()
    return sock


def _remove_stale(path: Path) -> None:
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise ConfigError(f"{path} exists and is no socket", hint="name another path at socket: in orchestrator.yaml")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except OSError as exc:
            if exc.errno not in (errno.ECONNREFUSED, errno.ENOENT):
                raise ConfigError(f"cannot tell whether a server listens on {path}: {exc.strerror}") from exc
        else:
            raise ConfigError(f"a server already listens on {path}", hint="stop it first, or use it")
    path.unlink(missing_ok=True)


def bind_tcp(listen: str, *, setting: str = "listen") -> socket.socket:
    """A listening socket at host:port. Raises ConfigError that names the setting."""
    host, _, port = listen.rpartition(":")
    sock: socket.socket | None = None
    try:
        if not 0 <= int(port) <= 65535:  # getaddrinfo would take it modulo 65536
            raise ValueError("a port is a number up to 65535")
        found = socket.getaddrinfo(host.strip("[]") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _name, address = found[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen()
    except (OSError, ValueError) as exc:
        if sock is not None:
            sock.close()
        raise ConfigError(f"cannot listen on {listen}: {exc}", hint=f"check {setting}: in orchestrator.yaml") from exc
    return sock
