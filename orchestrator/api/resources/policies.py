"""/v1/policies: what is promised, in sentences, and with which plans."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from orchestrator.api.callers import Reader
from orchestrator.api.context import ApiContext, Context
from orchestrator.api.paging import After, Limit, Page, names_page
from orchestrator.domain.errors import NotFound
from orchestrator.domain.policies import Policy, rules
from orchestrator.domain.policies.kept import KEPT
from orchestrator.domain.policy_words import sentences

router = APIRouter(prefix="/v1/policies", tags=["policies"])

Name = Annotated[str, Path(max_length=255)]


class PolicyOut(BaseModel):
    """``document``: what the clauses are clauses of. ``plans``: the plans that promise it."""

    name: str
    provider: str
    document: str
    plans: list[str]


class RuleOut(BaseModel):
    """``clause`` is '' where the document is silent, so that nothing is done."""

    rule: str = Field(description="Where it stands in the policy's file.")
    topic: str
    sentence: str
    clause: str
    silent: bool
    kept: bool = Field(description="The controller keeps it by itself; else it is shown, and kept by people.")


class PolicyDetail(PolicyOut):
    rules: list[RuleOut]


@router.get("")
def list_policies(_caller: Reader, context: Context, limit: Limit = 100, after: After = "") -> Page[PolicyOut]:
    """Policies by name."""
    names, following = names_page(context.catalog.policies, limit=limit, after=after)
    return Page(items=[_policy(context, context.catalog.policies[name]) for name in names], next=following)


@router.get("/{name}")
def get_policy(_caller: Reader, context: Context, name: Name) -> PolicyDetail:
    """One policy, each of its rules as a sentence; what the document is silent on is said, too."""
    policy = context.catalog.policies.get(name)
    if policy is None:
        raise NotFound("there is no policy of that name", hint="`orchestrator policy list` shows all of them")
    told = [
        RuleOut(
            rule=path, topic=topic, sentence=sentence, clause=clause, silent=rule is None, kept=rule is not None and path in KEPT
        )
        for (path, rule), (topic, sentence, clause) in zip(rules(policy), sentences(policy), strict=True)
    ]
    return PolicyDetail(**_policy(context, policy).model_dump(), rules=told)


def _policy(context: ApiContext, policy: Policy) -> PolicyOut:
    plans = sorted(plan.name for plan in context.catalog.plans.values() if plan.policy == policy.name)
    return PolicyOut(name=policy.name, provider=policy.provider, document=policy.document, plans=plans)
