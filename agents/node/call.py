"""What a command is handed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.node.place import Place


@dataclass(frozen=True, slots=True)
class Call:
    """``arguments`` are checked; ``progress`` takes a fraction 0..1 and a sentence."""

    place: Place
    arguments: Mapping[str, Any]
    progress: Callable[[float, str], None]
