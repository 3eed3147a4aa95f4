"""What is known of a service's things: guest, addresses, volumes, account, archive, as the steps of its jobs left them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.domain import own_systems
from orchestrator.domain.intents import IntentKind, JobState, StepState
from orchestrator.domain.jobs import Job, JobStep
from orchestrator.domain.services import ServiceFacts

# The steps that keep an archive; what they gave is known of an archived service under the same word.
KEEP_STEPS = ("archive.keep", "account.archive", "machine.keep")
ARCHIVE = "archive"
# Of what these leave nothing is known under their steps.
_MAKES_NOTHING = (IntentKind.CHECK, IntentKind.TIDY, IntentKind.DRILL)


def after_job(known: ServiceFacts, job: Job, state: JobState, steps: tuple[JobStep, ...]) -> ServiceFacts:
    """What is known after a job that ended in ``state``: the facts of its done steps by step id, over what was known.

    A check makes nothing, and what is kept beside the disk stands in the record. Where everything was made by this job and
    undone, or destroyed, nothing is left but the nodes it ever was on, and the archive that is kept.
    """
    ended = state == JobState.DONE
    if job.intent in _MAKES_NOTHING or (job.intent == IntentKind.ERASE and not ended):
        return known
    undone = state in (JobState.FAILED, JobState.CANCELLED)
    if job.intent == IntentKind.TERMINATE and ended:
        kept = archive_of(steps)
        return ServiceFacts(nodes_ever=known.nodes_ever, values={} if kept is None else {ARCHIVE: dict(kept)})
    if job.intent == IntentKind.REACTIVATE and undone:
        return ServiceFacts(nodes_ever=known.nodes_ever, values=_archive_alone(known))
    if job.intent == IntentKind.ERASE or (job.intent == IntentKind.PROVISION and undone):
        return ServiceFacts(nodes_ever=known.nodes_ever)
    if job.intent == IntentKind.REACTIVATE and ended:
        known = ServiceFacts(nodes_ever=known.nodes_ever)
    done = [step for step in steps if step.state == StepState.DONE and step.facts]
    before = own_systems.rescued(known.values, job.intent, begun=any(step.started_at is not None for step in steps))
    values = before | {step.id: dict(step.facts or {}) for step in done}
    nodes = [str(step.facts["node"]) for step in done if step.facts and step.facts.get("node")]
    return ServiceFacts(node=nodes[-1] if nodes else known.node, nodes_ever=known.nodes_ever, values=values)


def archive_of(steps: tuple[JobStep, ...]) -> Mapping[str, Any] | None:
    """The archive that the job kept; None where it kept none, or has undone that."""
    kept = (step.facts for step in steps if step.step in KEEP_STEPS and step.state == StepState.DONE)
    return next(kept, None) or None


def _archive_alone(known: ServiceFacts) -> dict[str, Any]:
    return {ARCHIVE: known.values[ARCHIVE]} if ARCHIVE in known.values else {}
