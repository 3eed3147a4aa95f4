"""A real rest-server: one endpoint that only adds, one that may delete, over the same directory."""

from __future__ import annotations

import base64
import hashlib
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.lab.daemons import wait_until

PROGRAM = "restic-rest-server"
USER, SECRET = "node", "the node's secret"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class RestServer:
    """The two endpoints, to be followed by a repository's name and a slash, and the directory behind them."""

    append_only: str
    keeper: str
    directory: Path


@contextmanager
def rest_servers(directory: Path, *, host: str = LOOPBACK) -> Iterator[RestServer]:
    """Both run until the block ends, at an address of this machine."""
    kept = directory / "kept"
    kept.mkdir()
    users = users_file(directory)
    with ExitStack() as running:
        endpoints = [
            running.enter_context(serving(kept, users, directory / f"{name}.log", *options, host=host))
            for name, options in (("append-only", ["--append-only"]), ("keeper", []))
        ]
        yield RestServer(append_only=f"rest:{endpoints[0]}", keeper=f"rest:{endpoints[1]}", directory=kept)


def users_file(directory: Path) -> Path:
    """Of the one who may use the server."""
    users = directory / "users"
    digest = base64.b64encode(hashlib.sha1(SECRET.encode(), usedforsecurity=False).digest()).decode()
    users.write_text(f"{USER}:{{SHA}}{digest}\n")
    return users


@contextmanager
def serving(kept: Path, users: Path, log: Path, *options: str, port: int = 0, host: str = LOOPBACK) -> Iterator[str]:
    """One rest-server; its URL."""
    address = f"{host}:{port or free_port()}"
    words = [PROGRAM, "--listen", address, "--path", str(kept), "--htpasswd-file", str(users), *options]
    with log.open("ab") as out:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        wait_until("rest-server", lambda: _answers(address), log=log)
        yield f"http://{address}/"
    finally:
        process.kill()
        process.wait()


class ComingServer:
    """A real rest-server, at one endpoint that only adds and one that may delete, that goes and comes back."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kept, self._users = directory / "kept", users_file(directory)
        self.kept.mkdir()
        self.ports = [free_port(), free_port()]
        self._running = ExitStack()

    def come(self) -> None:
        for port, options in zip(self.ports, (["--append-only"], []), strict=True):
            log = self.directory / f"{port}.log"
            self._running.enter_context(serving(self.kept, self._users, log, *options, port=port))

    def go(self) -> None:
        self._running.close()

    def target(self, name: str) -> dict[str, str]:
        add, delete = (f"rest:http://{LOOPBACK}:{port}/" for port in self.ports)
        return target_of(name, add, delete, self.directory)


def target_of(name: str, add: str, delete: str, directory: Path) -> dict[str, str]:
    """A target as a configuration names it: where backups are added, and where they may be deleted; its secret in a file."""
    secret = directory / "secret"
    secret.touch(mode=0o600)
    secret.write_text(SECRET)
    return {
        "name": name,
        "location": add,
        "keeper": delete,
        **dict.fromkeys(("user", "keeper_user"), USER),
        **dict.fromkeys(("secret_file", "keeper_secret_file"), str(secret)),
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(address: str) -> bool:
    host, _, port = address.partition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), timeout=5):
        return True
    return False
