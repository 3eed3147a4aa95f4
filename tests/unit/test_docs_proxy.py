"""The proxy of docs/install.md waits as long as the command line does, and takes what the controller takes."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

from orchestrator.api.billing_list import LIST_LIMIT
from orchestrator.cli import remote
from orchestrator.config.units import parse_duration

(SERVER,) = re.findall(r"(?s)```nginx\n(.*?)```", (Path(__file__).parents[2] / "docs/install.md").read_text(encoding="utf-8"))


def test_it_waits_as_long_as_the_command_line() -> None:
    waits = {name: value for module in pkgutil.iter_modules(remote.__path__) for name, value in _seconds(module.name).items()}
    assert len(waits) > 10
    for given in re.findall(r"proxy_read_timeout (\w+);", SERVER):
        assert parse_duration(given).total_seconds() >= max(waits.values()), waits


def _seconds(module: str) -> dict[str, float]:
    found = vars(importlib.import_module(f"{remote.__name__}.{module}"))
    return {f"{module}.{name}": float(value) for name, value in found.items() if name.endswith("SECONDS")}


def test_it_takes_the_largest_body() -> None:
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;", SERVER)
    assert int(megabytes) << 20 >= LIST_LIMIT
