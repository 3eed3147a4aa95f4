"""The tabulator after a command: ids of the controller that it would talk to, and silence where there is none."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.integration.api.test_cli import provisioned
from tests.served import Ran, Served, process

NOTHING = Ran(returncode=0, stdout="\n", stderr="")


def tab(line: str, *, at: Path) -> Ran:
    """What a shell (zsh) is told when the tabulator is pressed at the end of the line."""
    words = f"orchestrator --socket {at} {line}"
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - (not words.endswith(" ")))}
    return process(_ORCHESTRATOR_COMPLETE="zsh_complete", **asked)


def told(served: Served, line: str) -> dict[str, str]:
    """The words, each with what is said beside it. Nothing is said where the controller has no time: it is pressed again then."""
    for _press in range(10):
        done = tab(line, at=served.socket)
        assert (done.returncode, done.stderr) == (0, "")
        if done != NOTHING:
            break
    lines = done.stdout.splitlines()
    return dict(zip(lines[1::3], lines[2::3], strict=True))


def test_ids_of_services_jobs_and_nodes_are_completed_with_what_they_are(served: Served) -> None:
    for name in ("tab", "tab-2", "tac"):
        provisioned(served, name)
    both = {"tab": "small, active", "tab-2": "small, active"}
    assert told(served, "service show tab") == both
    assert told(served, "job list --service tab") == both
    assert set(told(served, "service suspend tac")) == {"tac"}
    assert "provision of tac, done" in told(served, "job show j").values()
    assert told(served, "node show n1") == {"n1": "hypervisor, z1"}
    assert {"tab", "tac", "n1"}.isdisjoint(told(served, "service terminate tac --yes-i-mean t"))


@pytest.mark.parametrize("line", ["service show s", "job show ", "node show n", "machine show "])
def test_where_no_controller_runs_nothing_is_said(tmp_path: Path, line: str) -> None:
    assert tab(line, at=tmp_path / "none.sock") == NOTHING


def test_a_controller_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "deaf.sock"))
        deaf.listen()
        assert tab("service show s", at=tmp_path / "deaf.sock") == NOTHING
