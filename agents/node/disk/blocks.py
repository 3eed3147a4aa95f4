"""A disk behind an NBD socket: what of it holds data, what changed, and its content (libnbd(3))."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agents.node.disk.segments import Extent
from agents.node.protocol import AgentError

ALLOCATION = "base:allocation"
"""The standard's context (NBD protocol, "Metadata querying"): bit 0 a hole, bit 1 reads as zeros."""

BITMAP = "qemu:dirty-bitmap:"
"""QEMU's (docs/interop/nbd.txt): bit 0 set where the bitmap is dirty."""

READS_AS_ZEROS = 2
DIRTY = 1
ASKED_BYTES = 1 << 30
"""How much of a disk one question about its blocks spans; the protocol counts in 32 bits."""


class Disk:
    """One export. ``connections``: how many reads go on at a time; a server that serves one client only gets one."""

    def __init__(self, socket: str, export: str, *, bitmap: str = "", connections: int = 2) -> None:
        self._socket, self._export, self._bitmap = socket, export, bitmap
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        first = self._connect()
        self.size: int = first.get_size()
        self._free.put(first)
        for _ in range(connections - 1 if first.can_multi_conn() else 0):
            self._free.put(self._connect())

    def data(self) -> list[Extent]:
        """The extents that do not read as zeros; all of the disk where the server does not tell."""
        with self._one() as handle:
            if not handle.can_meta_context(ALLOCATION):
                return [(0, self.size)]
            return [(offset, length) for offset, length, flags in self._status(handle, ALLOCATION) if not flags & READS_AS_ZEROS]

    def changed(self) -> list[Extent]:
        """The extents that the bitmap says were written to. Raises AgentError (not-found) where the server has no such bitmap."""
        context = BITMAP + self._bitmap
        with self._one() as handle:
            if not self._bitmap or not handle.can_meta_context(context):
                raise AgentError("not-found", f"the disk is exported without the bitmap {self._bitmap!r}")
            return [(offset, length) for offset, length, flags in self._status(handle, context) if flags & DIRTY]

    def read(self, offset: int, length: int) -> bytes:
        with self._one() as handle:
            return bytes(handle.pread(length, offset))

    def write(self, offset: int, content: bytes) -> None:
        with self._one() as handle:
            handle.pwrite(content, offset)

    def flush(self) -> None:
        with self._one() as handle:
            handle.flush()

    def close(self) -> None:
        """Say good-bye to the server on every connection, so that what was written is with it."""
        while not self._free.empty():
            self._free.get().shutdown()

    @contextmanager
    def _one(self) -> Iterator[Any]:
        """A connection for this thread alone. What libnbd raises comes out as OSError, so that no reader knows the library."""
        import nbd

        handle = self._free.get()
        try:
            yield handle
        except nbd.Error as error:
            raise OSError(error.errnum or 5, error.string) from None
        finally:
            self._free.put(handle)

    def _connect(self) -> Any:
        import nbd

        handle = nbd.NBD()
        try:
            handle.set_export_name(self._export)
            handle.add_meta_context(ALLOCATION)
            if self._bitmap:
                handle.add_meta_context(BITMAP + self._bitmap)
            handle.connect_unix(self._socket)
        except nbd.Error as error:
            raise AgentError("driver-transient", f"the disk behind {self._socket} cannot be opened: {error.string}") from None
        return handle

    def _status(self, handle: Any, context: str) -> Iterator[tuple[int, int, int]]:
        """(offset, length, flags) of the whole disk, in order."""
        offset = 0
        while offset < self.size:
            told: list[tuple[int, int, int]] = []

            def take(name: str, start: int, entries: list[int], _error: Any, told: list[tuple[int, int, int]] = told) -> int:
                at = start
                for length, flags in zip(entries[::2], entries[1::2], strict=True):
                    if name == context:
                        told.append((at, length, flags))
                    at += length
                return 0

            handle.block_status(min(ASKED_BYTES, self.size - offset), offset, take)
            if not told:
                raise AgentError("driver-permanent", f"{self._socket} tells nothing of its blocks at {offset}")
            for at, length, flags in told:
                yield at, min(length, self.size - at), flags
            offset = told[-1][0] + told[-1][1]
