"""A repository on a rest-server."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import ssl
import time
from collections.abc import Iterator, Sequence
from typing import Any

from agents.node.protocol import AgentError
from agents.node.restic.backend import KINDS, Backend, Say
from agents.node.restic.repository import Repository

_CALL_SECONDS = 60.0


class Rest(Backend):
    """Through rest-server's own calls (restic's manual, "REST Backend"), over one kept connection."""

    def __init__(self, repository: Repository, end: float) -> None:
        self._repository, self._end = repository, end
        self._connection: http.client.HTTPConnection | None = None

    def require_way_in(self) -> None:
        self._ask("HEAD", "config")

    def require_place(self) -> None:
        """It is the server's own matter."""

    def remove_lock(self, lock_id: str) -> None:
        self._delete(f"locks/{lock_id}")

    def remove_key(self, name: str) -> None:
        self._delete(f"keys/{name}")

    def files_of(self, kind: str) -> list[str]:
        status, _ = self._ask("HEAD", "config")
        self._require(status, "looking for config")
        status, body = self._ask("GET", f"{kind}/")
        self._require(status, f"listing {kind}")
        return [str(row["name"]) for row in json.loads(body or b"[]") or []]

    def digests(self, packs: Sequence[str]) -> Iterator[tuple[str, str]]:
        for pack in packs:
            status, body = self._ask("GET", f"data/{pack}")
            if status != http.client.NOT_FOUND:
                self._require(status, f"reading pack {pack[:8]}")
            yield pack, hashlib.sha256(body).hexdigest() if status == http.client.OK else ""

    def destroy(self, say: Say) -> None:
        for kind in KINDS:
            names = self.sizes(kind)
            for number, name in enumerate(names):
                say(number / len(names), f"destroying {self._repository.location}: {kind}")
                self._delete(f"{kind}/{name}")
        self._delete("config")

    def left(self) -> list[str]:
        found = [f"{kind}/{name}" for kind in KINDS for name in self.sizes(kind)]
        status, _ = self._ask("HEAD", "config")
        return found + (["config"] if status == http.client.OK else [])

    def sizes(self, kind: str) -> dict[str, int]:
        status, body = self._ask("GET", f"{kind}/")
        if status == http.client.NOT_FOUND:
            return {}
        self._require(status, f"listing {kind}")
        return {str(row["name"]): int(row.get("size", 0)) for row in json.loads(body or b"[]") or []}

    def _delete(self, name: str) -> None:
        status, _ = self._ask("DELETE", name)
        if status != http.client.NOT_FOUND:
            self._require(status, f"deleting {name}")

    def _require(self, status: int, doing: str) -> None:
        if status == http.client.OK:
            return
        where = f"{self._repository.location}: {doing}: HTTP status {status}"
        if status == http.client.FORBIDDEN:
            raise AgentError(
                "refused", where, hint="an append-only endpoint does not delete: ask the keeper's", reason="append-only"
            )
        if status == http.client.UNAUTHORIZED:
            raise AgentError("driver-permanent", where, hint="check user and secret of the backup target", reason="not-let-in")
        code = "driver-transient" if status >= http.client.INTERNAL_SERVER_ERROR else "driver-permanent"
        raise AgentError(code, where, reason="network")

    def _ask(self, method: str, name: str) -> tuple[int, bytes]:
        headers = {"Accept": "application/vnd.x.restic.rest.v2"}
        if self._repository.login:
            pair = f"{self._repository.login}:{self._repository.secret}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        for last in (False, True):
            kept = self._connection is not None
            try:
                connection = self._connected()
                connection.request(method, f"/{self._repository.path}{name}", headers=headers)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException) as exc:
                self._connection = None
                if last or not kept:  # a kept connection may have been closed meanwhile: once more
                    why = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
                    raise AgentError("driver-transient", f"{self._repository.location}: {why}", reason="network") from None
        raise AssertionError("the loop ends by itself")

    def _connected(self) -> http.client.HTTPConnection:
        if time.monotonic() > self._end:
            raise AgentError("driver-transient", f"{self._repository.location} did not answer in time", reason="stopped")
        if self._connection is None:
            host, port = self._repository.host.strip("[]"), self._repository.port
            options: dict[str, Any] = {"timeout": _CALL_SECONDS}
            if self._repository.scheme == "https":
                self._connection = http.client.HTTPSConnection(host, port, context=ssl.create_default_context(), **options)
            else:
                self._connection = http.client.HTTPConnection(host, port, **options)
        return self._connection
