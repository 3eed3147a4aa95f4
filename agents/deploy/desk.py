"""The controller's desk, over HTTPS. Its certificate is the one whose SHA-256 the seed has: nothing is said to another."""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

SECONDS = 60.0
"""Longer than the desk lets a question for tasks hang."""
CHUNK = 8 << 20
_AGAIN = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)


class Refused(Exception):
    """The desk understood, and says no; ``status`` is HTTP's."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class OtherController(Exception):
    """Who answers shows another certificate."""


class Desk:
    """One connection, opened again when it is needed, and one request at a time: drives that are erased together all tell.
    ``wait`` sleeps for so many seconds."""

    def __init__(self, url: str, sha256: str, *, wait: Callable[[float], None] = time.sleep) -> None:
        parts = urlsplit(url)
        self._url = url
        self._turn = threading.Lock()
        self._host, self._port, self._base = parts.hostname or "", parts.port or 443, parts.path.rstrip("/")
        self._sha256 = sha256.lower()
        self._wait = wait
        self._connection: http.client.HTTPSConnection | None = None
        self.session = ""

    def ask(self, path: str, body: Mapping[str, object], *, patient: bool = True) -> dict[str, Any]:
        """The answer to a POST. A desk that is not there is waited for; ``patient`` False: only for a while.

        Raises Refused, OtherController; OSError where it is not waited for any longer.
        """
        content = json.dumps(body).encode()
        answer = self._patiently(lambda: self._request("POST", path, content), forever=patient)
        return dict(json.loads(answer))

    def image(self, name: str, size: int, *, start: int = 0) -> Iterator[bytes]:
        """The image's bytes in turn, by ranges: what breaks off is asked for again from there. By a connection of its own: they
        come while progress is told."""
        aside = Desk(self._url, self._sha256, wait=self._wait)
        aside.session = self.session
        try:
            while start < size:
                end = min(size, start + CHUNK)
                part = aside._patiently(partial(aside._range, name, start, end), forever=True)
                if len(part) != end - start:
                    raise Refused(416, f"the desk gave {len(part)} bytes of the image {name} and not {end - start}")
                yield part
                start = end
        finally:
            aside.close()

    def _range(self, name: str, start: int, end: int) -> bytes:
        path = f"/deploy/v1/images/{quote(name, safe='')}"
        return self._request("GET", path, None, {"Range": f"bytes={start}-{end - 1}"})

    def _patiently(self, act: Callable[[], bytes], *, forever: bool) -> bytes:
        tries = 0
        while True:
            try:
                with self._turn:
                    return act()
            except (OSError, http.client.HTTPException) as exc:
                self.close()
                if not forever and tries >= len(_AGAIN):
                    raise OSError(str(exc)) from exc
                self._wait(_AGAIN[min(tries, len(_AGAIN) - 1)])
                tries += 1

    def _request(self, method: str, path: str, content: bytes | None, headers: Mapping[str, str] | None = None) -> bytes:
        connection = self._open()
        told = {"Content-Type": "application/json", **(headers or {})}
        if self.session:
            told["Authorization"] = f"Bearer {self.session}"
        connection.request(method, self._base + path, content, told)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status in (429, 503):
            raise OSError(f"the desk answers {answer.status}")
        if answer.status >= 500:
            raise OSError(f"the desk failed with {answer.status}")
        if answer.status >= 400:
            raise Refused(answer.status, _sentence(body))
        return body

    def _open(self) -> http.client.HTTPSConnection:
        if self._connection is None:
            # Any certificate is let through the handshake, and looked at before a word is said.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=SECONDS, context=context)
            connection.connect()
            found = hashlib.sha256(connection.sock.getpeercert(binary_form=True) or b"").hexdigest()
            if found != self._sha256:
                connection.close()
                raise OtherController(f"{self._host} shows a certificate with the SHA-256 {found}, and not {self._sha256}")
            self._connection = connection
        return self._connection

    def close(self) -> None:
        """Let the connection go; it is opened again when it is needed."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _sentence(body: bytes) -> str:
    """What problem details (RFC 9457) say."""
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return "refused without a word"
