"""The FastAPI application, put together from its resources."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from orchestrator.api import looked, problems
from orchestrator.api.admission import Admission
from orchestrator.api.billing_list import LIST_LIMIT
from orchestrator.api.context import ApiContext
from orchestrator.api.once import KeyLocks
from orchestrator.api.rates import Rates
from orchestrator.api.resources import (
    accounts,
    adoptions,
    audit,
    backups,
    catalog,
    certificates,
    charges,
    conduct,
    consoles,
    controllers,
    disputes,
    drift,
    drills,
    events,
    forecast,
    freeze,
    health,
    ips,
    jobs,
    leaving,
    lost_nodes,
    machines,
    messages,
    moves,
    node_states,
    nodes,
    policies,
    reconciliation,
    restores,
    services,
    systems,
    taking_in,
    terminations,
    webhooks,
)
from orchestrator.api.rim import UNTRACED, Rim
from orchestrator.api.strict import known_parameters_only
from orchestrator.api.vocabulary import EventBody
from orchestrator.domain.errors import OrchestratorError

TITLE = "Orchestrator"
RESOURCES = (
    *(
        webhooks,
        moves,
        lost_nodes,
        disputes,
        leaving,
        conduct,
        restores,
        accounts,
        adoptions,
        systems,
        services,
        charges,
        jobs,
        node_states,
        drift,
        taking_in,
        nodes,
        machines,
        catalog,
        policies,
        forecast,
        ips,
        events,
    ),
    *(audit, drills, backups, certificates, reconciliation, messages, terminations, freeze, controllers, health),
)


def create_app(context: ApiContext) -> FastAPI:
    """The application over ``context``. Start ``context.engine`` before it is served."""
    app = FastAPI(
        title=TITLE,
        version=version("orchestrator"),
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        telemetry=UNTRACED,
        routes=[*_all_routes().routes],
    )
    app.state.context = context
    app.state.key_locks = KeyLocks()
    app.state.looks = looked.Looks()
    app.state.admission = Admission()
    limits = context.config.settings.limits
    app.state.rates = Rates(limits.token_requests_per_minute, context.clock, what="this token")
    by_address = Rates(limits.address_requests_per_minute, context.clock, what="this address")
    app.add_exception_handler(OrchestratorError, problems.answer_error)
    app.add_exception_handler(RequestValidationError, problems.answer_invalid)
    app.add_exception_handler(HTTPException, problems.answer_http)
    larger = {reconciliation.PATH: LIST_LIMIT, conduct.PATHS: conduct.EVIDENCE_LIMIT}
    app.add_middleware(
        Rim, body_limit=context.config.settings.body_limit_bytes, clock=context.clock, limits=larger, rates=by_address
    )
    app.openapi = _document  # type: ignore[method-assign]  # FastAPI's own way to change the document
    return app


@cache
def _all_routes() -> APIRouter:
    """Those of every application of this process: from each route's signature FastAPI works out once what it takes."""
    router = APIRouter()
    for resource in RESOURCES:
        router.include_router(resource.router, dependencies=[Depends(known_parameters_only)])
    router.include_router(consoles.router)
    return router


@cache
def _document() -> dict[str, Any]:
    """FastAPI's document, with problem details in place of its own validation errors, and the webhooks' body."""
    document = get_openapi(title=TITLE, version=version("orchestrator"), routes=_all_routes().routes, description=_DESCRIPTION)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas["Problem"] = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    body = EventBody.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(body.pop("$defs", {}))
    schemas["EventBody"] = body
    refused = {
        "description": "Refused or failed: problem details (RFC 9457).",
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = refused
    return document


_DESCRIPTION = """Billing's webhooks, and the operators' view of services, jobs and nodes. See docs/api.md.

Lists are paged: give `next` as `after`. Every POST takes an `Idempotency-Key`. Errors are RFC 9457 problem details with a
stable `code`."""
