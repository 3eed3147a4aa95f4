"""How long a command takes before it does anything, and what an idle controller holds."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.book import Pair, Row, megabytes, pairs, timed, write
from tests.served import ORCHESTRATOR, Served

ROUNDS = 15
LIBRARIES = "dbos, sqlalchemy, fastapi, uvicorn, pydantic, libvirt, paramiko, prometheus_client"


def test_starting_a_command(tmp_path: Path) -> None:
    served = Served(tmp_path)
    try:
        nothing = [sys.executable, "-c", "pass"]
        listing = [*ORCHESTRATOR, "--socket", str(served.socket), "service", "list"]
        help_ = _against([*ORCHESTRATOR, "--help"], nothing)
        listed = _against(listing, nothing)
        httpx = [sys.executable, "-c", "import httpx, click"]
        write(
            "Starting a command",
            "Ours: the whole process, from its start to its end. Bare: `python -c pass`; for the second pair a Python that "
            "only imports the HTTP client and the library for commands.",
            [
                help_.row("`orchestrator --help`"),
                listed.row("`orchestrator service list`"),
                _against(listing, httpx).row("`orchestrator service list`, against `import httpx, click`"),
            ],
        )
    finally:
        served.stop()


def _against(ours: list[str], bare: list[str]) -> Pair:
    def run(command: list[str]) -> float:
        return timed(lambda: subprocess.run(command, check=True, capture_output=True, timeout=60))

    return pairs(lambda: run(ours), lambda: run(bare), rounds=ROUNDS)


def test_the_memory_of_a_controller(tmp_path: Path) -> None:
    command = [sys.executable, "-c", f"import {LIBRARIES}, time; print('ready', flush=True); time.sleep(60)"]
    bare = subprocess.Popen(command, stdout=subprocess.PIPE)
    served = Served(tmp_path)
    try:
        assert bare.stdout is not None
        assert bare.stdout.readline() == b"ready\n"
        time.sleep(2)
        idle, libraries = _resident(served.process.pid), _resident(bare.pid)
        served.enrol("n1")
        for number in range(100):
            served.send("order.created", f"s{number}", client_id="c1", plan="small")
        after = _resident(served.process.pid)
    finally:
        served.stop()
        bare.kill()
        bare.wait(timeout=10)
        if bare.stdout is not None:
            bare.stdout.close()
    write(
        "Memory of a controller",
        f"Resident memory (VmRSS). Bare: a Python that imports the same libraries ({LIBRARIES}) and sleeps.",
        [
            Row("idle", megabytes(idle), megabytes(libraries), f"{idle / libraries:.1f} ×"),
            Row("after a hundred events", megabytes(after), megabytes(libraries), f"{after / libraries:.1f} ×"),
        ],
    )


def _resident(pid: int) -> float:
    """Bytes."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return float(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024
