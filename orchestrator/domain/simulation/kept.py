"""What the simulated controller keeps of each service: its record, its jobs, and what was seen to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from orchestrator.domain.confirmation import Confirmation
from orchestrator.domain.deadlines import Deadline
from orchestrator.domain.intents import Intent, IntentKind, JobState
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.simulation.punctuality import Key
from orchestrator.domain.simulation.scenario import AGAIN, AGAIN_CEILING


class Job:
    """What is to be done to one service, and how far it is. ``key``: the deadline that it was made for.

    ``question``: what billing is asked before it may go; None where it destroys nothing.
    """

    __slots__ = ("allowed_at", "id", "intent", "key", "question", "state")

    def __init__(
        self,
        job_id: str,
        intent: Intent,
        state: JobState,
        now: datetime,
        *,
        key: Key | None = None,
        question: Confirmation | None = None,
    ) -> None:
        self.id = job_id
        self.intent = intent
        self.state = state
        self.allowed_at = now
        self.key = key
        self.question = question

    @property
    def waits(self) -> bool:
        return self.state == JobState.WAITING_APPROVAL


class Seen:
    """How often a deadline was seen to and when last, and what became of it: a job, a message, or nothing."""

    __slots__ = ("job", "last", "message", "times")

    def __init__(self) -> None:
        self.times = 0
        self.last: datetime | None = None
        self.job: Job | None = None
        self.message = False

    @property
    def settled(self) -> bool:
        """Done or under way; what ended in a failed job is not, nor what was refused."""
        return self.message or (self.job is not None and self.job.state != JobState.FAILED)


class Kept:
    """All that the controller knows of one service. ``dropped``: what billing or a person said is not to be done."""

    __slots__ = ("dropped", "events", "expected", "jobs", "look", "made", "provisioned", "seen", "service", "told")

    def __init__(self) -> None:
        self.service: Service | None = None
        self.events: set[str] = set()
        self.seen: dict[Key, Seen] = {}
        self.told: dict[Key, datetime] = {}
        self.jobs: list[Job] = []
        self.made = 0
        self.provisioned = False
        self.look = 0
        self.expected: dict[Key, datetime] = {}
        self.dropped: set[Key] = set()

    def unfinished(self, kind: IntentKind) -> bool:
        return any(job.intent.kind == kind for job in self.jobs)

    def waiting(self) -> Iterator[Job]:
        """The jobs that wait for a person or for billing; they may be ended meanwhile."""
        return (job for job in tuple(self.jobs) if job.waits)

    def not_seen_to(self, job: Job) -> None:
        """What the job was made for was not done; how often it was tried is kept."""
        seen = self.seen.get(job.key) if job.key is not None else None
        if seen is not None and seen.job is job:
            seen.job = None

    def note(self, deadline: Deadline, now: datetime) -> Seen:
        """The deadline is seen to, once more."""
        seen = self.seen.setdefault((deadline.action, deadline.occurrence), Seen())
        seen.times += 1
        seen.last, seen.job, seen.message = now, None, False
        return seen


def again(seen: Mapping[Key, Seen], deadline: Deadline) -> datetime | None:
    """Until when a deadline that was seen to without success is left alone."""
    found = seen.get((deadline.action, deadline.occurrence))
    if found is None or found.last is None or found.settled:
        return None
    return found.last + min(AGAIN * (1 << min(found.times - 1, 10)), AGAIN_CEILING)


def states(all_kept: Iterable[Kept]) -> dict[str, int]:
    """How many services are in which state."""
    services = [kept.service for kept in all_kept if kept.service is not None]
    return dict(Counter("suspended" if one.stopped and one.state == Lifecycle.ACTIVE else str(one.state) for one in services))
