"""A file's values against its model: every fault as a problem with its line, in words instead of pydantic's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.config.problems import Problem
from orchestrator.config.sentences import known_keys, sentence
from orchestrator.config.yaml_reader import Document

M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], document: Document) -> tuple[M | None, list[Problem]]:
    """The model of the whole file, or None and what is wrong with it."""
    try:
        return model.model_validate(document.data), []
    except ValidationError as error:
        return None, [_problem(model, document, detail) for detail in error.errors(include_url=False)]


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
    return document.problem(path, sentence(detail, known=known_keys(model, path[:-1]), noun="key"))
