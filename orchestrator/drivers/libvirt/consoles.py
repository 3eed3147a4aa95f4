"""Serial consoles of guests, by a stream of libvirt's that never blocks (``virDomainOpenConsole``)."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import libvirt

from orchestrator.domain.errors import OrchestratorError, TransientDriverError, WrongState
from orchestrator.drivers.libvirt.connection import Connection, Session
from orchestrator.drivers.libvirt.domains import require
from orchestrator.ports.guest_console import held

CHUNK = 65536
# What the binding returns where nothing can be read, or written, just now.
_WOULD_BLOCK = -2
_LOOK_SECONDS = 0.02
# libvirt has no code of its own for it: VIR_ERR_OPERATION_FAILED.
_HELD = re.compile(r"[Aa]ctive console session exists")


class LibvirtConsoles:
    """The GuestConsoles of one node. The connection is shared with its LibvirtHypervisor, and not closed here."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def open(self, name: str, *, force: bool, deadline: float) -> LibvirtConsole:
        flags = libvirt.VIR_DOMAIN_CONSOLE_SAFE | (libvirt.VIR_DOMAIN_CONSOLE_FORCE if force else 0)

        def work(session: Session) -> Any:
            stream = session.conn.newStream(libvirt.VIR_STREAM_NONBLOCK)
            try:
                require(session, name).openConsole(None, stream, flags)
            except libvirt.libvirtError as error:
                if _HELD.search(error.get_error_message() or ""):
                    raise held(name) from error
                raise
            try:
                _ = session.conn  # somebody still waits for it
            except OrchestratorError:
                stream.abort()
                raise
            return stream

        stream = self._connection.run(f"opening the console of {name}", work, deadline=deadline)
        return LibvirtConsole(self._connection, stream, name)


class LibvirtConsole:
    """An open stream. Its calls do not wait for the node: libvirt's event loop moves what they take and give."""

    def __init__(self, connection: Connection, stream: Any, name: str) -> None:
        self._connection = connection
        self._stream = stream
        self._name = name
        self._over = False
        self._closed = False

    def read(self, *, wait: float) -> bytes | None:
        budget = self._connection.budget(wait)
        while not self._over:
            try:
                got = self._stream.recv(CHUNK)
            except libvirt.libvirtError:
                self._over = True  # cut off from the node's side: the guest went off, or libvirtd did
                break
            if got != _WOULD_BLOCK:
                self._over = not got
                return bytes(got) if got else None
            if budget.passed:
                return b""
            budget.sleep(_LOOK_SECONDS)
        return None

    def write(self, data: bytes, *, deadline: float) -> None:
        budget = self._connection.budget(deadline)
        while data:
            if self._over:
                raise _over(self._name)
            try:
                taken = self._stream.send(data[:CHUNK])
            except libvirt.libvirtError as error:
                raise _over(self._name) from error
            if taken != _WOULD_BLOCK:
                data = data[taken:]
            elif budget.passed:
                raise TransientDriverError(f"{self._name} does not take what is typed")
            else:
                budget.sleep(_LOOK_SECONDS)

    def close(self, *, deadline: float) -> None:
        if self._closed:
            return
        self._over = self._closed = True

        def work(_session: Session) -> None:
            with contextlib.suppress(libvirt.libvirtError):  # of one that is over already
                self._stream.abort()

        with contextlib.suppress(OrchestratorError):
            self._connection.run(f"closing the console of {self._name}", work, deadline=deadline)


def _over(name: str) -> WrongState:
    return WrongState(f"the console of {name} is over")
