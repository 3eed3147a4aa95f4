"""Debian's Prometheus, on the loopback, in a directory of its own, that scrapes a controller as the shipped file says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.lab.daemons import wait_until
from tests.served import free_port

SHIPPED = Path(__file__).parents[1] / "configs" / "prometheus"
START_SECONDS = 60.0


class Prometheus:
    """``ask`` puts a query to it."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)

    def ready(self) -> bool:
        try:
            return self._http.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str, **parameters: str) -> Any:
        answer = self._http.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """The series of an instant query, each with its value."""
        return [(each["metric"], float(each["value"][1])) for each in self.get("query", query=query)["result"]]

    def close(self) -> None:
        self._http.close()


def configured(
    directory: Path, *, targets: str, token: str, change: Callable[[dict[str, Any]], None] = lambda _job: None
) -> Path:
    """The shipped configuration for this controller; ``change`` may alter each of its jobs."""
    written: dict[str, Any] = yaml.safe_load((SHIPPED / "prometheus.yaml").read_text(encoding="utf-8"))
    written["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    written["rule_files"] = [str(SHIPPED / name) for name in written["rule_files"]]
    secret = directory / "token"
    secret.touch(mode=0o600)
    secret.write_text(token, encoding="ascii")
    for job in written["scrape_configs"]:
        job |= {"scheme": "http", "scrape_interval": "1s"}
        job["authorization"]["credentials_file"] = str(secret)
        job["static_configs"] = [{"targets": [targets]}]
        change(job)
    path = directory / "prometheus.yaml"
    path.write_text(yaml.safe_dump(written), encoding="utf-8")
    return path


@contextmanager
def scraping(config: Path) -> Iterator[Prometheus]:
    """One that runs until the block ends; its data lies beside its configuration."""
    address = f"127.0.0.1:{free_port()}"
    said = config.with_suffix(".log")
    with said.open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={config.parent / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    prometheus = Prometheus(f"http://{address}")
    try:
        wait_until("Prometheus", prometheus.ready, seconds=START_SECONDS, log=said)
        yield prometheus
    finally:
        prometheus.close()
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
