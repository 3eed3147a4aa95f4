"""What becomes of a job whose node cannot be reached: it goes back into its line for a while, and tries again. Pure.

A hypervisor that is started anew is away for minutes, and so is all that its jobs want of it. Such a job holds no worker: it
waits, with the jobs of the same node behind it, until its next try is due, its node was seen to be back, or it is to stop.
Times are aware, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.domain.errors import OrchestratorError, Unreachable

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0
# So much longer may a pause be, so that the jobs of a node do not all come at once.
JITTER = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """A job waits for ``away`` (a node, a machine, the backup target) since then, and tries again at ``until``.

    ``why``: the last error's sentence. ``position``: of the step that met it. ``tries``: how often the job has waited for it.
    """

    away: str
    since: datetime
    until: datetime
    why: str
    position: int
    tries: int = 1

    def __str__(self) -> str:
        since, until = (f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}" for moment in (self.since, self.until))
        return f"waits for {self.away} since {since}: {self.why}; tries again at {until}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"since": self.since.isoformat(), "until": self.until.isoformat()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Absence:
        times = {key: datetime.fromisoformat(value[key]) for key in ("since", "until")}
        return cls(**{**value, **times})


def goes_on(before: Absence | None, error: OrchestratorError, *, position: int) -> Absence | None:
    """The wait that the error prolongs; None where it begins one, or is none.

    A job that tries again passes its steps from the first: where it comes beyond the step that met the absence, that was over.
    """
    return before if before is not None and isinstance(error, Unreachable) and position <= before.position else None


def next_wait(
    error: OrchestratorError,
    before: Absence | None,
    *,
    away: str,
    position: int,
    since: datetime,
    now: datetime,
    patience: timedelta,
    spread: float,
) -> Absence | None:
    """Until when the job waits, or None where the error is no absence, or it has waited long enough.

    ``since``: of its first failed try, where it has not waited ``before``. ``spread``: of this job, from 0 to 1.
    """
    if not isinstance(error, Unreachable):
        return None
    since, tries = (since, 0) if before is None else (before.since, before.tries)
    if now - since >= patience:
        return None
    pause = min(FIRST_PAUSE_SECONDS * 2 ** min(tries, 16), LONGEST_PAUSE_SECONDS) * (1 + JITTER * spread)
    until = min(now + timedelta(seconds=pause), since + patience)
    return Absence(away=away, since=since, until=until, why=error.message, position=position, tries=tries + 1)
