"""A controller in a process of its own, started as operators start it: ``orchestrator init`` and ``orchestrator serve``."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import httpx

from orchestrator.cli.main import run
from orchestrator.drivers.local.clock import SystemClock
from tests.live import Talks, write_config
from tests.store_files import lay_store

ORCHESTRATOR = (sys.executable, "-m", "orchestrator.cli.main")
START_SECONDS = 30.0


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def command(*arguments: str) -> Ran:
    """Run the command line to its end, without a terminal. In this process: an interpreter's start costs more than a command."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(list(arguments))
    return Ran(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


def process(*arguments: str, **environment: str) -> Ran:
    """The same in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    done = subprocess.run(
        [*ORCHESTRATOR, *arguments],
        env=kept | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ran(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)


class Served(Talks):
    """``orchestrator serve WORDS`` over a fresh configuration; its words are in ``said`` and its log in ``log``."""

    def __init__(self, directory: Path, *, words: tuple[str, ...] = (), **settings: str) -> None:
        self.directory = directory
        self._words = words
        self.url = f"http://127.0.0.1:{free_port()}"
        write_config(directory, listen=self.url.removeprefix("http://"), **settings)
        if "database_url" not in settings:
            lay_store(directory / "state")
        made = self.run("init")
        assert made.returncode == 0, made.stderr
        self.socket = directory / "api.sock"
        self._log = directory / "serve.log"
        self._said = directory / "serve.out"
        self.http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket), verify=False), base_url="http://controller", timeout=30
        )
        self.process = self.start()

    def run(self, *arguments: str) -> Ran:
        """One command against this controller and its configuration."""
        return command("--config", str(self.directory), "--socket", str(self.directory / "api.sock"), *arguments)

    def start(self) -> subprocess.Popen[bytes]:
        """Start it (again) and wait until it answers."""
        self._said.unlink(missing_ok=True)
        with self._log.open("ab") as log, self._said.open("ab") as said:
            self.process = subprocess.Popen(
                [*ORCHESTRATOR, "--config", str(self.directory), "serve", *self._words],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=log,
            )
        clock = SystemClock()
        until = clock.monotonic() + START_SECONDS
        while "serving on" not in self.said:
            if self.process.poll() is not None or clock.monotonic() > until:
                raise AssertionError(f"the controller does not serve: {self.log}")
            clock.sleep(0.05)
        return self.process

    @property
    def said(self) -> str:
        return self._said.read_text(encoding="utf-8") if self._said.exists() else ""

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def stop(self) -> None:
        """End it, gracefully first."""
        self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(START_SECONDS)


def free_port() -> int:
    """One of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
