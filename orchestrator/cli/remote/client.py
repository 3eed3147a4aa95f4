"""The HTTP client of the command line. Everything that can go wrong becomes a Failure with a sentence."""

from __future__ import annotations

import os
import re
import ssl
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from orchestrator.cli.failure import Failure, problem_line

if TYPE_CHECKING:
    import httpx
    from websockets.sync.client import ClientConnection

DEFAULT_SOCKET = "/run/orchestrator/api.sock"
TIMEOUT_SECONDS = 60.0
_OUTSIDE_FAILED = 5
_NOT_ALLOWED = 7
# The code of a controller whose database is away (docs/api.md).
_STORE_AWAY = "store-unavailable"
# What a proxy says whose controller is away (RFC 9110, 15.6.3 to 15.6.5).
_TOO_LATE = 504
_AWAY = (502, 503, _TOO_LATE)
_TOKEN = re.compile(r"[\x21-\x7e]{1,512}")


class NoServer(Failure):
    """Nothing answers there, or nothing that can; later something may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the controller is: the unix socket, unless there is a URL. ``token`` is needed for a URL."""

    socket: str = DEFAULT_SOCKET
    url: str = ""
    token: str = ""

    def __str__(self) -> str:
        return self.url or self.socket


def read_token(path: str | None) -> str:
    """The token out of a file, or out of ORCHESTRATOR_TOKEN. Never out of the command line, which other users can read."""
    if not path:
        return _checked(os.environ.get("ORCHESTRATOR_TOKEN", "").strip(), "ORCHESTRATOR_TOKEN")
    try:
        token = Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not text"
        raise Failure(f"the token file {path} cannot be read: {reason}", exit_code=2) from None
    return _checked(token, f"the token file {path}")


def _checked(token: str, where: str) -> str:
    """Refused here and without its content: the HTTP library would print it in its error."""
    if token and not _TOKEN.fullmatch(token):
        raise Failure(f"{where} does not hold one token", hint="one line, as `orchestrator token create` printed it", exit_code=2)
    return token


def below(*parts: str) -> str:
    """A path of the API; each part is one step of it, whatever it contains. Raises Failure for a part that cannot be a name."""
    for part in parts:
        if not part:
            raise Failure("an id or a name is needed, and it is empty", exit_code=2)
        if part in (".", "..") or not part.isprintable():
            raise Failure(f"'{part}' is no id and no name", exit_code=2)
    return "/".join(quote(part, safe="") for part in parts)


class Client:
    """Calls to one controller. Paths are below /v1 unless they begin with '/'."""

    def __init__(self, target: Target) -> None:
        import httpx

        if target.url and not target.url.startswith(("http://", "https://")):
            raise Failure(f"'{target.url}' is no URL", hint="it begins with http:// or https://", exit_code=2)
        self._target = target
        if not target.url:
            self._look_for_socket()
        headers = {"Accept": "application/json"}
        if target.token:
            headers["Authorization"] = f"Bearer {target.token}"
        try:
            if target.url:
                self._http = httpx.Client(base_url=target.url.rstrip("/"), headers=headers, timeout=TIMEOUT_SECONDS)
            else:
                # No TLS there; to read the authorities of the web would cost every command 30 ms of computing.
                transport = httpx.HTTPTransport(uds=target.socket, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
                self._http = httpx.Client(
                    transport=transport, base_url="http://orchestrator", headers=headers, timeout=TIMEOUT_SECONDS
                )
        except (httpx.InvalidURL, ValueError) as exc:
            raise Failure(f"'{target.url}' is no URL: {exc}", exit_code=2) from None

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, *, timeout: float = TIMEOUT_SECONDS, **params: Any) -> dict[str, Any]:
        return self._call("GET", path, params=params, timeout=timeout)

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        content: bytes | None = None,
        timeout: float = TIMEOUT_SECONDS,
        **params: Any,
    ) -> dict[str, Any]:
        """Carries a fresh Idempotency-Key, so that a repeated connection attempt cannot act twice. ``content``: a body that is
        sent as it is.
        """
        key = {"Idempotency-Key": str(uuid.uuid4())}
        return self._call("POST", path, params=params, body=body, content=content, timeout=timeout, headers=key)

    def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._call("PUT", path, body=body)

    def delete(self, path: str) -> dict[str, Any]:
        return self._call("DELETE", path)

    def pages(self, path: str, *, limit: int, after: str, everything: bool, **params: Any) -> Iterator[dict[str, Any]]:
        """The asked page, or with ``everything`` that one and all that follow."""
        while True:
            page = self.get(path, limit=limit, after=after, **params)
            yield page
            after = page.get("next") or ""
            if not everything or not after:
                return

    def ready(self) -> bool:
        """Whether the controller takes work."""
        return self._request("GET", "/readyz").is_success

    def web_socket(self, path: str, **params: str) -> ClientConnection:
        """A WebSocket (RFC 6455) to a path below /v1. A refusal is a Failure, as of any call."""
        import httpx
        from websockets.exceptions import InvalidHandshake, InvalidStatus
        from websockets.sync.client import connect, unix_connect

        base = self._target.url.rstrip("/").replace("http", "ws", 1) or "ws://orchestrator"
        url = f"{base}/v1/{path}?{urlencode(params)}"
        headers = {"Authorization": f"Bearer {self._target.token}"} if self._target.token else {}
        given: dict[str, Any] = {"additional_headers": headers, "compression": None, "open_timeout": TIMEOUT_SECONDS}
        try:
            link: ClientConnection
            link = connect(url, **given) if self._target.url else unix_connect(self._target.socket, url, **given)
        except InvalidStatus as exc:
            self._read(httpx.Response(exc.response.status_code, content=bytes(exc.response.body or b"")))
            raise self._broke(exc) from None
        except TimeoutError:
            raise self._late(TIMEOUT_SECONDS) from None
        except OSError as exc:
            raise self._no_server(exc) from None
        except InvalidHandshake as exc:
            raise self._broke(exc) from None
        return link

    def _call(self, method: str, path: str, **parts: Any) -> dict[str, Any]:
        return self._read(self._request(method, path, **parts))

    def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        timeout: float = TIMEOUT_SECONDS,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        import httpx

        wanted = {name: value for name, value in (params or {}).items() if value not in (None, "")}
        url = path if path.startswith("/") else f"/v1/{path}"
        try:
            return self._http.request(method, url, params=wanted, json=body, content=content, timeout=timeout, headers=headers)
        except UnicodeEncodeError:
            raise Failure("an argument is not text (UTF-8)", exit_code=2) from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            raise self._no_server(exc) from None
        except httpx.TimeoutException:
            raise self._late(timeout) from None
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise self._broke(exc) from None

    def _read(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            found = answer.json()
        except ValueError:
            found = None
        if answer.is_success and isinstance(found, dict):
            return found
        if isinstance(found, dict) and "code" in found and "detail" in found:
            problems = found.get("details", {}).get("problems", [])
            lines = tuple(problem_line(problem) for problem in problems[1:] if isinstance(problem, dict))
            # (By its code: what a node could not do has the same statuses, and is no better a moment later.)
            kind = NoServer if found["code"] == _STORE_AWAY else Failure
            raise kind(
                str(found["detail"]), hint=str(found.get("hint", "")), exit_code=int(found.get("exit_code", 1)), lines=lines
            )
        if answer.status_code in _AWAY:
            raise self._behind_proxy(answer.status_code)
        raise Failure(
            f"{self._target} answered {answer.status_code}, and not as a controller does",
            hint="check --url",
            exit_code=_OUTSIDE_FAILED,
        )

    def _look_for_socket(self) -> None:
        """Say at once that there is none: the sentence is better, and the HTTP library leaves its socket open on it."""
        try:
            Path(self._target.socket).stat()
        except PermissionError:
            raise self._not_for_you() from None
        except OSError:
            raise self._not_running() from None

    def _late(self, timeout: float) -> Failure:
        return Failure(f"the controller at {self._target} did not answer within {timeout:.0f} seconds", exit_code=_OUTSIDE_FAILED)

    def _broke(self, exc: Exception) -> NoServer:
        """The server went away in the middle: for a caller that waits, the same as none being there."""
        return NoServer(f"the connection to {self._target} broke: {exc}", exit_code=_OUTSIDE_FAILED)

    def _behind_proxy(self, status: int) -> NoServer:
        if status == _TOO_LATE:
            said = f"the controller did not answer within the time of the proxy at {self._target} (504)"
            hint = "what was asked may be under way all the same: `orchestrator job list`"
        else:
            said = f"the proxy at {self._target} reaches no controller ({status})"
            hint = "on the controller's machine: `systemctl status orchestrator`"
        return NoServer(said, hint=hint, exit_code=_OUTSIDE_FAILED)

    def _no_server(self, exc: Exception) -> NoServer:
        if self._target.url:
            return NoServer(f"no controller answers at {self._target.url}", hint="check --url", exit_code=_OUTSIDE_FAILED)
        return self._not_for_you() if "Permission denied" in str(exc) else self._not_running()

    def _not_for_you(self) -> NoServer:
        return NoServer(
            f"you may not use {self._target.socket}",
            hint="become root or a member of the socket's group, or use --url with a token",
            exit_code=_NOT_ALLOWED,
        )

    def _not_running(self) -> NoServer:
        return NoServer(
            f"no controller is running: nothing listens on {self._target.socket}",
            hint="start it, `systemctl start orchestrator` (or `orchestrator serve`); or name its socket with --socket",
            exit_code=_OUTSIDE_FAILED,
        )
