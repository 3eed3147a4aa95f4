"""docs/node-agent.md names every command of the agent with all its fields, and every path that enrolment writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.node.commands import COMMANDS
from orchestrator.drivers.ssh.enrolment import CONFIG, HOOK, LAUNCHER

PAGE = (Path(__file__).parents[2] / "docs/node-agent.md").read_text()


def _row(first: str) -> str:
    rows = [line for line in PAGE.splitlines() if line.startswith(f"| `{first}` |")]
    assert len(rows) == 1, f"docs/node-agent.md has {len(rows)} rows for {first}"
    return rows[0]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_is_documented_with_its_fields(command: str) -> None:
    request = _row(command).split("|")[2]
    assert set(request.split("`")[1::2]) == set(COMMANDS[command].fields)


def test_no_command_is_documented_that_does_not_exist() -> None:
    table = PAGE.partition("| Command |")[2].partition("\n\n")[0]
    named = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    assert named == set(COMMANDS)


@pytest.mark.parametrize("path", [CONFIG, HOOK, LAUNCHER])
def test_a_path_on_the_node_is_documented(path: str) -> None:
    assert _row(path)
