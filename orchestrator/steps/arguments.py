"""Step arguments between their JSON in a workflow and their frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from orchestrator.domain.errors import StepFailed
from orchestrator.domain.workflow import Arguments

A = TypeVar("A")


# Building one costs milliseconds, and there is one per kind of step.
_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def parse(kind: type[A], data: Mapping[str, Any]) -> A:
    """The arguments of class ``kind``. Raises StepFailed, naming each argument that is missing, unknown or of a wrong type."""
    unknown = sorted(set(data) - {f.name for f in fields(kind)})  # type: ignore[arg-type]  # every args class is a dataclass
    if unknown:
        raise StepFailed(f"{kind.__name__} takes no {', '.join(unknown)}")
    try:
        parsed: A = _adapter(kind).validate_python(dict(data))
    except ValidationError as exc:
        # The values stay out of the message: they may hold what belongs to the customer.
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"
            for error in exc.errors(include_url=False, include_input=False, include_context=False)
        )
        raise StepFailed(f"the arguments of the step cannot be used: {wrong}") from None
    return parsed


def dump(value: Any) -> dict[str, Any]:
    """Plain JSON of an arguments dataclass (or of any of our value types); ``parse`` gives back an equal one."""
    plain: dict[str, Any] = _adapter(type(value)).dump_python(value, mode="json")
    return plain


def describe(kind: type[Any], *, destructive: bool) -> Arguments:
    """Which arguments a playbook has to give and may give, for checking it when it is loaded."""
    required = frozenset(f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING)
    optional = frozenset(f.name for f in fields(kind)) - required
    return Arguments(required=required, optional=optional, destructive=destructive)
