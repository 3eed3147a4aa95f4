"""The question to billing before a deadline destroys anything: is it really not paid, may it go?

Pure. It stands in the arguments of the job that waits for the answer, under ``KEY``. Without an answer a person decides; the
answer of billing is no leave where the policy says "may": then a person agrees besides. Times are aware UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self

from orchestrator.domain.deadlines import Action, Told, deadlines
from orchestrator.domain.jobs import Job
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import Terms

KEY = "confirm"
# The argument of a job that names the deadline it was made for: action and occurrence.
DEADLINE = "deadline"
# What billing is sent, and what it answers with.
QUESTION = "termination.confirm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """``asked_at`` None: there is no billing system that could be asked. ``asks``: why a person has to agree whatever it says.

    ``answered_by`` '' = billing has not confirmed.
    """

    asked_at: datetime | None = None
    answer_by: datetime | None = None
    asks: str = ""
    answered_by: str = ""

    @classmethod
    def asking(cls, *, asks: str, now: datetime, wait: timedelta | None) -> Self:
        """``wait``: how long billing has to answer; None where there is nobody to ask."""
        return cls(
            asked_at=None if wait is None else now,
            answer_by=None if wait is None else now + wait,
            asks=asks,
        )

    @classmethod
    def in_job(cls, job: Job) -> Self | None:
        """The question that the job waits for, or waited for; None where it waits for none."""
        kept = job.arguments.get(KEY)
        if not isinstance(kept, Mapping):
            return None
        return cls(
            asked_at=_moment(kept["asked_at"]),
            answer_by=_moment(kept["answer_by"]),
            asks=kept["asks"],
            answered_by=kept["answered_by"],
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "asked_at": None if self.asked_at is None else self.asked_at.isoformat(),
            "answer_by": None if self.answer_by is None else self.answer_by.isoformat(),
            "asks": self.asks,
            "answered_by": self.answered_by,
        }

    def confirmed(self, by: str) -> Confirmation:
        """Billing says that it may go; ``by`` names the event."""
        return replace(self, answered_by=by)

    def waits(self, *, now: datetime) -> str:
        """Why the job waits for a person or for billing, as operators read it; '' = it may go."""
        if self.answered_by:
            return f"{self.asks} (billing has confirmed it)" if self.asks else ""
        besides = f"; {self.asks}" if self.asks else ""
        if self.asked_at is None or self.answer_by is None:
            return f"make sure that it was not paid: no billing system can be asked{besides}"
        if now >= self.answer_by:
            return (
                f"billing was asked at {_minute(self.asked_at)} and did not confirm it: make sure that it was not paid{besides}"
            )
        return f"billing is asked to confirm it, until {_minute(self.answer_by)}{besides}"


def stands(service: Service, terms: Terms, *, told: Told, action: Action, occurrence: str, now: datetime) -> bool:
    """Whether the deadline that a job was made for is due, the job not having done anything yet."""
    return not _missing(service, terms, told=told, action=action, occurrence=occurrence, now=now)


def hindered(job: Job, service: Service, terms: Terms, *, told: Told, now: datetime) -> str:
    """Why a job that waits is not to be done now: '' = it may. One that no deadline made stands by itself.

    By what the clock itself looks at: a job that is called off for it is made anew as soon as its deadline is due again.
    """
    made_for = job.arguments.get(DEADLINE)
    if not isinstance(made_for, list):
        return ""
    action, occurrence = made_for
    due = max(now, job.created_at)  # a clock that is set back calls nothing off
    return _missing(service, terms, told=told, action=Action(action), occurrence=occurrence, now=due)


def _missing(service: Service, terms: Terms, *, told: Told, action: Action, occurrence: str, now: datetime) -> str:
    # A termination that has begun has moved the record.
    before = replace(service, state=Lifecycle.ACTIVE) if service.state == Lifecycle.TERMINATING else service
    found = (d for d in deadlines(before, terms, told=told) if (d.action, d.occurrence) == (action, occurrence))
    deadline = next(found, None)
    if deadline is None:
        return "what it was to be done for is over"
    return deadline.waits or (f"it falls due at {_minute(deadline.at)}" if deadline.at > now else "")


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _minute(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes")
