"""/v1/plans and /v1/templates: what is sold and what it is installed from, as configured."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from orchestrator.api.callers import Reader
from orchestrator.api.context import Context
from orchestrator.api.paging import After, Limit, Page, names_page
from orchestrator.api.schemas import PlanOut, TemplateOut
from orchestrator.domain.errors import NotFound

router = APIRouter(prefix="/v1", tags=["catalog"])

Name = Annotated[str, Path(max_length=255)]


@router.get("/plans")
def list_plans(_caller: Reader, context: Context, limit: Limit = 100, after: After = "") -> Page[PlanOut]:
    """Plans by name."""
    names, following = names_page(context.config.plans, limit=limit, after=after)
    return Page(items=[PlanOut.of(context.config.plans[name]) for name in names], next=following)


@router.get("/plans/{name}")
def get_plan(_caller: Reader, context: Context, name: Name) -> PlanOut:
    """One plan."""
    if name not in context.config.plans:
        raise NotFound("there is no plan of that name", hint="`orchestrator plan list` shows all of them")
    return PlanOut.of(context.config.plans[name])


@router.get("/templates")
def list_templates(_caller: Reader, context: Context, limit: Limit = 100, after: After = "") -> Page[TemplateOut]:
    """Templates by name."""
    names, following = names_page(context.config.templates, limit=limit, after=after)
    return Page(items=[TemplateOut.of(context.config.templates[name]) for name in names], next=following)


@router.get("/templates/{name}")
def get_template(_caller: Reader, context: Context, name: Name) -> TemplateOut:
    """One template."""
    if name not in context.config.templates:
        raise NotFound("there is no template of that name", hint="`orchestrator template list` shows all of them")
    return TemplateOut.of(context.config.templates[name])
