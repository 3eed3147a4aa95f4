"""A live controller for tests: the real engine on the simulated node, behind a real server on a unix socket and on TCP."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from svix.webhooks import Webhook

from orchestrator.api import server
from orchestrator.api.app import create_app
from orchestrator.api.context import ApiContext
from orchestrator.api.scrape import Scrape
from orchestrator.config.model import BillingSource, Config, Settings, Zone
from orchestrator.domain.brakes import BrakeLimits
from orchestrator.domain.playbooks import Playbook
from orchestrator.drivers.fake import FakeAgent, FakeEnrolment
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.drivers.local.keys import LocalSecrets
from orchestrator.observe.metrics import Metrics
from orchestrator.steps.base import Step
from orchestrator.store import tokens
from orchestrator.store.address_pool import StoreAddressPool
from orchestrator.store.ledger import StoreLedger
from tests.fault import things
from tests.fault.house import NODES, PLAN, RANGES, SOURCE, TEMPLATE, House, Options, prepared, seeded_world
from tests.store_files import fresh_database

SECRET = "whsec_" + base64.b64encode(b"the newest secret of the shop!!!").decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"the secret before it, still good").decode()
BODY_LIMIT = 16 * 1024
TOLERANCE = timedelta(minutes=5)
START_SECONDS = 10.0


class Live:
    """A controller that answers. ``http`` talks to the unix socket, ``tcp(token)`` to TCP."""

    def __init__(
        self,
        directory: Path,
        *,
        steps: Mapping[str, Step[Any]] | None = None,
        playbooks: Mapping[str, Playbook] | None = None,
        options: Options | None = None,
    ) -> None:
        self.directory = prepared(directory, fresh_database)
        world = seeded_world(directory)
        self.clock = SystemClock()
        self.house = House(
            directory, steps=steps or things.steps(world), playbooks=playbooks or things.playbooks(), options=options
        )
        self.db = self.house.db
        self.config = _config(directory)
        self.socket = self.config.settings.socket
        self._sockets = server.bind(unix_socket=self.socket, listen="127.0.0.1:0")
        self.url = f"http://127.0.0.1:{self._sockets[1].getsockname()[1]}"
        self.context = self._context()
        self.app = create_app(self.context)
        self.tokens = {role: self._token(role) for role in ("admin", "operator", "billing", "readonly")}
        self.http = httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://controller", timeout=30)
        self._clients = [self.http]
        self._running = threading.Event()
        self._server = server.Server(self.app, ready=self._running.set)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": self._sockets}, name="live-server")

    def start(self) -> None:
        self.house.engine.start()
        self._thread.start()
        if not self._running.wait(START_SECONDS):
            raise AssertionError("the server did not start")

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(START_SECONDS)
        for sock in self._sockets:
            sock.close()
        self.house.close()

    def tcp(self, token: str = "") -> httpx.Client:
        """A client over TCP, with a token or without."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        client = httpx.Client(base_url=self.url, headers=headers, timeout=30)
        self._clients.append(client)
        return client

    def send(
        self, kind: str, service_id: str, *, event_id: str = "", secret: str = SECRET, source: str = SOURCE, **data: Any
    ) -> httpx.Response:
        """Post one event, signed by an independent implementation of Standard Webhooks."""
        body = json.dumps({"type": kind, "data": {"service_id": service_id, **data}}, sort_keys=True)
        message_id = event_id or f"msg-{kind}-{service_id}-{abs(hash(body))}"
        return self.http.post(f"/v1/webhooks/{source}", content=body, headers=sign(message_id, body, secret=secret))

    def order(self, service_id: str) -> str:
        """A paid order; returns its job."""
        answer = self.send("order.paid", service_id, client_id="c1", plan=PLAN.name, order_id=f"o-{service_id}")
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    def provisioned(self, service_id: str) -> str:
        """A paid order whose job has ended well."""
        job_id = self.order(service_id)
        job = self.house.wait(job_id)
        assert job.state == "done", job
        return job_id

    def _token(self, role: str) -> str:
        token = base64.urlsafe_b64encode(os.urandom(32)).decode()
        with self.db.write() as conn:
            tokens.add(conn, name=f"of-{role}", role=role, token=token, now=self.clock.now())
        return token

    def _context(self) -> ApiContext:
        addresses = StoreAddressPool(self.db, RANGES, self.clock, timedelta(hours=1))
        scrape = Scrape(self.db, declared=NODES, addresses=addresses, clock=self.clock)
        world = self.house.world
        return ApiContext(
            engine=self.house.engine,
            db=self.db,
            config=self.config,
            secrets=LocalSecrets(self.directory, {b.source: b.secret_files for b in self.config.settings.billing}),
            clock=self.clock,
            addresses=addresses,
            ledger=StoreLedger(self.db, NODES, self.clock),
            enrolment=FakeEnrolment(world),
            doctor=lambda node: FakeAgent(world, node.name).call(
                "doctor", {"pool_path": "/pool", "bridge": node.bridge}, deadline=5
            ),
            metrics=Metrics(snapshot=scrape.snapshot, services=scrape.services),
            server_uid=os.getuid(),
        )


def sign(message_id: str, body: str, *, secret: str = SECRET, at: Any = None) -> dict[str, str]:
    """The headers of a signed message; ``at`` is a datetime, now by default."""
    moment = at or SystemClock().now()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, moment, body),
        "content-type": "application/json",
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _config(directory: Path) -> Config:
    files = []
    for name, secret in (("newest", SECRET), ("old", OLD_SECRET)):
        path = directory / f"secret-{name}"
        path.touch(mode=0o600)
        path.write_text(secret + "\n", encoding="ascii")
        files.append(path)
    settings = Settings(
        provider="Test Hosting",
        timezone="UTC",
        state_dir=directory,
        database_url=f"sqlite:///{directory / 'orchestrator.sqlite'}",
        socket=directory / "api.sock",
        listen="",
        billing=(BillingSource(source=SOURCE, secret_files=tuple(files)),),
        webhook_tolerance=TOLERANCE,
        body_limit_bytes=BODY_LIMIT,
        keep_events=timedelta(days=60),
        brakes=BrakeLimits(suspensions_per_hour=1000, terminations_per_hour=1000),
        address_cool_down=timedelta(hours=1),
        job_threads=4,
        keep_engine_rows=timedelta(days=14),
    )
    return Config(
        directory=directory,
        settings=settings,
        zones=(Zone(name="z1"),),
        nodes=NODES,
        ranges=RANGES,
        templates={TEMPLATE.name: TEMPLATE},
        plans={PLAN.name: PLAN},
    )
