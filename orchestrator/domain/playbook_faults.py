"""What can be wrong with a playbook, found before it is ever run (at start and by ``config check``)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orchestrator.domain.playbooks import Playbook, PlaybookStep

ROOTS = ("spec", "facts", "job")
REFERENCE = "$ref"
PREDICATES = ("present", "absent", "equals", "not", "all", "any")

Where = tuple[str | int, ...]

_ID = re.compile(r"[a-z][a-z0-9_-]*")
_PATH = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What a step's ``with`` may hold. ``destructive`` as the step itself declares it."""

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    destructive: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a playbook. ``position`` of the step (from 0), ``path`` inside it (``("with", "node")``)."""

    position: int
    path: Where
    sentence: str


def problems(playbook: Playbook, steps: Mapping[str, Arguments]) -> list[str]:
    """Everything that is wrong with the playbook, given the steps there are; empty = it can be run."""
    return [
        f"step {fault.position + 1} ('{playbook.steps[fault.position].id}'): {fault.sentence}"
        for fault in faults(playbook, steps)
    ]


def faults(playbook: Playbook, steps: Mapping[str, Arguments] | None) -> list[Fault]:
    """As ``problems``, with places. ``steps`` None = the steps are not known: names and arguments are then not checked."""
    found: list[Fault] = []
    ids = [step.id for step in playbook.steps]
    for position, step in enumerate(playbook.steps):
        found.extend(Fault(position, path, sentence) for path, sentence in _id_faults(step.id, ids[:position]))
        if steps is not None:
            found.extend(Fault(position, path, sentence) for path, sentence in _argument_faults(step, steps))
        found.extend(
            Fault(position, path, sentence)
            for name, value in step.with_.items()
            for path, sentence in _reference_faults(value, ("with", name), ids, position)
        )
        if step.when is not None:
            found.extend(Fault(position, path, sentence) for path, sentence in _predicate_faults(step.when, ("when",)))
    return found


def _id_faults(step_id: str, before: list[str]) -> Iterator[tuple[Where, str]]:
    if step_id in ROOTS:
        yield ("id",), f"'{step_id}' cannot be an id: ${step_id} means something else"
    elif not _ID.fullmatch(step_id):
        yield ("id",), f"'{step_id}' cannot be an id: begin with a small letter, then small letters, digits, - or _ (no dot)"
    if step_id in before:
        yield ("id",), f"the id '{step_id}' is there twice: give this step an id of its own"


def _argument_faults(step: PlaybookStep, steps: Mapping[str, Arguments]) -> Iterator[tuple[Where, str]]:
    known = steps.get(step.step)
    if known is None:
        near = difflib.get_close_matches(step.step, sorted(steps), n=1)
        yield ("step",), f"there is no step '{step.step}'" + (f"; did you mean '{near[0]}'?" if near else "")
        return
    missing = sorted(known.required - set(step.with_))
    if missing:
        yield ("with",), f"step '{step.step}' needs {', '.join(missing)}"
    allowed = known.required | known.optional
    for name in step.with_:
        if name not in allowed:
            takes = ", ".join(sorted(allowed)) or "nothing"
            yield ("with", name), f"step '{step.step}' takes no '{name}'; it takes {takes}"
    if known.destructive and not step.destructive:
        yield ("step",), f"step '{step.step}' destroys: say so with 'destructive: true'"


def _reference_faults(value: object, where: Where, ids: list[str], position: int) -> Iterator[tuple[Where, str]]:
    if isinstance(value, str) and value.startswith("$") and not value.startswith("$$"):
        if not _PATH.fullmatch(value[1:]):
            yield (
                where,
                f"'{value}' is no reference: write $spec.a.b, $facts.a, $job.a or $step.a (a text that begins with $: $$…)",
            )
            return
        root = value[1:].partition(".")[0]
        if root in ROOTS or root in ids[:position]:
            return
        if root in ids[position:]:
            yield where, f"'{value}' points to step '{root}', which has not run by then"
        else:
            condition = ", and conditions are decided before any step has run" if where[0] == "when" else ""
            yield (
                where,
                f"'{value}' points to '{root}', which is neither spec, facts, job nor the id of an earlier step{condition}",
            )
    elif isinstance(value, Mapping):
        if REFERENCE in value:
            yield where, f"the key '{REFERENCE}' is kept for resolved references: write the reference itself"
        for key, item in value.items():
            yield from _reference_faults(item, (*where, key), ids, position)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _reference_faults(item, (*where, index), ids, position)


def _predicate_faults(predicate: object, where: Where) -> Iterator[tuple[Where, str]]:
    if not isinstance(predicate, Mapping) or len(predicate) != 1:
        yield where, f"a condition is exactly one of: {', '.join(PREDICATES)}"
        return
    ((name, operand),) = predicate.items()
    here = (*where, str(name))
    match name:
        case "present" | "absent":
            if isinstance(operand, str) and operand.startswith("$") and not operand.startswith("$$"):
                yield from _reference_faults(operand, here, [], 0)
            else:
                yield here, f"'{name}' takes one reference, such as $facts.node"
        case "equals":
            yield from _equals_faults(operand, here)
        case "not":
            yield from _predicate_faults(operand, here)
        case "all" | "any":
            if not isinstance(operand, list) or not operand:
                yield here, f"'{name}' takes a list of at least one condition"
                return
            for index, item in enumerate(operand):
                yield from _predicate_faults(item, (*here, index))
        case _:
            yield here, f"there is no condition '{name}'; there are {', '.join(PREDICATES)}"


def _equals_faults(operand: object, where: Where) -> Iterator[tuple[Where, str]]:
    if not isinstance(operand, list) or len(operand) != 2:
        yield where, "'equals' takes a list of two values"
        return
    for index, item in enumerate(operand):
        yield from _reference_faults(item, (*where, index), [], 0)
