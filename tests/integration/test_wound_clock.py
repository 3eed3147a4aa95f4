"""The controller process whose clock is put forward from outside, on simulated nodes: what ``make demo`` lets time pass with."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from orchestrator.drivers.local.clock import SystemClock
from tests.e2e.billing import Billing
from tests.e2e.wound import Dial
from tests.e2e.wound import Wound as WoundClock
from tests.live import PLAN, SECRET, SOURCE, Talks, sign, write_config
from tests.served import command

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
ROOT = Path(__file__).parents[2]
PRODUCT = ROOT / "orchestrator"


class Wound(Talks):
    """The process over a fresh configuration: simulated nodes, the policy enterpage, a billing system that listens."""

    def __init__(self, directory: Path, billing: Billing, dial: Dial) -> None:
        self.directory, self.billing, self.dial = directory, billing, dial
        write_config(directory)
        main = directory / "orchestrator.yaml"
        content = yaml.safe_load(main.read_text(encoding="utf-8"))
        content["billing"][0] |= {"notify_url": billing.url, "notify_secret_file": "secrets/newest"}
        main.write_text(yaml.safe_dump(content), encoding="utf-8")
        with (directory / "plans" / f"{PLAN}.yaml").open("a", encoding="utf-8") as plan:
            plan.write("policy: enterpage\n")
        (directory / "policies").mkdir()
        shutil.copy(ROOT / "configs/policies/enterpage.yaml", directory / "policies")
        made = command("--config", str(directory), "init")
        assert made.returncode == 0, made.stderr
        self.http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(directory / "api.sock"), verify=False), base_url="http://controller", timeout=30
        )
        self.start()

    def start(self) -> None:
        words = [sys.executable, "-m", "tests.e2e.wound", str(self.dial.directory), "--config", str(self.directory), "serve"]
        said = self.directory / "serve.out"
        with (self.directory / "serve.log").open("ab") as log, said.open("wb") as out:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=log, cwd=ROOT)
        until = time.monotonic() + 30
        while "serving" not in said.read_text(encoding="utf-8"):
            assert self.process.poll() is None, self.log
            assert time.monotonic() < until, self.log
            time.sleep(0.05)

    @property
    def log(self) -> str:
        return (self.directory / "serve.log").read_text(encoding="utf-8")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def tell(self, kind: str, service_id: str, **data: Any) -> httpx.Response:
        body = json.dumps({"type": kind, "data": {"service_id": service_id, **data}})
        now = self.dial.now()
        message_id = f"msg-{kind}-{service_id}-{now.timestamp()}"
        return self.http.post(f"/v1/webhooks/{SOURCE}", content=body, headers=sign(message_id, body, at=now))

    def jobs(self, service_id: str) -> list[tuple[str, str]]:
        found = self.http.get("/v1/jobs", params={"service_id": service_id}).json()["items"]
        return [(job["intent"], job["state"]) for job in reversed(found)]

    def rest(self, service_id: str) -> list[tuple[str, str]]:
        """The service's jobs once none is under way."""
        until = time.monotonic() + 30
        while any(state in ("queued", "running", "undoing") for _, state in self.jobs(service_id)):
            assert time.monotonic() < until, self.log
            time.sleep(0.05)
        return self.jobs(service_id)

    def next(self, service_id: str, action: str) -> datetime:
        """When the forecast says that it falls due."""
        items = self.http.get("/v1/forecast", params={"service_id": service_id}).json()["items"]
        return next(datetime.fromisoformat(act["at"]) for item in items for act in item["acts"] if act["action"] == action)

    def overdue(self, service_id: str) -> datetime:
        """A running service whose invoice is due now."""
        self.order(service_id)
        assert self.rest(service_id) == [("provision", "done")]
        self.dial.wind(self.dial.now() + MINUTE)  # a message says its time in whole seconds: this is after the payment
        due = self.dial.now()
        answer = self.tell("invoice.overdue", service_id, invoice_id="i1", due_at=due.isoformat())
        assert answer.status_code in (200, 202), answer.text
        return due


@pytest.fixture
def wound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wound]:
    directory = tmp_path_factory.mktemp("w")  # a socket's path is short, and the lab's directory is not
    dial = Dial(directory / "dial")
    dial.prepare()
    with Billing(SECRET, now=dial.now) as billing:
        made = Wound(directory / "site", billing, dial)
        made.enrol("n1")
        yield made
        made.http.close()
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait(30)


def test_time_that_is_put_forward_suspends_asks_and_terminates_and_is_no_downtime(wound: Wound) -> None:
    due = wound.overdue("s1")
    wound.dial.wind(due + 2 * DAY - MINUTE)
    assert wound.jobs("s1") == [("provision", "done")]
    wound.dial.wind(due + 2 * DAY + MINUTE)
    assert wound.jobs("s1")[1:] == [("suspend", "done")]
    end = wound.next("s1", "terminate")
    assert due + 9 * DAY <= end <= due + 9 * DAY + 5 * MINUTE
    assert wound.stop() == 0
    wound.start()  # a restart keeps the time
    wound.dial.wind(end - MINUTE)
    assert len(wound.jobs("s1")) == 2
    wound.dial.wind(end + MINUTE)
    assert wound.jobs("s1")[2:] == [("terminate", "waiting_approval")]
    (question,) = [message for message in wound.billing.messages.values() if message["type"] == "termination.confirm"]
    assert (question["data"]["service_id"], question["data"]["policy"]) == ("s1", "enterpage")
    assert wound.billing.refused == 0
    assert wound.tell("termination.confirmed", "s1", job_id=question["data"]["job_id"]).status_code == 202
    assert wound.rest("s1")[2:] == [("terminate", "done")]
    assert wound.http.get("/v1/forecast").json() == {"items": [], "next": None, "notes": []}, "nothing waits: it was never away"
    assert "Traceback" not in wound.log


def test_both_clocks_are_put_ahead_by_the_same() -> None:
    wall, monotonic = SystemClock().now(), SystemClock().monotonic()
    ahead = WoundClock(9 * DAY)
    assert timedelta(0) <= ahead.now() - wall - 9 * DAY < MINUTE
    assert 0 <= ahead.monotonic() - monotonic - (9 * DAY).total_seconds() < 60


def test_what_is_signed_by_another_time_is_not_taken(wound: Wound) -> None:
    wound.dial.wind(wound.dial.now() + 10 * MINUTE)
    assert wound.send("order.paid", "s1", client_id="c1", plan=PLAN, order_id="o1").status_code == 401
    assert wound.tell("order.paid", "s1", client_id="c1", plan=PLAN, order_id="o1").status_code == 202
    wound.rest("s1")
    until = time.monotonic() + 20
    while not wound.billing.messages:
        assert time.monotonic() < until
        time.sleep(0.05)
    stamp = datetime.fromisoformat(next(iter(wound.billing.messages.values()))["timestamp"])
    assert abs(stamp - wound.dial.now()) < 5 * MINUTE


def test_the_product_itself_hands_no_clock_to_what_it_builds() -> None:
    built = [
        (path.relative_to(PRODUCT).as_posix(), call)
        for path in sorted(PRODUCT.rglob("*.py"))
        for call in re.findall(r"wiring\.build\([^)]*\)", path.read_text(encoding="utf-8"))
    ]
    assert built == [("cli/local/setup.py", "wiring.build(config)")]
