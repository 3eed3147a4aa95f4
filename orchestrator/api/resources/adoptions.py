"""/v1/services/{service_id}/adopt: a user of its node that somebody made by hand moves into a hosting account."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Operator
from orchestrator.api.context import Context
from orchestrator.api.once import Keep, OnceOnly
from orchestrator.api.resources.services import ServiceId
from orchestrator.api.schemas import Answer
from orchestrator.api.vocabulary import CONTROLS
from orchestrator.domain import adopting, workflow
from orchestrator.domain.adopting import Adoption, DatabaseFrom, SiteFrom
from orchestrator.domain.charges import Charge
from orchestrator.engine.hosting import Adopted, Adopting
from orchestrator.observe.logs import redact

router = APIRouter(prefix="/v1/services", tags=["services"])

_PATH = r"^(/[^/\x00-\x1f\x7f]+)+$"


class SiteFromData(BaseModel):
    """``root``: the directory on the node that is to be the site, below the user's home."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=1, max_length=32)
    root: str = Field(max_length=1024, pattern=_PATH)


class DatabaseFromData(BaseModel):
    """``name`` in the account; ``source``: the whole name that it has on the node."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=1, max_length=16)
    source: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_$-]{0,63}$")


class AdoptRequest(BaseModel):
    """``user``: of the node. ``cron``: his crontab moves, too, and is out of force afterwards. ``node``: where he lives, to be
    compared with where the account is. ``pay``: what it costs beyond what is free may be charged."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user: str = Field(pattern=r"^[a-z_][a-z0-9_.-]{0,31}$")
    sites: list[SiteFromData] = Field(default_factory=list, max_length=200)
    databases: list[DatabaseFromData] = Field(default_factory=list, max_length=200)
    cron: bool = True
    node: str = Field(default="", max_length=63, pattern=f"^[^{CONTROLS}]*$")
    pay: bool = False
    reason: str = Field(default="", max_length=255, pattern=f"^[^{CONTROLS}]*$")

    def asked(self, request_id: str) -> Adopting:
        adoption = Adoption(
            stranger=self.user,
            sites=tuple(SiteFrom(name=each.name, root=each.root) for each in self.sites),
            databases=tuple(DatabaseFrom(name=each.name, source=each.source) for each in self.databases),
            cron=self.cron,
        )
        return Adopting(adoption=adoption, request_id=request_id, node=self.node, pay=self.pay, why=self.reason)


class AdoptAnswer(Answer):
    """What becomes of it. ``found``: what the node saw; ``misfits``: why it cannot be, of a dry run; ``not_taken``: what stays
    behind; ``left``: what will still be there, and how it is removed; ``counts``: how it counts, in a sentence; ``amount``: whole
    rupiah, 0 = it costs nothing."""

    found: dict[str, Any]
    misfits: list[str]
    not_taken: list[str]
    left: list[str]
    counts: str
    amount: int

    @classmethod
    def told(cls, made: Adopted) -> AdoptAnswer:
        plain = Answer.of(made.submitted).model_dump()
        if made.workflow is not None:
            plain |= {"workflow": redact(workflow.to_json(made.workflow))}
        if not made.submitted.job_id:
            plain |= {"outcome": "dry-run"}
        found = adopting.told(made.seen)
        for key in ("obstacles", "not_taken", "left"):
            del found[key]
        return cls(
            **plain,
            found=found,
            misfits=list(made.misfits),
            not_taken=list(made.remarks),
            left=list(made.seen.left),
            counts=made.granted.reason,
            amount=made.granted.amount if isinstance(made.granted, Charge) else 0,
        )


@router.post("/{service_id}/adopt", response_model=AdoptAnswer, responses={202: {"model": AdoptAnswer}})
def adopt_user(
    caller: Operator,
    context: Context,
    once: OnceOnly,
    service_id: ServiceId,
    request: AdoptRequest,
    dry_run: Annotated[bool, Query(description="Answer with what is there, what does not fit, and what would run.")] = False,
) -> JSONResponse:
    """Take a user of the service's node into its account; he is looked at first: 202 with the job that does it."""
    hosting, asked = context.engine.hosting, request.asked(once.request_id(service_id))
    if dry_run:
        return once.look(lambda: AdoptAnswer.told(hosting.would_adopt(service_id, asked)))

    def act(keep: Keep) -> None:
        hosting.adopt(service_id, asked, who=caller.name, beside=lambda conn, found: keep(conn, AdoptAnswer.told(found)))

    return once.run(act)
