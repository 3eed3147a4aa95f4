"""How several processes take the tests: file by file, and all files that share booted servers in one go.

A server of the lab is up half a minute after it was started at the earliest, and enrolled some time later. Files that ask for
the same servers are run by one process, one after the other: so each is booted once.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).parents[1]
SERVERS = "hosting servers"


@cache
def shares_servers(file: str) -> bool:
    """Whether it asks for the hosting nodes that all tests of a session share. ``file`` is below the tree's root."""
    path = ROOT / file
    return path.is_file() and "\nfrom tests.hosting_server import " in path.read_text(encoding="utf-8")


def scope(nodeid: str) -> str:
    """What is run by one process: tests of the same word."""
    file = nodeid.partition("::")[0]
    return SERVERS if shares_servers(file) else file


def scheduler(config: pytest.Config, log: Any) -> Any:
    """pytest-xdist's ``loadfile``, with the larger scope where servers are shared: in that method its own kinds differ, too."""
    made = LoadFileScheduling(config, log)
    made._split_scope = scope
    return made
