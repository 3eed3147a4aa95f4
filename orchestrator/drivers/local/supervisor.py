"""What systemd is told of this process, by the protocol of sd_notify(3): one datagram to the socket that it names."""

from __future__ import annotations

import logging
import os
import socket

_log = logging.getLogger(__name__)


def tell_ready() -> None:
    """That what was started serves now. Whoever started it otherwise is told nothing."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.connect("\0" + place[1:] if place.startswith("@") else place)
            sock.sendall(b"READY=1")
    except OSError as exc:
        _log.warning("systemd could not be told that this process is ready: %s", exc)
