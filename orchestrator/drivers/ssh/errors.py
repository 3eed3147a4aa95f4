"""What paramiko and the network raise, in our words: which failures may pass by themselves and which will not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko

from orchestrator.domain.errors import DriverError, PermanentDriverError, Unreachable
from orchestrator.drivers.words import plain

# First match counts. Anything of the SSH layer that is not named is a broken connection, which may come back.
PERMANENT: tuple[tuple[type[Exception], str, str], ...] = (
    (
        paramiko.BadHostKeyException,
        "presents another host key than the one pinned at enrolment",
        "if the machine was reinstalled, enrol it again; if not, somebody may stand in between",
    ),
    (paramiko.AuthenticationException, "does not accept the key", "enrol the node again"),
    (paramiko.ssh_exception.IncompatiblePeer, "offers no key exchange or host key in common", "check its sshd's configuration"),
)


def translate(exc: Exception, node: str) -> DriverError:
    """The error for ``exc``, raised while talking to ``node`` (address and port)."""
    for kind, message, hint in PERMANENT:
        if isinstance(exc, kind):
            return PermanentDriverError(f"{node} {message}", hint=hint, node=node)
    if isinstance(exc, paramiko.ssh_exception.NoValidConnectionsError | ConnectionError):
        return Unreachable(f"{node} cannot be connected to", node=node)
    if isinstance(exc, TimeoutError | socket.gaierror):
        return Unreachable(f"{node} does not answer", node=node)
    return Unreachable(f"the connection to {node} broke: {plain(str(exc)) or type(exc).__name__}", node=node)


@contextmanager
def translated(node: str) -> Iterator[None]:
    """Whatever the SSH layer or the network raises inside comes out as one of our errors."""
    try:
        yield
    except (paramiko.SSHException, OSError, EOFError) as exc:
        raise translate(exc, node) from exc
