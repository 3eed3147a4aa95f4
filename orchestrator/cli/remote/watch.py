"""Waiting for a job: bars on a terminal, a line per change anywhere else. The job goes on when the watcher leaves."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.cli.failure import INTERRUPTED, Failure
from orchestrator.cli.output import clean, emit_json, say
from orchestrator.cli.remote.client import Client, NoServer, below

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

POLL_SECONDS = 0.5
# How long a watcher waits for a controller that went away to come back.
PATIENCE_SECONDS = 60.0
# What a command ends with that leaves a job waiting for approval.
WAITS = 4
WAITING = "waiting_approval"
# How the reason of a job begins that waits for a freeze to be lifted.
FROZEN = "frozen"
# And of one whose node an operator stated to be lost.
LOST = "its node is lost"
_MARKS = {
    "pending": " ",
    "running": ">",
    "done": "+",
    "skipped": "-",
    "failed": "!",
    "undoing": "<",
    "undone": "<",
    "undo_failed": "!",
}


def watch_job(client: Client, job_id: str, *, as_json: bool) -> None:
    """Follow the job until it rests; raises Failure with the job's exit code where it did not go well."""
    states = _states(client, job_id)
    try:
        job = _followed(states, as_json=as_json)
    except KeyboardInterrupt:
        hint = f"look again with `orchestrator job watch {job_id}`; `orchestrator job cancel {job_id}` would stop it"
        raise Failure(f"interrupted: job {job_id} goes on", hint=hint, exit_code=INTERRUPTED) from None
    if job["exit_code"]:
        raise Failure(_ending(job), hint=_hint(job), exit_code=int(job["exit_code"]))
    if not as_json:
        say(f"job {job_id}: done")


def _followed(states: Iterator[dict[str, Any]], *, as_json: bool) -> dict[str, Any]:
    if as_json:
        *_, job = states
        emit_json(job)
        return job
    return _bars(states) if sys.stdout.isatty() else follow_lines(states)


def rests(job: dict[str, Any]) -> bool:
    """Whether nothing will change before somebody acts."""
    return bool(job["final"]) or job["state"] in ("waiting_approval", "needs_operator")


def patiently(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What it answers, where asking twice does no harm: a controller that went away is waited for.

    Raises what the client raised where it does not come back within ``PATIENCE_SECONDS``.
    """
    lost_since: float | None = None
    while True:
        try:
            return ask()
        except NoServer:
            now = time.monotonic()
            if lost_since is None:
                lost_since = now
                say("the controller went away; waiting for it to come back", err=True)
            if now - lost_since > PATIENCE_SECONDS:
                raise
        time.sleep(POLL_SECONDS)


def _states(client: Client, job_id: str) -> Iterator[dict[str, Any]]:
    while True:
        job = patiently(lambda: client.get(below("jobs", job_id)))
        yield job
        if rests(job):
            return
        time.sleep(POLL_SECONDS)


def follow_lines(states: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """A line for each change but the state it comes to rest in, which the caller tells; the job as it was last."""
    job: dict[str, Any] = {}
    seen: dict[int, tuple[str, str]] = {}
    state = ""
    for job in states:
        if job["state"] != state:
            state = job["state"]
            if not rests(job):
                say(f"job {job['id']}: {state}")
        for step in job["steps"]:
            now = (step["state"], step["message"])
            if seen.get(step["position"], ("pending", "")) != now:
                seen[step["position"]] = now
                say(_line(step))
    return job


def _line(step: dict[str, Any]) -> str:
    words = f"  {_MARKS.get(step['state'], '?')} {step['id']}: {step['state']}"
    if step["state"] == "running" and step["progress"]:
        words += f" {step['progress'] * 100:.0f} %"
    note = step_note(step)
    return f"{words}: {note}" if note else words


def step_note(step: Mapping[str, Any]) -> str:
    """What is said beside a step: of one that is tried again its message has the error and when that is."""
    first, second = ("message", "error") if step["state"] == "running" else ("error", "message")
    return str(step[first] or step[second])


def _bars(states: Iterator[dict[str, Any]]) -> dict[str, Any]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    job: dict[str, Any] = {}
    columns = (
        TextColumn("{task.fields[mark]} {task.fields[label]}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns) as progress:
        bars: dict[int, TaskID] = {}
        for job in states:
            for step in job["steps"]:
                _draw(progress, bars, step)
    return job


def _draw(progress: Progress, bars: dict[int, TaskID], step: dict[str, Any]) -> None:
    position = int(step["position"])
    if position not in bars:
        bars[position] = progress.add_task("", total=1.0, start=False, label=clean(step["id"]), mark=" ", note="")
    bar = bars[position]
    if step["started_at"] and not progress.tasks[bar].started:
        progress.start_task(bar)
    ended = step["state"] in ("done", "skipped", "undone")
    progress.update(
        bar,
        completed=1.0 if ended else float(step["progress"]),
        mark=_MARKS.get(step["state"], "?"),
        note=clean(step_note(step) or step["state"]),
    )
    if step["finished_at"] or ended:
        progress.stop_task(bar)


def let_run(job_id: str, waits: str) -> str:
    """What to do about a job that waits."""
    approve = f"`orchestrator job approve {job_id}`"
    if waits.startswith(LOST):
        return "goes on when its service is brought up elsewhere (`orchestrator service restore`), or its node is found"
    if waits.startswith(FROZEN):
        return f"goes on after `orchestrator freeze off`; where it then waits for approval, {approve} lets it run"
    return f"let it run with {approve}"


def say_waits(before: str, job_id: str, waits: str) -> None:
    """That a job was written down which waits, why, and what to do."""
    say(f"{before}job {job_id} waits: {waits}")
    say(let_run(job_id, waits))


def say_outcome(about: str, answer: Mapping[str, Any], *, none: str = "") -> None:
    """What became of an act: that its job waits, which job does it, or (behind ``none``) why there is none."""
    if answer["waits"]:
        say_waits(f"{about}: ", answer["job_id"], answer["waits"])
    elif answer["job_id"]:
        say(f"{about}: job {answer['job_id']}   (follow it: orchestrator job watch {answer['job_id']})")
    else:
        say(f"{about}: {none}{answer['detail'] or answer['outcome']}")


def _ending(job: dict[str, Any]) -> str:
    match job["state"]:
        case "waiting_approval":
            what = "waits" if job["approval_reason"].startswith((FROZEN, LOST)) else "waits for approval"
            return f"job {job['id']} {what}: {job['approval_reason']}"
        case "needs_operator":
            return f"job {job['id']} needs an operator: {job['error']}"
        case "cancelled":
            return f"job {job['id']} was {job['error'] or 'cancelled'}"
        case _:
            return f"job {job['id']} failed: {job['error']} ({job['error_code']})"


def _hint(job: dict[str, Any]) -> str:
    match job["state"]:
        case "waiting_approval":
            return let_run(job["id"], job["approval_reason"])
        case "needs_operator" | "failed":
            return f"see `orchestrator job show {job['id']}`; when the cause is mended: `orchestrator job retry {job['id']}`"
        case _:
            return ""
