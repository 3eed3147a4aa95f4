"""What the node agent takes of a hosting node's CPU: to start, and to look at all accounts."""

from __future__ import annotations

import json
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from agents.build import zipapp
from agents.node.place import Place
from tests.benchmarks.accounts import furnish
from tests.benchmarks.book import Row, pairs, seconds, write
from tests.local_agent import words

ROUNDS = 15
ACCOUNTS = 1000


def used(act: Callable[[], object]) -> float:
    """Seconds of CPU of the processes that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    act()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.fixture
def agent(tmp_path: Path) -> Callable[[str], Any]:
    """Calls the agent as it is shipped, on a node below ``tmp_path``, with the Python of a node."""
    built, place = tmp_path / "agent.pyz", Place(tmp_path / "node")
    built.write_bytes(zipapp())
    place.config.parent.mkdir(parents=True)
    place.config.write_text(json.dumps({"pool_paths": []}))

    def call(command: str) -> Any:
        done = subprocess.run(words(place, command, built), input=b"{}", capture_output=True, check=True, timeout=120)
        return json.loads(done.stdout.splitlines()[-1])["result"]

    return call


def test_what_the_agent_takes_on_a_hosting_node(tmp_path: Path, agent: Callable[[str], Any]) -> None:
    nothing = ["/usr/bin/python3", "-I", "-c", "pass"]
    start = pairs(
        lambda: used(lambda: agent("hello")),
        lambda: used(lambda: subprocess.run(nothing, check=True, timeout=60)),
        rounds=ROUNDS,
    )
    furnish(tmp_path / "node", ACCOUNTS)
    shown = agent("account-facts")["accounts"]
    assert len(shown) == ACCOUNTS
    assert all(each["service_id"] and each["sites"][0]["certificate_until"] and each["fpm"] == "active" for each in shown)
    facts = median(used(lambda: agent("account-facts")) for _ in range(ROUNDS))
    write(
        "The agent on a hosting node",
        "Seconds of CPU of the agent's process, as it is shipped. Starting: `hello`, against `python3 -I -c pass`. The facts of"
        f" {ACCOUNTS:,} accounts in one call: from passwd, shadow, marks, vhosts, certificates, units, crontabs and cgroups,"
        " laid out below a root of their own; with neither quotas nor MariaDB, of which the first are a system call for"
        " each account, and the second is one program that is asked once.",
        [start.row("starting"), Row(f"facts of {ACCOUNTS:,} accounts", seconds(facts))],
    )
