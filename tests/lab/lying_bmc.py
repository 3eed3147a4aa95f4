"""A proxy before a BMC that spoils what passes: with it a test sees what becomes of a call when a BMC lies, stalls or breaks.

Rules are tried in their order; the first that fits a request (method and a pattern found in the path) says what happens to it.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

Rewrite = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass
class Lie:
    """What happens to a request: ``status`` is answered in its place; ``swallow``: it is answered as done and not passed on;
    ``stall``: seconds that pass before the answer; ``drip``: the answer comes byte by byte, one a second; ``rewrite`` changes the
    JSON of the real answer; ``body``: is answered whatever was asked; ``instead``: where the first word is asked for, the second
    is asked, and what it tells has the first one's name: another machine's BMC. ``method`` '' = any; ``times``: how often, -1 =
    always.
    """

    method: str
    path: str
    status: int = 0
    swallow: bool = False
    stall: float = 0.0
    drip: bool = False
    rewrite: Rewrite | None = None
    body: bytes | None = None
    instead: tuple[str, str] | None = None
    times: int = -1

    def fits(self, method: str, path: str) -> bool:
        return self.times != 0 and self.method in ("", method) and re.search(self.path, path) is not None


@dataclass
class Liar:
    """``asked``: method and path of every request that came, in order."""

    url: str
    lies: list[Lie] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def before(target: str, *, certificate: Path, key: Path) -> Iterator[Liar]:
    """A proxy on the loopback, with the certificate of the BMC at ``target``."""
    liar = Liar("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _serve(self, liar, target)

        do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - as above

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parent's name of it
            """Nothing is told."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    liar.url = f"https://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield liar
    finally:
        server.shutdown()
        server.server_close()


def _serve(handler: BaseHTTPRequestHandler, liar: Liar, target: str) -> None:
    method, path = handler.command, handler.path
    sent = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    liar.asked.append((method, path))
    lie = next((each for each in liar.lies if each.fits(method, path)), None) or Lie(method, path)
    lie.times -= lie.times > 0
    time.sleep(lie.stall)
    if lie.status:
        return _answer(handler, lie.status, b'{"error": {"message": "out of order"}}')
    if lie.swallow:
        return _answer(handler, 204, b"")
    if lie.body is not None:
        return _answer(handler, 200, lie.body)
    headers = {name: value for name, value in handler.headers.items() if name.lower() not in ("host", "content-length")}
    meant, other = lie.instead or ("", "")
    # The emulator behind it signs its certificate itself.
    asked = target + path.replace(meant, other) if meant else target + path
    real = httpx.request(method, asked, content=sent, headers=headers, verify=False, timeout=60)
    body = real.content.replace(other.encode(), meant.encode()) if meant else real.content
    if lie.rewrite is not None:
        body = json.dumps(lie.rewrite(real.json())).encode()
    return _answer(handler, real.status_code, body, etag=real.headers.get("ETag", ""), drip=lie.drip)


def _answer(handler: BaseHTTPRequestHandler, status: int, body: bytes, *, etag: str = "", drip: bool = False) -> None:
    with suppress(OSError):  # whoever asked may have gone
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        if etag:
            handler.send_header("ETag", etag)
        handler.end_headers()
        for each in (bytes([byte]) for byte in body) if drip else (body,):
            handler.wfile.write(each)
            handler.wfile.flush()
            time.sleep(1.0 if drip else 0.0)
