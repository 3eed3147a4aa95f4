"""From a webhook to its answer while fifty senders come at once: a controller as it is served, against a bare FastAPI route."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median, quantiles

import httpx

from tests.benchmarks.book import Row, seconds, write
from tests.lab import daemons
from tests.live import KEY, PLAN, SECRET, SOURCE, sign
from tests.served import Served, free_port

SENDERS = 50
EACH = 8
ROUNDS = 5
_NUMBERS = count()


@contextmanager
def bare(directory: Path, *more: str) -> Iterator[str]:
    port = free_port()
    file = str(directory / f"bare{''.join(more)}.sqlite")
    words = [sys.executable, "-m", "tests.benchmarks.bare_webhook", str(port), file, SECRET, *more]
    process = subprocess.Popen(words)
    try:
        daemons.wait_until("the bare route", lambda: _answers(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/").status_code == 404
    except httpx.TransportError:
        return False


def _signed() -> tuple[str, dict[str, str]]:
    service = f"s{next(_NUMBERS)}"
    data = {"service_id": service, "client_id": "c1", "plan": PLAN, "order_id": f"o-{service}", "ssh_keys": [KEY]}
    body = json.dumps({"type": "order.paid", "data": data})
    return body, sign(f"msg-{service}", body, secret=SECRET)


def answered(url: str) -> list[float]:
    """Seconds from each webhook to its answer, all senders at once. All are signed before."""
    given = [[_signed() for _ in range(EACH)] for _ in range(SENDERS)]
    taken: list[float] = []
    ready = threading.Barrier(SENDERS)

    def send(mine: list[tuple[str, dict[str, str]]]) -> None:
        with httpx.Client(base_url=url, timeout=60) as http:
            ready.wait(60)
            for body, headers in mine:
                began = time.perf_counter()
                answer = http.post(f"/v1/webhooks/{SOURCE}", content=body, headers=headers)
                taken.append(time.perf_counter() - began)
                assert answer.status_code == 202, answer.text

    threads = [threading.Thread(target=send, args=(mine,)) for mine in given]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert len(taken) == SENDERS * EACH
    return taken


def test_fifty_senders_at_once(tmp_path: Path) -> None:
    served = Served(tmp_path / "served")
    try:
        with bare(tmp_path) as by_luck, bare(tmp_path, "line") as in_line:
            served.enrol("n1")
            urls = (served.url, by_luck, in_line)
            for url in urls:
                answered(url)
            rounds = [tuple(answered(url) for url in urls) for _ in range(ROUNDS)]
    finally:
        served.stop()
    rows = []
    for against, place in (("", 1), (", theirs written in the order they came", 2)):
        for name, of in (("p50", median), ("p99", lambda taken: quantiles(taken, n=100)[98])):
            found = [(of(each[0]), of(each[place])) for each in rounds]
            ratio = median(ours / theirs for ours, theirs in found)
            ours, theirs = (seconds(median(each)) for each in zip(*found, strict=True))
            rows.append(Row(f"{name}{against}", ours, theirs, f"{ratio:.2f} ×"))
    write(
        "Fifty senders at once",
        f"{SENDERS} senders, {EACH} webhooks `order.paid` each, all at once over TCP. Ours: the controller "
        "as it is served, which begins with the jobs meanwhile: event, record, decision, job, queue entry, audit. Bare: a "
        "FastAPI route that verifies the signature and writes three rows in one transaction, as durable; it does nothing else. "
        "Whoever asks at the right moment has SQLite's lock, so that most of its answers are quick and some wait for nearly all "
        "of the others; ours are taken the newest first, and after half a second without a turn "
        "(docs/decisions/0018-newest-first.md). "
        "With a lock of its own around the transaction theirs are answered in the order they came.",
        rows,
    )
