"""What jobs do to what is kept beside a service's disk, or an account's home: what a restore leaves, and what was wiped. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from orchestrator.domain.fence import LEAVES_COPIES
from orchestrator.domain.intents import RULE_HOLDS, RULE_LIFECYCLE, Intent, IntentKind, Nothing, StepState
from orchestrator.domain.jobs import Job, JobStep
from orchestrator.domain.kept_volumes import KeptKind, KeptVolume
from orchestrator.domain.received import Received, refused
from orchestrator.domain.services import Lifecycle, Service

# What is restored and where: a volume, as its name says it on the node, or the home of an account; or beside either.
DISK = "disk"
HOME = "home"
BESIDE = "beside"
# The steps that leave something, and those that wipe it.
WRITES = frozenset({"restore.write", "account.restore-aside"})
SWITCHES = frozenset({"disk.switch"})
DISCARDS = frozenset({"volume.discard", "account.discard"})
# The arguments of a job: what the volume that it makes is for; the volumes that it wipes, by name.
ROLE = "role"
NAMES = "names"
# Or the node on which an old copy of the service is wiped.
LEFT = "left"
RULE_LEFT = "only what a service has left behind is an old copy"
# With the service they go.
_ENDED = frozenset({Lifecycle.ARCHIVED, Lifecycle.ERASED})


def after_job(
    service: Service, job: Job, steps: Iterable[JobStep], *, ended_well: bool, now: datetime, keep: timedelta
) -> Service:
    """The record with what stands beside its disk when the job is over; the same job's again changes nothing.

    A wipe that came half way has wiped what its done steps say. ``keep``: how long what a restore leaves is kept.
    """
    if service.state in _ENDED:
        return replace(service, kept=())
    if job.intent == IntentKind.RESTORE and ended_well:
        there = {each.name for each in service.kept}
        more = tuple(each for each in _left_by(service, job, steps, now=now, keep=keep) if each.name not in there)
        return replace(service, kept=(*service.kept, *more))
    if job.intent == IntentKind.TIDY:
        gone = {name for step in _done(steps, DISCARDS) for name in step.get("discarded", ())}
        return replace(service, kept=tuple(each for each in service.kept if each.name not in gone))
    return service


def tidy(service: Service, names: Iterable[str], *, who: str, why: str) -> Received:
    """Wipe those of these volumes that are kept, or all where none is named."""
    wanted = set(names)
    there = [each.name for each in service.kept if not wanted or each.name in wanted]
    if not there:
        return Received(service=service, decision=Nothing(reason="nothing of that is kept any more"))
    if not service.erasable:
        return refused(service, "a hold forbids to destroy the service's data", RULE_HOLDS)
    return Received(service=service, decision=Intent.on(IntentKind.TIDY, service, reason=why, who=who, arguments={NAMES: there}))


def of_old_copy(arguments: Mapping[str, object]) -> bool:
    """Whether a job with these arguments wipes what its service has left on another node."""
    return bool(arguments.get(LEFT))


def tidy_left(service: Service, node: str, *, who: str, why: str) -> Received:
    """Wipe what is left of the service on a node that it is not on any more."""
    if service.state not in LEAVES_COPIES:
        said = f"it is {service.state}: an old copy is wiped of a service that goes on elsewhere, or has ended"
        return refused(service, said, RULE_LIFECYCLE)
    if service.state == Lifecycle.ACTIVE and service.node == node:
        return refused(service, f"tidy refused: it is on {node}, and what is there is no old copy of it", RULE_LEFT)
    if not service.erasable:
        return refused(service, "a hold forbids to destroy the service's data", RULE_HOLDS)
    return Received(service=service, decision=Intent.on(IntentKind.TIDY, service, reason=why, who=who, arguments={LEFT: node}))


def due(service: Service, name: str, *, who: str, why: str) -> Received:
    """The time of one of them is over."""
    return tidy(service, [name], who=who, why=why)


def named(arguments: Mapping[str, object]) -> tuple[str, ...]:
    """The volumes that the arguments of a job name."""
    names = arguments.get(NAMES)
    return tuple(str(name) for name in names) if isinstance(names, list | tuple) else ()


def _left_by(service: Service, job: Job, steps: Iterable[JobStep], *, now: datetime, keep: timedelta) -> Iterable[KeptVolume]:
    steps = tuple(steps)
    found: list[tuple[KeptKind, Mapping[str, Any]]] = [
        (KeptKind.SAFETY_COPY, facts["safety"]) for facts in _done(steps, SWITCHES)
    ]
    if job.arguments.get(ROLE) == BESIDE:
        found += [(KeptKind.BESIDE, facts["into"]) for facts in _done(steps, WRITES)]
    for kind, volume in found:
        yield KeptVolume(
            name=str(volume["name"]),
            kind=kind,
            node=service.node,
            path=str(volume["path"]),
            job_id=job.id,
            kept_at=now,
            until=now + keep,
        )


def _done(steps: Iterable[JobStep], names: frozenset[str]) -> list[Mapping[str, Any]]:
    return [step.facts or {} for step in steps if step.step in names and step.state == StepState.DONE]
