"""One SSH connection that is kept: to a host whose key is pinned, with one key, several programs at a time."""

from __future__ import annotations

import logging
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import paramiko

from orchestrator.domain.errors import PermanentDriverError, TransientDriverError, Unreachable
from orchestrator.drivers.agent_answers import Completed
from orchestrator.drivers.ssh.errors import translated
from orchestrator.drivers.words import plain
from orchestrator.ports.enrolment import HostKey

CONNECT_SECONDS = 10.0
KEEPALIVE_SECONDS = 15
CHANNELS = 8
"""Programs at a time on one connection; sshd's MaxSessions is 10 by default."""

OUTPUT_LIMIT = 16 * 1024 * 1024
ERROR_LIMIT = 64 * 1024
KEY_LIMIT = 64 * 1024
"""Bytes of a private key's file; one of RSA with 16384 bits has some 13 000."""

_READ = 64 * 1024
_POLL_SECONDS = 0.2

# What goes wrong arrives as an exception and is translated; paramiko's own log repeats it with a traceback.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


class Deadline:
    """Seconds left of a span that began when this was made."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        return self._end - time.monotonic()


class SshConnection:
    """Connects when first used and again after it broke. Safe to use from several threads.

    ``key_path`` is a private key file without a passphrase. Only ``host_key`` is accepted; nothing is ever learned.
    """

    def __init__(self, *, address: str, port: int, user: str, key_path: Path, host_key: HostKey) -> None:
        self.name = f"{address}:{port}"
        self._address, self._port, self._user = address, port, user
        self._key_path = key_path
        self._host_key = host_key
        self._client: paramiko.SSHClient | None = None
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(CHANNELS)

    def run(self, command: str, stdin: bytes, *, deadline: float, on_output: Callable[[bytes], None] | None = None) -> Completed:
        """Run a program and return when it has ended. ``on_output`` hears of stdout as it comes.

        TransientDriverError: the connection broke or ``deadline`` seconds passed; the program may have done its work, or still
        be at it. PermanentDriverError: more output than OUTPUT_LIMIT.
        """
        limit = Deadline(deadline)
        if not self._slots.acquire(timeout=max(0.0, deadline)):
            raise TransientDriverError(f"too many calls at a time to {self.name}", node=self.name)
        try:
            with translated(self.name):
                channel = self._open(limit)
                try:
                    channel.settimeout(max(0.1, limit.left()))
                    with _closed_at(limit, channel):
                        channel.exec_command(command)  # waits for the node's word, and paramiko knows no time limit for that
                    channel.sendall(stdin)
                    channel.shutdown_write()
                    return self._drain(channel, limit, on_output)
                finally:
                    channel.close()
        finally:
            self._slots.release()

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _open(self, limit: Deadline) -> paramiko.Channel:
        """A channel of the kept connection, or of a new one where that turns out to be dead: nothing was sent yet."""
        transport, kept = self._connected(limit, dead=None)
        try:
            return transport.open_session(timeout=max(0.1, min(CONNECT_SECONDS, limit.left())))
        except paramiko.ChannelException:
            raise  # the node said no to one more; the connection and what runs on it are well
        except (paramiko.SSHException, EOFError, OSError):
            if not kept:
                raise
        transport, _ = self._connected(limit, dead=transport)
        return transport.open_session(timeout=max(0.1, min(CONNECT_SECONDS, limit.left())))

    def _connected(self, limit: Deadline, *, dead: paramiko.Transport | None) -> tuple[paramiko.Transport, bool]:
        """The connection, and whether it was there before; never ``dead``, which another thread may have replaced already."""
        if not self._lock.acquire(timeout=max(0.0, limit.left())):
            raise Unreachable(f"{self.name} does not answer", node=self.name)
        try:
            transport = self._client.get_transport() if self._client is not None else None
            if transport is not None and transport is not dead and transport.is_active():
                return transport, True
            self._drop()
            self._client = self._connect(max(0.1, min(CONNECT_SECONDS, limit.left())))
            transport = self._client.get_transport()
            if transport is None:
                raise EOFError
            transport.set_keepalive(KEEPALIVE_SECONDS)
            return transport, False
        finally:
            self._lock.release()

    def _connect(self, seconds: float) -> paramiko.SSHClient:
        name = self._address if self._port == paramiko.config.SSH_PORT else f"[{self._address}]:{self._port}"
        pinned = self._pinned()
        with ExitStack() as on_failure:
            client = paramiko.SSHClient()
            on_failure.callback(client.close)
            client.set_missing_host_key_policy(paramiko.RejectPolicy())
            client.get_host_keys().add(name, pinned.get_name(), pinned)
            client.connect(
                self._address,
                port=self._port,
                username=self._user,
                pkey=load_key(self._key_path),
                timeout=seconds,
                banner_timeout=seconds,
                auth_timeout=seconds,
                channel_timeout=seconds,
                allow_agent=False,
                look_for_keys=False,
            )
            on_failure.pop_all()
        return client

    def _pinned(self) -> paramiko.PKey:
        try:
            entry = paramiko.hostkeys.HostKeyEntry.from_line(f"pinned {self._host_key.line}")
        except (paramiko.hostkeys.InvalidHostKey, paramiko.SSHException, ValueError):
            entry = None
        if entry is None or entry.key is None:
            raise PermanentDriverError(f"the pinned host key of {self.name} cannot be used", hint="enrol the node again")
        return entry.key

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _drain(self, channel: paramiko.Channel, limit: Deadline, on_output: Callable[[bytes], None] | None) -> Completed:
        """Read both streams to their ends, then the exit status: a program that is not read never ends."""
        stdout, stderr = bytearray(), bytearray()
        channel.settimeout(_POLL_SECONDS)
        while (data := self._read(channel, stderr, limit)) is not None:
            stdout += data
            if len(stdout) > OUTPUT_LIMIT:
                raise PermanentDriverError(f"{self.name} answered with more than {OUTPUT_LIMIT} bytes", node=self.name)
            if data and on_output is not None:
                on_output(data)
        while not channel.status_event.wait(_POLL_SECONDS):
            _read_errors(channel, stderr)
            if limit.left() <= 0:
                raise TransientDriverError(f"{self.name} did not say how the call ended", node=self.name)
        _read_errors(channel, stderr)
        return Completed(channel.recv_exit_status(), bytes(stdout), plain(stderr.decode(errors="replace")))

    def _read(self, channel: paramiko.Channel, stderr: bytearray, limit: Deadline) -> bytes | None:
        """What came on stdout within a moment; None at its end."""
        if limit.left() <= 0:
            raise TransientDriverError(f"no answer from {self.name} in time", node=self.name)
        _read_errors(channel, stderr)
        try:
            return channel.recv(_READ) or None
        except TimeoutError:
            return b""


@contextmanager
def _closed_at(limit: Deadline, channel: paramiko.Channel) -> Iterator[None]:
    """Close the channel when the time is up, which ends every wait on it."""
    timer = threading.Timer(max(0.1, limit.left()), channel.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _read_errors(channel: paramiko.Channel, stderr: bytearray) -> None:
    while channel.recv_stderr_ready():
        stderr += channel.recv_stderr(_READ)
        del stderr[:-ERROR_LIMIT]


def load_key(path: Path) -> paramiko.PKey:
    """The private key of the file. Raises PermanentDriverError where it is none, or wants a passphrase.

    What is no regular file of a key's size is not read: a pipe would hang, a device may have no end.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise PermanentDriverError(f"the private key {path} cannot be used: it is not a regular file")
        if status.st_size > KEY_LIMIT:
            raise PermanentDriverError(f"the private key {path} cannot be used: it has more than {KEY_LIMIT} bytes")
        return paramiko.PKey.from_path(path)
    except FileNotFoundError:
        raise PermanentDriverError(f"there is no private key {path}") from None
    except (paramiko.SSHException, ValueError, TypeError, OSError) as exc:
        raise PermanentDriverError(f"the private key {path} cannot be used: {exc}") from exc
