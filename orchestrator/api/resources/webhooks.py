"""/v1/webhooks/{source}: what billing systems say. Signed raw bytes in; the answer follows the commit."""

from __future__ import annotations

import hashlib
import logging
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from orchestrator.api import admission, signatures, vocabulary
from orchestrator.api.context import ApiContext, Context
from orchestrator.api.once import RawBody
from orchestrator.domain.errors import NotFound, OrchestratorError

log = logging.getLogger("orchestrator.api")

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

# Answers of the engine that are told to billing under the same name in the metrics.
UNKNOWN_SOURCE = "unknown"
_ID_SHOWN = 200
Text = Annotated[str, Header(description="Standard Webhooks.")]


class WebhookAnswer(BaseModel):
    """``outcome``: accepted, duplicate, stale, nothing, refused or dead. All of them are taken: do not send again."""

    outcome: str
    job_id: str
    detail: str

    @property
    def started(self) -> bool:
        """Whether this very delivery made a job; a duplicate names the job that the first one made."""
        return self.outcome == "accepted" and bool(self.job_id)


@router.post(
    "/{source}",
    response_model=WebhookAnswer,
    responses={202: {"model": WebhookAnswer, "description": "Accepted; a job carries it out."}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/EventBody"}}},
        }
    },
)
async def receive_webhook(
    request: Request,
    context: Context,
    body: RawBody,
    source: Annotated[str, Path(max_length=64, description="The billing system's name in orchestrator.yaml.")],
    webhook_id: Text = "",
    webhook_timestamp: Text = "",
    webhook_signature: Text = "",
) -> JSONResponse:
    """202 with the job that carries the event out; 200 where it makes none (duplicate, stale, a fact that is only noted)."""
    headers = {
        "webhook-id": webhook_id,
        "webhook-timestamp": webhook_timestamp,
        "webhook-signature": webhook_signature,
    }
    with context.engine.answering():  # also while it waits for its turn
        async with request.app.state.admission.turn(admission.service_of(body) or webhook_id):
            return await run_in_threadpool(_receive, context, source, headers, body)


def _receive(context: ApiContext, source: str, headers: dict[str, str], body: bytes) -> JSONResponse:
    known = source in {billing.source for billing in context.config.settings.billing}
    label = source if known else UNKNOWN_SOURCE
    try:
        answer = _accept(context, source, headers, body)
    except OrchestratorError as exc:
        context.metrics.webhook(source=label, outcome=exc.code)
        _tell(logging.WARNING, label, headers["webhook-id"], outcome=exc.code)
        raise
    context.metrics.webhook(source=label, outcome=answer.outcome)
    _tell(logging.INFO, label, headers["webhook-id"], outcome=answer.outcome, job_id=answer.job_id)
    return JSONResponse(answer.model_dump(mode="json"), status_code=202 if answer.started else 200)


def _tell(level: int, source: str, message_id: str, *, outcome: str, job_id: str = "") -> None:
    """A line by whose ``event_id`` all that its job does is found, too. Of what is not authentic the id is only claimed."""
    facts = {"event_id": f"{source}/{message_id[:_ID_SHOWN]}", "outcome": outcome, "job_id": job_id}
    log.log(level, "webhook of %s: %s", source, outcome, extra=facts)


def _accept(context: ApiContext, source: str, headers: dict[str, str], body: bytes) -> WebhookAnswer:
    secrets = context.secrets.webhook_secrets(source)
    if not secrets:
        raise NotFound(f"no billing system '{source[:64]}' is configured", hint="see billing: in orchestrator.yaml")
    settings = context.config.settings
    message = signatures.verify(
        body,
        headers,
        secrets=secrets,
        now=context.clock.now(),
        tolerance_seconds=settings.webhook_tolerance.total_seconds(),
    )
    event = vocabulary.parse(message.body, source=source, message_id=message.id, sent_at=message.sent_at)
    accepted = context.engine.accept(event, body=message.body, body_sha256=hashlib.sha256(message.body).hexdigest())
    return WebhookAnswer(outcome=accepted.outcome, job_id=accepted.job_id, detail=accepted.detail)
