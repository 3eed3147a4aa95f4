"""When destruction waits for proof: after a gap, at a clock that jumped, over a store that is older than the world, and at a
change of policies that nobody has agreed to.

Pure. Each reason is a wait of its own; several may stand at once, and nothing is terminated by a deadline while any stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from enum import StrEnum
from itertools import pairwise

from orchestrator.domain.calendar import Calendar
from orchestrator.domain.certificates import utc_text
from orchestrator.domain.deadlines import Action, Told
from orchestrator.domain.forecast import forecast
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms

# Who was away for longer does not know what was paid meanwhile: nothing is destroyed until somebody makes sure.
AWAY = timedelta(hours=1)
# When a webhook that nobody took is sent again, as the Standard Webhooks specification proposes ("deliverability and
# reliability"): from the first try.
TRIES = tuple(timedelta(seconds=seconds) for seconds in (0, 5, 305, 2_105, 9_305, 27_305, 63_305, 113_705, 185_705, 272_105))
# Who was away for less waits by itself until each of them was tried once more, and at least so long.
LEAST_PAUSE = timedelta(minutes=15)
_MARGIN = timedelta(minutes=5)
# So many turns in a row that did not happen are a gap: a restart takes one or two.
MISSED_TURNS = 5
# More than so much between the clock on the wall and the one that only goes forward, from one look to the next.
STEP = timedelta(minutes=5)
# What a change of policies would terminate so soon needs consent.
NOTICE = timedelta(hours=24)
# At this hour of the provider's day the looks are compared with the records.
_NIGHT = time(3)


class WaitReason(StrEnum):
    DOWNTIME = "downtime"
    PAUSE = "pause"
    CLOCK = "clock"
    RESTORED = "restored"
    POLICY = "policy"

    @property
    def payments(self) -> bool:
        """What is in doubt is what was paid: billing's own list settles it. No list tells whether a clock is right."""
        return self in (WaitReason.DOWNTIME, WaitReason.PAUSE, WaitReason.RESTORED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Why no deadline terminates anything, since when, and until when (None = until somebody releases it).

    ``count``: of how many services a person has to say that they may be terminated; ``services``: the first of them.
    """

    reason: WaitReason
    why: str
    since: datetime
    until: datetime | None = None
    count: int | None = None
    services: tuple[str, ...] = ()

    @property
    def mend(self) -> str:
        """What a person does about it."""
        if self.reason == WaitReason.POLICY:
            return (
                f"if that is meant: orchestrator terminations release --yes-terminate {self.count} --why TEXT; "
                "else put the policies and plans back as they were, and restart the controller"
            )
        if self.until is not None:
            return "nothing: it ends by itself. Sooner: orchestrator terminations release --why TEXT, once billing was asked"
        if self.reason == WaitReason.CLOCK:
            return "set the clock right, and keep it so (timedatectl); then orchestrator terminations release --why TEXT"
        return "ask billing what was paid meanwhile (orchestrator reconcile), or orchestrator terminations release --why TEXT"


@dataclass(frozen=True, slots=True)
class Look:
    """A moment at which the deadlines were looked at, by both clocks. ``monotonic``: seconds, within one process only."""

    wall: datetime
    monotonic: float


def after_gap(*, last: datetime | None, before: Look | None, now: Look, turn: timedelta) -> Iterator[Wait]:
    """What has to wait because of the time that passed since the last look, or because nobody can say how much that was.

    ``last``: as the store has it; ``before``: of this process, None at its first turn. ``turn``: how often it looks.
    """
    stepped = _step(last=last, before=before, now=now)
    if stepped:
        yield Wait(reason=WaitReason.CLOCK, why=stepped, since=now.wall)
    # A clock that was set back does not make a gap any shorter.
    gaps = [] if last is None else [now.wall - last]
    gaps += [] if before is None else [timedelta(seconds=now.monotonic - before.monotonic)]
    gap = max(gaps, default=timedelta(0))
    if gap <= min(MISSED_TURNS * turn, AWAY):
        return
    why = f"nothing was looked at from {utc_text(now.wall - gap)} to {utc_text(now.wall)}"
    if gap > AWAY:
        yield Wait(reason=WaitReason.DOWNTIME, why=why, since=now.wall)
    else:
        yield Wait(reason=WaitReason.PAUSE, why=why, since=now.wall, until=now.wall + pause_after(gap))


def pause_after(gap: timedelta) -> timedelta:
    """How long it takes at most until whatever was sent first in a gap of that length, and found nobody, is sent again."""
    between = [later - earlier for earlier, later in pairwise(TRIES) if earlier <= gap]
    return max(gap, LEAST_PAUSE, *(wait + _MARGIN for wait in between))


def _step(*, last: datetime | None, before: Look | None, now: Look) -> str:
    """How the clock on the wall jumped; '' = it did not."""
    if before is not None:
        passed = timedelta(seconds=now.monotonic - before.monotonic)
        step = now.wall - before.wall - passed
        if abs(step) <= STEP:
            return ""
        where = "forward" if step > timedelta(0) else "back"
        return (
            f"the clock went {_rounded(abs(step))} {where} between {utc_text(before.wall)} and {utc_text(now.wall)}: "
            "it was set, or the machine slept"
        )
    if last is not None and last - now.wall > STEP:
        return f"it is {utc_text(now.wall)} by the clock, and the deadlines were looked at later already: {utc_text(last)}"
    return ""


def _rounded(length: timedelta) -> timedelta:
    return timedelta(seconds=round(length.total_seconds()))


def older_than_its_mark(*, turns: int, mark: int | None, now: datetime) -> Wait | None:
    """The wait over a store that was brought back from a copy. ``turns``: how many the store knows of; ``mark``: how many the
    file beside it does, None where there is none, as after a move to another machine."""
    if turns == 0 or (mark is not None and mark <= turns):
        return None
    found = "it has no mark beside it" if mark is None else f"it knows of {turns} turns, and its mark of {mark}"
    return Wait(reason=WaitReason.RESTORED, why=f"the database was brought back from a copy: {found}", since=now)


def joined(standing: Mapping[WaitReason, Wait], found: Iterable[Wait]) -> dict[WaitReason, Wait]:
    """All of them: what stands keeps its words and its beginning, and lasts as long as the longer one asks for."""
    waits = dict(standing)
    for wait in found:
        first = waits.get(wait.reason, wait)
        ends = [each.until for each in (first, wait) if each.until is not None]
        waits[wait.reason] = replace(first, until=max(ends, default=None))
    return waits


def over(waits: Mapping[WaitReason, Wait], now: datetime) -> tuple[Wait, ...]:
    """Those that end by themselves and have."""
    return tuple(wait for wait in waits.values() if wait.until is not None and wait.until <= now)


def said(waits: Iterable[Wait]) -> str:
    """Why nothing is terminated, in one line."""
    return "; ".join(wait.why for wait in waits)


def ended_by(
    service: Service,
    terms: Terms,
    *,
    now: datetime,
    told: Told,
    settled: frozenset[tuple[Action, str]],
) -> bool:
    """Whether these terms destroy something of the service within ``NOTICE``; what is in the way of it does, too."""
    acts = forecast(service, terms, now=now, until=now + NOTICE, told=told, settled=settled)
    return any(act.action.destroys and not act.waits for act in acts)


def consent_wait(changed: Iterable[str], victims: tuple[str, ...], *, first: int, since: datetime) -> Wait:
    """The wait at a change of policies that would terminate these services; of them the ``first`` are kept."""
    names = ", ".join(changed)
    whom = "1 service" if len(victims) == 1 else f"{len(victims)} services"
    why = f"other policies than before ({names}) would terminate {whom} within {NOTICE // timedelta(hours=1)} hours"
    return Wait(reason=WaitReason.POLICY, why=why, since=since, count=len(victims), services=victims[:first])


def last_night(now: datetime, calendar: Calendar) -> datetime:
    """The last time that the hour of the comparison struck, in the provider's zone."""
    local = now.astimezone(calendar.zone)
    struck = local.replace(hour=_NIGHT.hour, minute=0, second=0, microsecond=0, fold=0)
    if struck > local:
        struck -= timedelta(days=1)
    return struck.astimezone(now.tzinfo)


def looked_at_too_late(look: datetime | None, due: datetime | None) -> bool:
    """Whether a service is looked at after the moment at which its record says that it has to be.

    A look that comes too early does no harm and is none: a payment, or a notice that billing took, moves what falls due.
    """
    return due is not None and (look is None or look > due)
