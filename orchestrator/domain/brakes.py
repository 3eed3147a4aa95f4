"""The brakes: how much may be suspended or destroyed in an hour before a person has to agree."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.domain.intents import IntentKind


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeLimits:
    """So many in any hour run by themselves; each further one waits for ``job approve``. 0 = every one waits."""

    suspensions_per_hour: int
    terminations_per_hour: int


def brake(kind: IntentKind, *, recent_suspensions: int, recent_terminations: int, limits: BrakeLimits, frozen: bool) -> str:
    """Why the job waits for approval, or '' where it may run.

    ``recent_…`` count the jobs of that kind let through in the last hour, without this one.
    """
    if not kind.destructive:
        return ""
    if frozen:
        return "frozen: nothing suspends or destroys until the freeze is lifted"
    if not kind.ends and kind != IntentKind.SUSPEND:
        return ""  # it is asked for by its customer, one by one
    if kind == IntentKind.SUSPEND:
        return _over("suspension", recent_suspensions, limits.suspensions_per_hour)
    return _over("termination", recent_terminations, limits.terminations_per_hour)


def _over(what: str, recent: int, limit: int) -> str:
    if recent < limit:
        return ""
    return f"{recent} {what}{'' if recent == 1 else 's'} in the last hour; more than {limit} wait for approval"
