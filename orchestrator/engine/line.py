"""The line that jobs wait in: of each service one at a time is on the queue, and the queue takes the oldest first.

A partitioned queue of the library would keep a service's jobs apart too, but takes services at random where more wait than
there are workers; on a plain one a service's second job would keep a worker busy with waiting for the first.
"""

from __future__ import annotations

from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.engine.durable import Durable
from orchestrator.store import absences
from orchestrator.store import jobs as job_store
from orchestrator.store.database import Connection

BEFORE_DRILLS = frozenset({IntentKind.SUSPEND, IntentKind.UNSUSPEND, IntentKind.TERMINATE, IntentKind.RESTORE})


def share_of(workers: int, *, nodes: int) -> int | None:
    """How many jobs of one node may be on the queue or under way at a time; None = all.

    A node that hangs keeps whoever works on it until his deadlines. So of several nodes none is given more than half of the
    workers, and those services that have no node yet no more either: the others' jobs go on.
    """
    return None if nodes < 2 else max(1, (workers - 1) // 2)


def line_up(conn: Connection, durable: Durable, service_id: str) -> None:
    """Put the service's oldest waiting job on the queue, unless one of its jobs is under way; again changes nothing.

    Where nodes have a share of the workers, it is those jobs of the service's node whose turn it is; a node that has its share
    under way gets the next one on when one of those ends.

    A drill is asked to stop as soon as something waits that its customer, or billing, wants: it takes long and can be made anew.

    To be called in every transaction that lets a job wait for its turn, or that ends one.
    """
    jobs = job_store.unfinished(conn, service_id)
    if any(job.state == JobState.QUEUED and job.intent in BEFORE_DRILLS for job in jobs):
        for job in jobs:
            if job.intent == IntentKind.DRILL and job.state in (JobState.QUEUED, JobState.RUNNING):
                job_store.change(conn, job.id, stop_requested=True)
                absences.end(conn, job.id)
    if durable.share is not None:
        # One that has found its node has left a turn to those that have none yet.
        for place in {job_store.place_of(conn, service_id), ""}:
            for job in job_store.next_of(conn, place, share=durable.share):
                durable.enqueue(conn, job_id=job.id, run=job.run, since=job.created_at)
        return
    if any(job.state in (JobState.RUNNING, JobState.UNDOING) for job in jobs):
        return
    first = next((job for job in jobs if job.state == JobState.QUEUED), None)
    if first is not None and not absences.waits(conn, first.id):
        durable.enqueue(conn, job_id=first.id, run=first.run, since=first.created_at)
