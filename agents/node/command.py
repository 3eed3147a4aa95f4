"""What a command of the agent is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.node.arguments import Field
from agents.node.call import Call

Run = Callable[[Call], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Command:
    """``fields`` is all that a request may hold; ``run`` gets them checked. ``lasting``: goes on although nobody listens."""

    fields: Mapping[str, Field]
    run: Run
    lasting: bool = False
