"""Every error as RFC 9457 problem details, from the one table of codes in ``domain.errors``."""

from __future__ import annotations

import re
from math import ceil
from typing import Any

from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from orchestrator.config.sentences import dotted, inner_model, known_keys, sentence
from orchestrator.domain.errors import (
    OUTCOMES,
    NotFound,
    OrchestratorError,
    Outcome,
    PreconditionError,
    Refused,
    RequestError,
    StoreUnavailable,
    TooMany,
    TransientDriverError,
    Unauthenticated,
)
from orchestrator.observe.logs import redact, redact_text

MEDIA_TYPE = "application/problem+json"
# The command line's noun for each kind of thing, and what the path calls the one it is about.
_NOUNS = {
    "services": ("service", "service_id"),
    "jobs": ("job", "job_id"),
    "events": ("event", "seq"),
    "nodes": ("node", "name"),
    "ips": ("ip", "service_id"),
    "certificates": ("certificate", "certificate_id"),
}
# Acts on a service of which its state says least.
_BACKUPS = {
    "backup": "`orchestrator service show {}` has the last backup and the next; `orchestrator service may {} backup` asks again",
    "restore": "`orchestrator backup restores {}` shows what counts; `orchestrator backup list --service {}` what there is",
}
# What the patterns of paths and bodies ask for.
_PATTERNS = {
    "service_id": "must be 1 to 48 letters, digits, '-' and '_', beginning with a letter or digit",
    "fingerprint": "must be a fingerprint as `ssh-keygen -l` prints it, SHA256:…",
    "certificate_sha256": "must be the SHA-256 of a certificate, 64 hexadecimal digits with or without colons",
    "identity": "must be the absolute path of a file on the controller's machine",
    "head": "must be a hash as `orchestrator audit verify` prints it, 64 hexadecimal digits",
}
# Seconds after which a sender should come back when the store cannot be used.
RETRY_AFTER_SECONDS = 10


class Problem(BaseModel):
    """RFC 9457 problem details. ``code`` is stable; ``hint`` says what to do; ``exit_code`` is the CLI's."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="A URN made of the code.")
    title: str = Field(description="The code in words; the same for every problem of this code.")
    status: int
    detail: str = Field(description="A sentence about this very case.")
    code: str = Field(description="Stable; listed in docs/api.md.")
    hint: str = ""
    exit_code: int = Field(description="What a command line that got this answer ends with.")
    details: dict[str, Any] = Field(default_factory=dict)
    incident: str = Field(default="", description="Set on internal errors: the same id stands in the server's log.")


def outcome_of(code: str) -> Outcome:
    """The HTTP status and exit code of an error code; those of an internal error where it is not one of ours."""
    return OUTCOMES.get(code, OUTCOMES[OrchestratorError.code])


def problem(
    code: str,
    detail: str,
    *,
    hint: str = "",
    details: dict[str, Any] | None = None,
    incident: str = "",
    status: int | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """One problem as an answer. ``status`` only where HTTP itself knows a better one than the table (405)."""
    outcome = outcome_of(code)
    body = Problem(
        type=f"urn:orchestrator:problem:{code}",
        title=code.replace("-", " "),
        status=status or outcome.http_status,
        detail=redact_text(detail),
        code=code,
        hint=redact_text(hint),
        exit_code=outcome.exit_code,
        details=jsonable_encoder(redact(details or {})),
        incident=incident,
    )
    return JSONResponse(body.model_dump(), status_code=body.status, media_type=MEDIA_TYPE, headers=headers)


def of_error(error: OrchestratorError) -> JSONResponse:
    headers: dict[str, str] = {}
    if isinstance(error, StoreUnavailable):
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    elif isinstance(error, TransientDriverError | TooMany):
        headers["Retry-After"] = str(max(1, ceil(error.retry_after)))
    elif isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return problem(error.code, error.message, hint=error.hint, details=error.details, headers=headers)


def answer_error(request: Request, exc: Exception) -> JSONResponse:
    """FastAPI's handler for our own errors. None that is refused stays without a word on what to do next."""
    assert isinstance(exc, OrchestratorError)
    if not exc.hint and isinstance(exc, PreconditionError):
        exc.hint = _next_step(request, exc)
    return of_error(exc)


def _next_step(request: Request, exc: PreconditionError) -> str:
    """Where to look: at the one thing that the path is about, or for what there is of its kind."""
    kind = request.url.path.removeprefix("/v1/").partition("/")[0]
    noun, parameter = _NOUNS.get(kind, ("", ""))
    if isinstance(exc, NotFound):
        return f"`orchestrator {noun} list` shows what there is" if noun else ""
    one = request.path_params.get(parameter, "")
    about = _BACKUPS.get(request.url.path.rpartition("/")[2]) if noun == "service" else None
    if about is not None and isinstance(exc, Refused):
        return about.format(one, one)
    return f"`orchestrator {noun} show {one}` shows its state" if one else ""


def answer_invalid(request: Request, exc: Exception) -> JSONResponse:
    """FastAPI's handler for parameters and bodies that do not fit their schema: every problem at once."""
    assert isinstance(exc, RequestValidationError)
    model = _body_model(request)
    problems = [{"path": dotted(error["loc"]), "sentence": _sentence(error, model)} for error in exc.errors()]
    first = problems[0] if problems else {"path": "body", "sentence": "cannot be read"}
    return problem(
        RequestError.code,
        f"{first['path']}: {first['sentence']}",
        hint="the parameters are described at /v1/openapi.json",
        details={"problems": problems},
    )


def _body_model(request: Request) -> type[BaseModel] | None:
    """The model of the body that the route takes."""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or route.body_field is None:
        return None
    return inner_model(route.body_field.field_info.annotation)


def _sentence(error: ErrorDetails, model: type[BaseModel] | None) -> str:
    where, *path = error["loc"]
    if error["type"] == "string_pattern_mismatch" and error["loc"][-1] in _PATTERNS:
        return _PATTERNS[str(error["loc"][-1])]
    known = known_keys(model, tuple(path[:-1])) if model is not None and where == "body" else ()
    return sentence(error, known=known)


def answer_http(request: Request, exc: Exception) -> JSONResponse:
    """FastAPI's handler for what the router itself says: no such route, wrong method, unreadable body."""
    assert isinstance(exc, HTTPException)
    headers = dict(exc.headers) if exc.headers else None
    if exc.status_code == 404:
        return problem(NotFound.code, f"there is nothing at {_shown(request.url.path)}", hint="see /v1/openapi.json")
    if exc.status_code == 405:
        return problem(RequestError.code, f"{request.method} is not allowed here", status=405, headers=headers)
    if 400 <= exc.status_code < 500:
        return problem(RequestError.code, "the request cannot be read", status=exc.status_code, headers=headers)
    return problem(OrchestratorError.code, "the request could not be answered", status=exc.status_code, headers=headers)


def _shown(path: str) -> str:
    return re.sub(r"[^\x21-\x7e]", "?", path)[:200]
