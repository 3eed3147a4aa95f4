"""What ``orchestrator completion`` prints has a real shell complete our commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.served import command

# What bash does when a person types these words and the tabulator.
ASK = """
eval "$1"
COMP_WORDS=(orchestrator {words}) COMP_CWORD={at} COMPREPLY=()
_orchestrator_completion orchestrator
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script_of_its_own(shell: str) -> None:
    done = command("completion", shell)
    assert (done.returncode, f"_ORCHESTRATOR_COMPLETE={shell}_complete" in done.stdout, done.stderr) == (0, True, "")


def test_another_shell_is_refused() -> None:
    assert command("completion", "csh").returncode == 2


@pytest.mark.parametrize(("words", "found"), [("mach", {"machine"}), ("token re", {"revoke"}), ("service list --pl", {"--plan"})])
def test_bash_completes_commands_and_options(tmp_path: Path, words: str, found: set[str]) -> None:
    program = tmp_path / "orchestrator"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m orchestrator.cli.main "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    script = command("completion", "bash").stdout
    asked = ASK.format(words=words, at=len(words.split()))
    done = subprocess.run(
        ["bash", "--norc", "-c", asked, "bash", script],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert set(done.stdout.split()) == found, done.stderr
