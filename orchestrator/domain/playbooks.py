"""The values of a playbook (HOW) and of the workflow it is resolved to.

A *reference* is a whole YAML value that starts with ``$``: ``$spec.guest.vcpus``, ``$facts.node``, ``$job.id``,
``$place.node`` (what step ``place`` gave). References are whole values, never parts of a string: there is no templating.
``$spec``, ``$facts`` and ``$job`` are known when the job begins and are filled in when the workflow is resolved; references to
earlier steps stay symbolic until that step's facts are there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class OnFailure(StrEnum):
    """After a permanent failure of a step: undo what this job made, stop where it is, or go on."""

    UNDO = "undo"
    HALT = "halt"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybookStep:
    """One entry of ``steps``. ``id`` defaults to the step's name, dots as dashes; ``when`` is a predicate of the closed set."""

    id: str
    step: str
    with_: dict[str, object] = field(default_factory=dict)
    when: dict[str, object] | None = None
    on_failure: OnFailure = OnFailure.UNDO
    destructive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Playbook:
    name: str
    description: str
    for_: str
    steps: tuple[PlaybookStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCall:
    """One resolved step. ``args`` hold JSON values and, where an earlier step gives them, ``{"$ref": "place.node"}``."""

    id: str
    step: str
    args: dict[str, object]
    on_failure: OnFailure = OnFailure.UNDO
    destructive: bool = False
    skipped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """What a job will do, written down whole before anything runs; ``--dry-run`` prints exactly this."""

    playbook: str
    service_id: str
    calls: tuple[StepCall, ...]
