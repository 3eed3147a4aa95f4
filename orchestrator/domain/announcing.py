"""Maintenance of a node that is announced: what may be announced, and what billing hears when it is called off. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from orchestrator.domain.errors import RequestError, WrongState
from orchestrator.domain.planned import Announced
from orchestrator.domain.received import Tell

CALLED_OFF = "maintenance.called_off"
LONGEST = timedelta(days=7)
FARTHEST = timedelta(days=366)


def require(wanted: Announced, standing: Announced | None, *, now: datetime) -> None:
    """Raises RequestError for times that cannot be meant, WrongState where another one is announced and not over."""
    if not now < wanted.at <= now + FARTHEST:
        raise RequestError("it has to begin later than now, and within a year")
    if not timedelta(0) < wanted.until - wanted.at <= LONGEST:
        raise RequestError("it has to take some time, and a week at most")
    if standing is not None and standing.until > now:
        raise WrongState(
            f"maintenance of {wanted.node} from {_text(standing.at)} to {_text(standing.until)} is announced already",
            hint=f"orchestrator node maintenance {wanted.node} --cancel --why TEXT",
        )


def called_off(found: Announced, why: str) -> Tell:
    """To each service whose customer was told."""
    data = {"node": found.node, "at": found.at.isoformat(), "until": found.until.isoformat(), "why": why}
    return Tell(kind=CALLED_OFF, key=occurrence(found), data=data)


def occurrence(found: Announced) -> str:
    """What the notices of one announcement have in common; another one of the same time is another."""
    return found.announced_at.isoformat()


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes")
