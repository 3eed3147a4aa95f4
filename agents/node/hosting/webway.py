"""How an account's sites answer on this node: asked for by each of their names, over HTTP and over TLS."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agents.node.hosting.web import Vhost

_SECONDS = 15.0
_HEAD_LIMIT = 64 << 10
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Answer:
    """``status`` 0: none, and ``problem`` says why."""

    domain: str
    status: int
    retry_after: str = ""
    problem: str = ""

    @property
    def shut(self) -> bool:
        """Nothing of the site's own is served: 503 with a Retry-After as a suspension gives it, or no answer at all."""
        return self.status == 0 or (self.status == 503 and bool(self.retry_after))

    def told(self) -> str:
        if not self.status:
            return f"{self.domain}: {self.problem}"
        return f"{self.domain}: {self.status}{f', Retry-After {self.retry_after}' if self.retry_after else ''}"


def web_ways(sites: Sequence[Vhost]) -> Iterator[dict[str, Any]]:
    domains = [domain for site in sites for domain in site.domains]
    for way in _PORTS:
        yield judge(way, [ask(way, domain) for domain in domains])


def judge(way: str, answers: Sequence[Answer]) -> dict[str, Any]:
    """Open where one of the names is."""
    opened = [each for each in answers if not each.shut]
    says = "; ".join(each.told() for each in (opened or answers)[:5]) or "no site"
    return {"way": way, "open": bool(opened), "says": says[:300]}


def ask(way: str, domain: str, address: str = "127.0.0.1") -> Answer:
    request = f"GET / HTTP/1.0\r\nHost: {domain}\r\nUser-Agent: orchestrator-probe\r\nConnection: close\r\n\r\n".encode()
    try:
        with socket.create_connection((address, _PORTS[way]), timeout=_SECONDS) as plain:
            if way == "http":
                return read(domain, _talk(plain, request))
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(plain, server_hostname=domain) as secured:
                return read(domain, _talk(secured, request))
    except (OSError, ValueError) as exc:
        return Answer(domain, 0, problem=f"no answer: {exc}")


def _talk(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _HEAD_LIMIT:
        more = connection.recv(8192)
        if not more:
            break
        head += more
    return head


def read(domain: str, head: bytes) -> Answer:
    """The status and when to try again, of the head of an answer."""
    lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        return Answer(domain, 0, problem="the connection was closed without an answer")
    fields = dict(line.lower().split(":", 1) for line in lines[1:] if ":" in line)
    return Answer(domain, int(words[1]), retry_after=fields.get("retry-after", "").strip())
