"""A task that went wrong, in a sentence for the controller; ``result`` is what there is to tell all the same."""

from __future__ import annotations

from collections.abc import Mapping


class Failed(Exception):
    def __init__(self, sentence: str, *, result: Mapping[str, object] | None = None) -> None:
        super().__init__(sentence)
        self.result = dict(result or {})
