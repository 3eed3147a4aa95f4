"""Who a machine of the lab talks to, heard on the wire: every frame that comes from its network card, by the peer's address."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_ALL, _IPV4, _ARP, _IPV6 = 0x0003, 0x0800, 0x0806, 0x86DD
_PROTOCOLS = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmpv6"}
_OUTGOING = 4  # PACKET_OUTGOING: the same frame once more, as it leaves by another device
Peer = tuple[str, str, int]


@dataclass
class Peers:
    """``heard``: by the machine's own address, each (protocol, the other's address, port; 0 where there is none)."""

    heard: dict[str, set[Peer]] = field(default_factory=dict)
    frames: int = 0

    def of(self, address: str) -> set[Peer]:
        return self.heard.get(address, set())

    def take(self, frame: bytes) -> None:
        """One frame that the machine sent."""
        self.frames += 1
        (kind,) = struct.unpack_from("!H", frame, 12)
        if kind == _IPV4 and len(frame) >= 34:
            at, protocol = 14 + (frame[14] & 15) * 4, frame[23]
            self._note(frame[26:30], frame[30:34], protocol, frame[at : at + 4])
        elif kind == _IPV6 and len(frame) >= 54:
            self._note(frame[22:38], frame[38:54], frame[20], frame[54:58])
        elif kind not in (_ARP, _IPV4, _IPV6):
            self.heard.setdefault("", set()).add((f"ethertype {kind:04x}", frame[:6].hex(":"), 0))

    def _note(self, source: bytes, target: bytes, protocol: int, ports: bytes) -> None:
        ours, other = (str(ipaddress.ip_address(each)) for each in (source, target))
        port = struct.unpack("!HH", ports)[1] if protocol in (6, 17) and len(ports) == 4 else 0
        self.heard.setdefault(ours, set()).add((_PROTOCOLS.get(protocol, str(protocol)), other, port))


@contextmanager
def listening(mac: str) -> Iterator[Peers]:
    """Hear what the card with that MAC sends on any device of the lab, until the end."""
    found, sent_by = Peers(), bytes.fromhex(mac.replace(":", ""))
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    wire.settimeout(0.5)
    ended = threading.Event()

    def hear() -> None:
        while not ended.is_set():
            try:
                frame, place = wire.recvfrom(128)
            except TimeoutError:
                continue
            if place[2] != _OUTGOING and frame[6:12] == sent_by and len(frame) >= 14:
                found.take(frame)

    thread = threading.Thread(target=hear, name="wire", daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join(timeout=10)
        wire.close()
