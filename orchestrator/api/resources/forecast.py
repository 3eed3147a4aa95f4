"""/v1/forecast: what will happen to services if nothing else does, and what another policy would change in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api import outlook
from orchestrator.api.callers import Reader
from orchestrator.api.context import Context
from orchestrator.api.once import OnceOnly
from orchestrator.api.paging import After, Limit
from orchestrator.api.service_schemas import DeadlineOut
from orchestrator.api.vocabulary import CONTROLS
from orchestrator.config.policy_reading import parse_policy
from orchestrator.domain.errors import ConfigError, RequestError
from orchestrator.domain.forecast import changes
from orchestrator.domain.policies import Policy
from orchestrator.domain.services import SERVICE_ID, Service
from orchestrator.engine.settings import Catalog
from orchestrator.store import settings
from orchestrator.store.database import Connection
from orchestrator.store.deadlines import Seen

router = APIRouter(prefix="/v1/forecast", tags=["forecast"])

Days = Annotated[int, Query(ge=1, le=366, description="How far to look ahead.")]
OneService = Annotated[str, Query(pattern=f"^({SERVICE_ID.pattern})?$", max_length=48, description="Only this service.")]
# A policy with every rule and its quotes has some 10,000; a body has its own limit besides.
_MOST_TEXT = 200_000


class ServiceAhead(BaseModel):
    """A service and its acts to come, the earliest first."""

    service_id: str
    client_id: str
    plan: str
    policy: str
    acts: list[DeadlineOut]


class Forecast(BaseModel):
    """Services with acts to come, by id. A page can be shorter than ``limit``. ``notes``: what stands in everybody's way."""

    items: list[ServiceAhead]
    next: str | None
    notes: list[str]


class ServiceChange(BaseModel):
    """``comes``: acts as the new policy has them; ``goes``: as the present one has them. What stays the same is in neither."""

    service_id: str
    client_id: str
    plan: str
    comes: list[DeadlineOut]
    goes: list[DeadlineOut]


class Changes(BaseModel):
    """Services of the policy's plans for which something changes, by id. A page can be shorter than ``limit``.

    ``terminates``: how many of all it would terminate within 24 hours that would not be now; null behind the first page.
    """

    policy: str
    plans: list[str]
    terminates: int | None
    items: list[ServiceChange]
    next: str | None
    notes: list[str]


class PolicyText(BaseModel):
    """A policy that is not adopted yet: the text of its file, and what that is called, for problems in it."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=_MOST_TEXT)
    file: str = Field(default="policy.yaml", min_length=1, max_length=255, pattern=f"^[^{CONTROLS}]*$")


@router.get("")
def get_forecast(
    _caller: Reader, context: Context, days: Days = 30, service_id: OneService = "", limit: Limit = 100, after: After = ""
) -> Forecast:
    """What will happen to whom, when, why and by which clause, as the policies are."""
    catalog = context.catalog
    with context.db.read() as conn:
        at = outlook.moment(conn, now=context.clock.now(), ahead=timedelta(days=days))

        def tell(service: Service, seen: Seen) -> ServiceAhead | None:
            policy = catalog.policy_of(service)
            acts = outlook.to_come(service, policy, catalog, seen, at)
            if not acts:
                return None
            return ServiceAhead(
                service_id=service.id,
                client_id=service.client_id,
                plan=service.plan,
                policy=policy.name,
                acts=[DeadlineOut.of(act, asks_billing=catalog.asks_billing) for act in acts],
            )

        items, following = outlook.walk(conn, tell, limit=limit, after=after, service_id=service_id)
        return Forecast(items=items, next=following, notes=list(_notes(conn)))


@router.post("", response_model=Changes)
def post_forecast(
    _caller: Reader,
    context: Context,
    once: OnceOnly,
    request: PolicyText,
    days: Days = 30,
    service_id: OneService = "",
    limit: Limit = 100,
    after: After = "",
) -> JSONResponse:
    """What a policy would change if it took the place of the one of its name. Changes nothing."""
    policy = _parsed(request)
    catalog = context.catalog
    plans = sorted(plan.name for plan in catalog.plans.values() if plan.policy == policy.name)

    def look() -> Changes:
        with context.db.read() as conn:
            at = outlook.moment(conn, now=context.clock.now(), ahead=timedelta(days=days))

            def tell(service: Service, seen: Seen) -> ServiceChange | None:
                return _change(service, policy, catalog, seen, at) if service.plan in plans else None

            items, following = outlook.walk(conn, tell, limit=limit, after=after, service_id=service_id)
            notes = [*_unused(policy, plans), *_notes(conn)]
            ended = None
            if not after:
                ended = outlook.ended_soon(conn, policy, catalog, now=at.now, plans=plans, service_id=service_id)
        return Changes(policy=policy.name, plans=plans, terminates=ended, items=items, next=following, notes=notes)

    return once.look(look)


def _change(service: Service, policy: Policy, catalog: Catalog, seen: Seen, at: outlook.Moment) -> ServiceChange | None:
    before = outlook.to_come(service, catalog.policy_of(service), catalog, seen, at)
    change = changes(service.id, before, outlook.to_come(service, policy, catalog, seen, at))
    if change is None:
        return None
    return ServiceChange(
        service_id=service.id,
        client_id=service.client_id,
        plan=service.plan,
        comes=[DeadlineOut.of(act, asks_billing=catalog.asks_billing) for act in change.comes],
        goes=[DeadlineOut.of(act, asks_billing=catalog.asks_billing) for act in change.goes],
    )


def _parsed(request: PolicyText) -> Policy:
    """Read as the files of policies/ are; a fault in it is the caller's."""
    try:
        return parse_policy(request.text, request.file)
    except ConfigError as exc:
        problems = exc.details["problems"]
        first = problems[0]
        where = ": ".join(str(part) for part in (f"{first['file']}:{first['line']}", first["path"]) if part)
        raise RequestError(
            f"{where}: {first['sentence']}", hint="docs/policies.md tells how a policy is written", problems=problems
        ) from None


def _notes(conn: Connection) -> Iterator[str]:
    if settings.freeze(conn) is not None:
        yield "a freeze is in force: what suspends or terminates waits until `orchestrator freeze off`"
    wait = settings.terminations_wait(conn)
    if wait is not None:
        yield f"{outlook.RELEASE}: {wait.why}"


def _unused(policy: Policy, plans: list[str]) -> Iterator[str]:
    if not plans:
        yield f"no plan has the policy '{policy.name}', so that it changes nothing"
