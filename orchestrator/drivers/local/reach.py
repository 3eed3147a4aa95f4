"""Connecting to a guest by TCP, from the controller."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from time import monotonic

from orchestrator.domain.errors import PermanentDriverError

# RFC 4253 section 4.2: 255 bytes at most; other lines may come before, so that a little more is read.
BANNER_BYTES = 1024


class TcpReach:
    """Reach over the controller's own network. Sends nothing."""

    def banner(self, address: str, port: int, *, deadline: float) -> str:
        try:
            host = str(ip_address(address))
        except ValueError as exc:
            raise PermanentDriverError(f"{address!r} is no IP address") from exc
        end = monotonic() + deadline
        read = b""
        try:
            with socket.create_connection((host, port), timeout=max(0.1, deadline)) as connection:
                while b"\n" not in read and len(read) < BANNER_BYTES:
                    connection.settimeout(max(0.1, end - monotonic()))
                    part = connection.recv(BANNER_BYTES - len(read))
                    if not part or monotonic() > end:
                        break
                    read += part
        except OSError:
            return ""
        return read.partition(b"\n")[0].strip().decode("ascii", errors="replace")
