"""The durable execution library (DBOS Transact), behind what little of it we use. Nothing else imports it.

It keeps the queue, and calls a run again that did not come to its end. How far a run came it is not asked: the rows of the job's
steps say it, so that nothing is recorded twice, and what an older version recorded in its runs holds up nobody.

What holds here: the application version is a constant, so that a new version of ours recovers the jobs of the old one; on
SQLite the executor id is fixed, because a file lock keeps a second controller away, on PostgreSQL each
process has its own, and another recovers what it leaves; recovered jobs go back on their own queue, and only those still with the
executor that is gone; what is recorded is JSON, never pickle.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from dbos import DBOS, DBOSClient, Serializer

from orchestrator.store.database import Connection, Database, after_commit
from orchestrator.store.outages import translated

APPLICATION = "orchestrator"
APPLICATION_VERSION = "1"
EXECUTOR = "controller"
QUEUE = "jobs"
WORKFLOW = "run-job"
# A job that ended the controller's process so often is set aside; the sweep then asks an operator.
RECOVERIES = 50
# Threads beyond those of the jobs: the library's own recovery and background work.
SPARE_THREADS = 4
GONE = ("ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED", "SUCCESS")

# The queue takes the lowest number first, from 1 to this one: seconds since then.
FIRST_IN_LINE = datetime(2026, 1, 1, tzinfo=UTC)
LAST_IN_LINE = 2**31 - 1

# So many runs that were put on the queue are remembered, the oldest forgotten first.
_PUT_MOST = 10_000


class Halted(BaseException):
    """The controller stops: the run is left where it is, for recovery at the next start.

    Not an Exception on purpose: the library records those as the run's end, and this is none.
    """


class _JsonSerializer(Serializer):
    """What the library records of our runs, as JSON: what they were called with."""

    def serialize(self, data: Any) -> str:
        if isinstance(data, BaseException):
            data = {"error": type(data).__name__, "message": str(data)}
        return json.dumps(data, separators=(",", ":"), sort_keys=True)

    def deserialize(cls, serialized_data: str) -> Any:  # noqa: N805 - the library's own signature
        value = json.loads(serialized_data)
        if isinstance(value, dict) and set(value) == {"error", "message"}:
            return RuntimeError(f"{value['error']}: {value['message']}")
        return value

    def name(self) -> str:
        return "orchestrator_json"


class Durable:
    """The queue of the jobs and the record of what ran. At most one per process is started at a time.

    ``share``: so many jobs of one node at a time are put on the queue (``line.share_of``).
    """

    def __init__(self, db: Database, *, workers: int, poll_seconds: float, share: int | None = None) -> None:
        self.share = share
        self._db = db
        self._workers = workers
        self._poll_seconds = poll_seconds
        self._put: dict[str, None] = {}
        self._noting = threading.Lock()
        self._client: DBOSClient | None = None
        self._running = False

    def start(self, run: Callable[[str, int], None], *, executor: str = EXECUTOR) -> None:
        """Recover what was running when the last process that was this executor ended, then take jobs from the queue.

        Raises StoreUnavailable.
        """
        with translated():
            self._launch(run, executor)
        self._running = True

    def _launch(self, run: Callable[[str, int], None], executor: str) -> None:
        DBOS.migrate(self._db.url.render_as_string(hide_password=False))
        self._register_queue()
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_engine": self._db.engine,
                "application_version": APPLICATION_VERSION,
                "executor_id": executor,
                "max_executor_threads": self._workers + SPARE_THREADS,
                "use_listen_notify": False,
                "enable_otlp": False,
                "log_level": "WARNING",
                "serializer": _JsonSerializer(),
                "scheduler_polling_interval_sec": 300.0,
                # Nothing of ours waits for the library's notifications, but to stop waits for one turn of who listens for them.
                "notification_listener_polling_interval_sec": self._poll_seconds,
            }
        )
        _join_our_log()
        DBOS.workflow(name=WORKFLOW, max_recovery_attempts=RECOVERIES)(run)
        DBOS.launch()

    def _register_queue(self) -> None:
        self._connected().register_queue(QUEUE, worker_concurrency=self._workers, polling_interval_sec=self._poll_seconds)

    def _connected(self) -> DBOSClient:
        if self._client is None:
            self._client = DBOSClient(
                system_database_engine=self._db.engine,
                serializer=_JsonSerializer(),
                application_name=APPLICATION,
                retry_connection_errors=False,
                lazy=True,
            )
        return self._client

    def stop(self) -> None:
        """Take no more jobs. Those under way have ended by then or are left to recovery."""
        if self._running:
            DBOS.destroy(destroy_registry=True)
            self._running = False
        if self._client is not None:
            self._client.destroy()
            self._client = None

    def enqueue(self, conn: Connection, *, job_id: str, run: int, since: datetime, lost: bool = False) -> None:
        """Put a run of the job on the queue, inside the caller's write transaction; again changes nothing.

        The job that waits ``since`` the earliest second is taken first. ``lost``: the queue has been seen to lack it. Else what
        this process has put there is not put there again: of a long line the head is looked at with each that joins it.
        """
        name = run_id(job_id, run)
        if name in self._put and not lost:
            return
        after_commit(conn, lambda: self._note_put(name))
        self._connected().enqueue_in_transaction(
            conn,
            {
                "workflow_name": WORKFLOW,
                "queue_name": QUEUE,
                "workflow_id": name,
                "app_version": APPLICATION_VERSION,
                "priority": min(max(1, int((since - FIRST_IN_LINE).total_seconds())), LAST_IN_LINE),
            },
            job_id,
            run,
        )

    def _note_put(self, name: str) -> None:
        with self._noting:
            self._put[name] = None
            if len(self._put) > _PUT_MOST:
                del self._put[next(iter(self._put))]

    def states(self, runs: Iterable[str]) -> dict[str, str]:
        """The library's word for each of these runs that it knows."""
        wanted = list(runs)
        if not wanted:
            return {}
        with translated():
            found = self._connected().list_workflows(workflow_ids=wanted, load_input=False, load_output=False)
        return {status.workflow_id: status.status for status in found}

    def recover(self, executor: str) -> int:
        """Put the runs back on their queue that are still with an executor which is gone; how many could not be.

        The library has no public word for it. Its own one takes no run that another executor has taken meanwhile.
        """
        with translated():
            DBOS._recover_pending_workflows([executor])
            left = self._connected().list_workflows(status="PENDING", executor_id=executor, load_input=False, load_output=False)
        return len(left)

    def forget(self, *, before: datetime, most: int = 500) -> int:
        """Delete the records of runs that ended before then; returns how many went."""
        with translated():
            old = self._connected().list_workflows(
                status=list(GONE), end_time=before.isoformat(), limit=most, load_input=False, load_output=False
            )
            if old:
                self._connected().delete_workflows([status.workflow_id for status in old])
        return len(old)


def _join_our_log() -> None:
    """The library writes to a console handler of its own; what it warns of belongs among our lines."""
    library = logging.getLogger("dbos")
    library.handlers.clear()
    library.propagate = True


def run_id(job_id: str, run: int) -> str:
    """The library's id of one run of a job."""
    return f"{job_id}.{run}"
