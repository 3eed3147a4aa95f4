"""What sushy raises, in our words: only what may pass by itself is transient."""

from __future__ import annotations

import ssl

import requests
from sushy import exceptions
from urllib3.exceptions import SSLError

from orchestrator.domain.errors import PermanentDriverError, TransientDriverError, Unreachable

_TOLD = 300


def translate(error: BaseException, sentence: str) -> BaseException:
    """Ours for an error of sushy's; any other is returned as it is."""
    if isinstance(error, exceptions.ConnectionError):
        if _of_tls(error):
            return PermanentDriverError(
                f"{sentence}: it shows another certificate than the one that is pinned",
                hint="if its certificate was renewed, enrol the machine again; if not, somebody else answers there",
            )
        return Unreachable(f"{sentence}: it cannot be reached")
    if isinstance(error, exceptions.AccessError):
        return PermanentDriverError(f"{sentence}: it refuses user or password", hint="look at the machine's secret")
    if isinstance(error, exceptions.HTTPError):
        said = f"{sentence}: HTTP {error.status_code}: {_said(error)}"
        # 409: in the middle of something; 429: asked too often.
        passing = error.status_code >= 500 or error.status_code in (409, 429)
        return TransientDriverError(said) if passing else PermanentDriverError(said)
    if isinstance(error, exceptions.SushyError):
        return PermanentDriverError(f"{sentence}: {str(error)[:_TOLD]}")
    if isinstance(error, ValueError | requests.RequestException):  # what it answered is no JSON, or broke off
        return TransientDriverError(f"{sentence}: what it answers cannot be read")
    return error


def _said(error: exceptions.HTTPError) -> str:
    return " ".join(str(error.detail or error.code or "no reason given").split())[:_TOLD]


def _of_tls(error: BaseException) -> bool:
    """sushy keeps the cause in its arguments only."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, requests.exceptions.SSLError | SSLError | ssl.SSLError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
