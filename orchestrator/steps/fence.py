"""Asking the fence. It is asked inside each destructive act, every time that act is about to be carried out."""

from __future__ import annotations

from orchestrator.steps.base import StepContext


def ask(ctx: StepContext, act: str) -> None:
    """For an act that can be taken back: let it through, or raise FenceClosed or Frozen.

    The fence notes nothing of it, because nothing is destroyed by it: a payment that comes later still saves the data, and
    has to be answered so.
    """
    ctx.ports.fence.require(service_id=ctx.service_id, job_id=ctx.job_id, act=act, destroys=False)


def require(ctx: StepContext, act: str) -> None:
    """Let the act through, or raise. Only while nothing is destroyed: what a crash kept from being withdrawn goes first."""
    withdraw(ctx)
    ctx.ports.fence.require(service_id=ctx.service_id, job_id=ctx.job_id, act=act)


def withdraw(ctx: StepContext) -> None:
    """Nothing was destroyed yet by this job: what the fence noted of it is taken back."""
    ctx.ports.fence.withdraw(service_id=ctx.service_id, job_id=ctx.job_id)
