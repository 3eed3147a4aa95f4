"""From a playbook and what is known to the Workflow that a job will run, and from earlier steps' facts to arguments.

References (see ``domain.playbooks``): a whole string ``$root.part.part``. Roots ``spec``, ``facts`` and ``job`` are known when
the job begins and are filled in by ``resolve``; any other root is the id of an earlier step and stays ``{"$ref": "place.node"}``
until ``bind``. A part is a key of a mapping or the position in a list, counted from 0. A text that begins with ``$`` itself is
written ``$$…``.

Predicates of ``when``, a closed set, read only ``spec``, ``facts`` and ``job`` of the moment of resolving:
``present: $ref`` (there and not empty: null, '', [] and {} count as empty; 0 and false do not), ``absent: $ref``,
``equals: [a, b]`` (either may be a reference; one that leads nowhere is null), ``not: predicate``, ``all: [predicates]``,
``any: [predicates]``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.domain.errors import PreconditionError, StepFailed
from orchestrator.domain.playbook_faults import REFERENCE, ROOTS
from orchestrator.domain.playbook_faults import Arguments as Arguments
from orchestrator.domain.playbook_faults import problems as problems
from orchestrator.domain.playbooks import OnFailure, Playbook, StepCall, Workflow

_FORMAT = 1
_MISSING = object()


def resolve(
    playbook: Playbook,
    *,
    service_id: str,
    spec: Mapping[str, Any],
    facts: Mapping[str, Any],
    job: Mapping[str, Any],
) -> Workflow:
    """The whole workflow, with all that is known now filled in. Steps whose ``when`` does not hold are kept, as skipped.

    Raises PreconditionError, naming all of them, where references lead nowhere or to a step that is skipped: nothing has run.
    """
    known = {"spec": spec, "facts": facts, "job": job}
    skipped: set[str] = set()
    lost: list[str] = []
    calls: list[StepCall] = []
    for step in playbook.steps:
        why = "" if step.when is None or _holds(step.when, known) else f"when {_words(step.when)}: does not hold"
        if why:
            skipped.add(step.id)

        def fill(path: str, step_id: str = step.id) -> object:
            root = path.partition(".")[0]
            if root not in ROOTS:
                if root in skipped:
                    lost.append(f"step '{step_id}' needs ${path}, and step '{root}' is skipped")
                return {REFERENCE: path}
            value = _look_up(known, path)
            if value is _MISSING or _holds_reference(value):
                lost.append(f"step '{step_id}' needs ${path}, which is not known")
                return None
            return value

        args = {} if why else {name: _map(value, fill) for name, value in step.with_.items()}
        calls.append(
            StepCall(id=step.id, step=step.step, args=args, on_failure=step.on_failure, destructive=step.destructive, skipped=why)
        )
    if lost:
        raise PreconditionError(
            f"playbook '{playbook.name}' cannot be run for service '{service_id}': {'; '.join(lost)}",
            playbook=playbook.name,
            service_id=service_id,
        )
    return Workflow(playbook=playbook.name, service_id=service_id, calls=tuple(calls))


def bind(args: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The arguments with every ``{"$ref": …}`` filled in from ``given``: the facts of earlier steps by step id.

    Raises StepFailed where a step gave no such fact.
    """

    def fill(value: Any) -> Any:
        if isinstance(value, Mapping):
            if set(value) != {REFERENCE}:
                return {key: fill(item) for key, item in value.items()}
            path = str(value[REFERENCE])
            found = _look_up(given, path)
            if found is _MISSING:
                root = path.partition(".")[0]
                why = f"step '{root}' gave no such fact" if root in given else f"step '{root}' did not run before"
                raise StepFailed(f"${path} cannot be filled in: {why}", reference=path)
            return found
        return [fill(item) for item in value] if isinstance(value, list) else value

    return {name: fill(value) for name, value in args.items()}


def to_json(workflow: Workflow) -> dict[str, Any]:
    """Plain JSON values; ``from_json`` gives back an equal Workflow."""
    return {
        "format": _FORMAT,
        "playbook": workflow.playbook,
        "service_id": workflow.service_id,
        "calls": [
            {
                "id": call.id,
                "step": call.step,
                "args": dict(call.args),
                "on_failure": call.on_failure.value,
                "destructive": call.destructive,
                "skipped": call.skipped,
            }
            for call in workflow.calls
        ],
    }


def from_json(data: Mapping[str, Any]) -> Workflow:
    """The Workflow that ``to_json`` wrote. Raises ValueError for another format number, KeyError for what is missing."""
    if data["format"] != _FORMAT:
        raise ValueError(f"a workflow of format {data['format']}; this version reads {_FORMAT}")
    return Workflow(
        playbook=data["playbook"],
        service_id=data["service_id"],
        calls=tuple(
            StepCall(
                id=call["id"],
                step=call["step"],
                args=dict(call["args"]),
                on_failure=OnFailure(call["on_failure"]),
                destructive=call["destructive"],
                skipped=call["skipped"],
            )
            for call in data["calls"]
        ),
    )


def _map(value: object, fill: Callable[[str], object]) -> object:
    """``value`` with every reference in it replaced by ``fill`` of its path."""
    if isinstance(value, str):
        if value.startswith("$$"):
            return value[1:]
        return fill(value[1:]) if value.startswith("$") else value
    if isinstance(value, Mapping):
        return {key: _map(item, fill) for key, item in value.items()}
    return [_map(item, fill) for item in value] if isinstance(value, (list, tuple)) else value


def _look_up(tree: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(tree, Mapping) and part in tree:
            tree = tree[part]
        elif isinstance(tree, (list, tuple)) and part.isdecimal() and int(part) < len(tree):
            tree = tree[int(part)]
        else:
            return _MISSING
    return tree


def _holds_reference(value: object) -> bool:
    """Whether a value from outside would be taken for a reference of ours later on."""
    if isinstance(value, Mapping):
        return REFERENCE in value or any(_holds_reference(item) for item in value.values())
    return isinstance(value, (list, tuple)) and any(_holds_reference(item) for item in value)


def _holds(predicate: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    ((name, operand),) = predicate.items()
    match name:
        case "present":
            return not _empty(_operand(operand, known))
        case "absent":
            return _empty(_operand(operand, known))
        case "equals":
            left, right = (_operand(item, known) for item in operand)
            return type(left) is type(right) and bool(left == right)
        case "not":
            return not _holds(operand, known)
        case "all":
            return all(_holds(item, known) for item in operand)
        case "any":
            return any(_holds(item, known) for item in operand)
    raise ValueError(f"unknown predicate '{name}': the playbook was not checked")


def _operand(value: object, known: Mapping[str, Any]) -> object:
    found = _map(value, lambda path: _look_up(known, path))
    return None if found is _MISSING else found


def _empty(value: object) -> bool:
    return value is None or (isinstance(value, (str, list, tuple, Mapping)) and len(value) == 0)


def _words(predicate: Mapping[str, Any]) -> str:
    ((name, operand),) = predicate.items()
    match name:
        case "present":
            return f"{operand} is there"
        case "absent":
            return f"{operand} is not there"
        case "equals":
            return f"{operand[0]} equals {operand[1]}"
        case "not":
            return f"not ({_words(operand)})"
    joined = (" and " if name == "all" else " or ").join(_words(item) for item in operand)
    return f"({joined})"
