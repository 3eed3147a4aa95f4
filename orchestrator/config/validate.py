"""A file's values against its model: every fault as a problem with its line, in words instead of pydantic's."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.config.problems import Path, Problem, did_you_mean
from orchestrator.config.yaml_reader import Document

M = TypeVar("M", bound=BaseModel)

_SENTENCES = {
    "missing": "'{key}' is missing",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "dict_type": "must be a mapping of keys to values",
    "list_type": "must be a list",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
    "string_too_short": "must not be empty",
    "too_short": "must have at least {min_length}, and has {actual_length}",
    "too_long": "may have at most {max_length}, and has {actual_length}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "value_error": "{error}",
}


def validate(model: type[M], document: Document) -> tuple[M | None, list[Problem]]:
    """The model of the whole file, or None and what is wrong with it."""
    try:
        return model.model_validate(document.data), []
    except ValidationError as error:
        return None, [_problem(model, document, detail) for detail in error.errors(include_url=False, include_input=False)]


def salvage(model: type[M], values: object, stand_ins: Mapping[str, object]) -> tuple[M, frozenset[str]] | None:
    """An entry, and the keys in which it is faulty: they have their defaults, or what ``stand_ins`` gives for the required ones.

    So that what is wrong with one key hides nothing about the others. None where too much is wrong with it.
    """
    if not isinstance(values, dict):
        return None
    try:
        return model.model_validate(values), frozenset()
    except ValidationError as error:
        faulty = frozenset(
            str(detail["loc"][0]) for detail in error.errors(include_url=False, include_input=False) if detail["loc"]
        )
    kept = {key: value for key, value in values.items() if key not in faulty}
    needed = {key: value for key, value in stand_ins.items() if key in faulty}
    try:
        return model.model_validate(kept | needed), faulty
    except ValidationError:
        return None


def _problem(model: type[BaseModel], document: Document, detail: ErrorDetails) -> Problem:
    path = detail["loc"]
    kind, context = detail["type"], detail.get("ctx", {})
    key = str(path[-1]) if path else ""
    if kind == "extra_forbidden":
        near = did_you_mean(key, known_keys(model, path[:-1]))
        return document.problem(path, f"unknown key '{key}'{near}")
    sentence = _SENTENCES.get(kind)
    if sentence is None:
        return document.problem(path, detail["msg"])
    return document.problem(path, sentence.format(key=key, **context))


def known_keys(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that the mapping at ``path`` may have, as files spell them; none where it is free in its keys."""
    current = model
    for part in path:
        if isinstance(part, int):
            continue
        field = next((f for name, f in current.model_fields.items() if (f.alias or name) == part), None)
        found = inner_model(field.annotation) if field else None
        if found is None:
            return []
        current = found
    return [field.alias or name for name, field in current.model_fields.items()]


def inner_model(annotation: Any) -> type[BaseModel] | None:
    """The model inside ``list[Model]``, ``Model | None`` or ``Model``."""
    if inspect.isclass(annotation) and typing.get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    return next((found for part in typing.get_args(annotation) if (found := inner_model(part))), None)
