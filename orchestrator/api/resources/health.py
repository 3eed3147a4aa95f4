"""/healthz, /readyz and /metrics: for supervisors and Prometheus. The first two need no token and tell nothing of value."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from orchestrator.api.callers import Reader
from orchestrator.api.context import Context
from orchestrator.domain.errors import StoreUnavailable
from orchestrator.observe.metrics import CONTENT_TYPE

router = APIRouter(tags=["health"])


class Health(BaseModel):
    status: str


@router.get("/healthz")
def healthz() -> Health:
    """The process answers."""
    return Health(status="ok")


@router.get("/readyz", response_model=Health, responses={503: {"model": Health}})
def readyz(context: Context) -> JSONResponse:
    """Whether jobs are taken: the store answers at the right revision, and nothing keeps the engine from working."""
    try:
        ready = context.db.migrated() and not context.problems()
    except StoreUnavailable:
        ready = False
    return JSONResponse({"status": "ready" if ready else "not ready"}, status_code=200 if ready else 503)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(_caller: Reader, context: Context) -> Response:
    """Everything that is alerted on, by plan, node and state."""
    return Response(context.metrics.render(), headers={"Content-Type": CONTENT_TYPE})


@router.get("/metrics/services", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def service_metrics(_caller: Reader, context: Context) -> Response:
    """One set of series a service."""
    return Response(context.metrics.render_services(), headers={"Content-Type": CONTENT_TYPE})
