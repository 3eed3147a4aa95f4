"""A controller in a process of its own, started as operators start it: ``orchestrator init`` and ``orchestrator serve``."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

from orchestrator.drivers.local.clock import SystemClock
from tests.live import Talks, write_config

ORCHESTRATOR = (sys.executable, "-m", "orchestrator.cli.main")
START_SECONDS = 30.0


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end, without a terminal."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    return subprocess.run(
        [*ORCHESTRATOR, *arguments],
        env=kept | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Served(Talks):
    """``orchestrator serve`` over a fresh configuration; its words are in ``said`` and its log in ``log``."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.url = f"http://127.0.0.1:{_free_port()}"
        write_config(directory, listen=self.url.removeprefix("http://"), **settings)
        made = self.run("init")
        assert made.returncode == 0, made.stderr
        self.socket = directory / "api.sock"
        self._log = directory / "serve.log"
        self._said = directory / "serve.out"
        self.http = httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://controller", timeout=30)
        self.process = self.start()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command against this controller and its configuration."""
        return command(*arguments, ORCHESTRATOR_CONFIG=str(self.directory), ORCHESTRATOR_SOCKET=str(self.directory / "api.sock"))

    def start(self) -> subprocess.Popen[bytes]:
        """Start it (again) and wait until it answers."""
        self._said.unlink(missing_ok=True)
        with self._log.open("ab") as log, self._said.open("ab") as said:
            self.process = subprocess.Popen(
                [*ORCHESTRATOR, "--config", str(self.directory), "serve"], stdin=subprocess.DEVNULL, stdout=said, stderr=log
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
