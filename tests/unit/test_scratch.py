"""Tests write into memory where there is room, and leave nothing there."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scratch.sh"
TELL = 'echo "$TMPDIR"; touch "$TMPDIR/left-behind"; '


def test_a_command_has_its_temporary_files_in_memory_and_its_exit_code_is_passed_on() -> None:
    done = subprocess.run([SCRIPT, "sh", "-c", f"{TELL} exit 7"], capture_output=True, text=True, timeout=30, check=False)
    scratch = Path(done.stdout.strip())
    assert done.returncode == 7
    assert scratch.parent == Path("/dev/shm") or not os.access("/dev/shm", os.W_OK)
    assert not (scratch / "left-behind").exists()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_nothing_stays_after_an_interruption(sent: signal.Signals) -> None:
    started = subprocess.Popen(
        [SCRIPT, "sh", "-c", f"{TELL} exec sleep 60"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert started.stdout is not None
    scratch = Path(started.stdout.readline().strip())
    os.killpg(started.pid, sent)  # as a terminal does
    assert started.wait(30) != 0
    started.stdout.close()
    assert not (scratch / "left-behind").exists()
