"""What a command runs, imported when the command is called: of all the others a call has no use."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

from agents.node.call import Call

Run = Callable[[Call], dict[str, Any]]


def later(module: str, name: str) -> Run:
    """The function ``name`` of ``module`` below ``agents.node``, which is looked for when it is called."""
    return partial(_call, f"agents.node.{module}", name)


def _call(module: str, name: str, call: Call) -> dict[str, Any]:
    run: Run = getattr(importlib.import_module(module), name)
    return run(call)
