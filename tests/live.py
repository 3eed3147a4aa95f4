"""A live controller for tests: put together by ``wiring`` over configuration files with simulated nodes, behind a real server
on a unix socket and on TCP.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from svix.webhooks import Webhook

from orchestrator import wiring
from orchestrator.api import server
from orchestrator.api.app import create_app
from orchestrator.api.context import ApiContext
from orchestrator.domain.intents import JobState
from orchestrator.domain.jobs import Job
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.store import jobs, tokens
from tests.store_files import lay_store

SOURCE = "shop"
PLAN = "small"
NODES = ("n1", "n2")
SECRET = "whsec_" + base64.b64encode(b"the newest secret of the shop!!!").decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"the secret before it, still good").decode()
BODY_LIMIT = 16 * 1024
TOLERANCE = timedelta(minutes=5)
START_SECONDS = 10.0
RESTING = (JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.NEEDS_OPERATOR, JobState.WAITING_APPROVAL)
# RFC 8709: the kind and 32 bytes, each behind its length. Nobody has the private half.
_BLOB = b"\0\0\0\x0bssh-ed25519" + b"\0\0\0\x20" + b"no key at all, only its length.."
KEY = f"ssh-ed25519 {base64.b64encode(_BLOB).decode()} admin@example"
CRYPT = "$6$abcdefgh$" + "0123456789" * 8 + "abcdef"

_FILES = {
    "orchestrator.yaml": """
provider: Test Hosting
state_dir: state
socket: api.sock
billing: [{source: shop, secret_files: [secrets/newest, secrets/old]}]
webhooks: {tolerance: 5m, body_limit: 16 KiB}
brakes: {suspensions_per_hour: 1000, terminations_per_hour: 1000}
address_cool_down: 1h
backups: {targets: [{name: main, location: /srv/backup}], drills: 0}
""",
    "nodes.yaml": """
zones:
  - name: z1
nodes:
  - {name: n1, zone: z1, address: 192.0.2.11, driver: fake, backups: main, backups_on_own_node: true}
  - {name: n2, zone: z1, address: 192.0.2.12, driver: fake, maintenance: true}
address_ranges:
  - {name: v4, zone: z1, network: 10.9.0.0/16, gateway: 10.9.0.1, first: 10.9.0.10, last: 10.9.255.250}
  - {name: v6, zone: z1, network: "fd09::/64", gateway: "fd09::1", first: "fd09::10", last: "fd09::ffff"}
""",
    "templates.yaml": f"""
templates:
  - {{name: debian, volume: debian.qcow2, sha256: "{"1" * 64}", size: 2 GiB, ready: running}}
""",
    "plans/small.yaml": """
name: small
kind: vps
vcpus: 1
memory: 1 GiB
disk: 10 GiB
templates: [debian]
""",
}


# For ``Live(files=…)``: a hosting node beside the others, and what is sold on it.
HOSTING = {
    "nodes.yaml": _FILES["nodes.yaml"].replace(
        "address_ranges:",
        "  - {name: h1, zone: z1, address: 192.0.2.21, kind: hosting, driver: fake, backups: main, backups_on_own_node: true}\n"
        "address_ranges:",
    ),
    "plans/web.yaml": """
name: web
kind: hosting
disk: 5 GB
inodes: 100000
cpu_percent: 50
memory: 512 MiB
databases: 1
php: ["8.2"]
""",
}


def write_config(directory: Path, files: Mapping[str, str] | None = None, /, *, nodes: str = "", **changes: str) -> Path:
    """A configuration with two simulated nodes, and ``nodes``, lines of nodes.yaml; ``changes`` replace lines of
    orchestrator.yaml, ``files`` whole other files."""
    for name, content in (_FILES | dict(files or {})).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.replace("address_ranges:", f"{nodes}address_ranges:"), encoding="utf-8")
    main = directory / "orchestrator.yaml"
    kept = [line for line in main.read_text(encoding="utf-8").splitlines() if line.partition(":")[0] not in changes]
    main.write_text("\n".join([*kept, *(f"{key}: {value}" for key, value in changes.items())]) + "\n", encoding="utf-8")
    for name, secret in (("newest", SECRET), ("old", OLD_SECRET)):
        path = directory / "secrets" / name
        path.parent.mkdir(exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secret + "\n", encoding="ascii")
    return directory


def telling(url: str) -> str:
    """For ``billing=``: the shop is told there, signed with its newest secret."""
    told = f"notify_url: {url}, notify_secret_file: secrets/newest"
    return f"[{{source: {SOURCE}, secret_files: [secrets/newest, secrets/old], {told}}}]"


class Talks:
    """What billing and an operator say to a controller over ``http``."""

    http: httpx.Client

    def enrol(self, node: str) -> None:
        """Enrol a simulated node with the key that it presents."""
        keys = self.http.get(f"/v1/nodes/{node}/host-keys").json()["items"]
        body = {"fingerprint": keys[0]["fingerprint"], "identity": "/nowhere/operator"}
        answer = self.http.post(f"/v1/nodes/{node}/enrol", json=body)
        assert answer.status_code == 200, answer.text

    def send(
        self,
        kind: str,
        service_id: str,
        *,
        event_id: str = "",
        secret: str = SECRET,
        source: str = SOURCE,
        said: str = "",
        **data: Any,
    ) -> httpx.Response:
        """Post one event, signed by an independent implementation of Standard Webhooks. ``said``: its own time, ISO 8601."""
        stamp = {"timestamp": said} if said else {}
        body = json.dumps({"type": kind, **stamp, "data": {"service_id": service_id, **data}}, sort_keys=True)
        message_id = event_id or f"msg-{kind}-{service_id}-{data.get('version', 0)}"
        return self.http.post(f"/v1/webhooks/{source}", content=body, headers=sign(message_id, body, secret=secret))

    def order(self, service_id: str) -> str:
        """A paid order; returns its job."""
        answer = self.send("order.paid", service_id, client_id="c1", plan=PLAN, order_id=f"o-{service_id}", ssh_keys=[KEY])
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])


class Live(Talks):
    """A controller that answers. ``http`` talks to the unix socket, ``tcp(token)`` to TCP.

    ``change`` may replace parts of what the API works with before it is served; ``files`` and ``settings`` as ``write_config``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        change: Callable[[ApiContext], ApiContext] | None = None,
        files: Mapping[str, str] | None = None,
        **settings: str,
    ) -> None:
        self.config = wiring.load_config(write_config(directory, files, **settings))
        if "database_url" not in settings:
            lay_store(self.config.settings.state_dir)
        wiring.init(self.config)
        self.controller = wiring.build(self.config)
        self.db = self.controller.db
        self.clock = SystemClock()
        self.socket = self.config.settings.socket
        self._sockets = server.bind(unix_socket=self.socket, listen="127.0.0.1:0")
        self.url = f"http://127.0.0.1:{self._sockets[1].getsockname()[1]}"
        self.context = self.controller.api_context()
        if change is not None:
            self.context = change(self.context)
        self.tokens = {role: self._token(role) for role in tokens.ROLES}
        self.http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket), verify=False), base_url="http://controller", timeout=30
        )
        self._clients = [self.http]
        self._running = threading.Event()
        self.app = create_app(self.context)
        self._server = server.Server(self.app, ready=self._running.set)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": self._sockets}, name="live-server")

    def start(self) -> None:
        """Serve, with the first node enrolled and seen; the second is in maintenance and not enrolled."""
        self.controller.start()
        self._thread.start()
        if not self._running.wait(START_SECONDS):
            raise AssertionError("the server did not start")
        self.enrol("n1")

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(START_SECONDS)
        for sock in self._sockets:
            sock.close()
        self.controller.stop()

    def tcp(self, token: str = "") -> httpx.Client:
        """A client over TCP, with a token or without."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        client = httpx.Client(base_url=self.url, headers=headers, timeout=30, verify=False)
        self._clients.append(client)
        return client

    def provisioned(self, service_id: str) -> str:
        """A paid order whose job has ended well."""
        job_id = self.order(service_id)
        job = self.wait(job_id)
        assert job.state == JobState.DONE, job
        return job_id

    def jobs(self, service_id: str) -> tuple[Job, ...]:
        with self.db.read() as conn:
            return jobs.list_page(conn, limit=500, service_id=service_id)[0]

    def wait(self, job_id: str, *, seconds: float = 15.0) -> Job:
        """The job once it rests; fails the test when that takes too long."""
        until = self.clock.monotonic() + seconds
        while True:
            with self.db.read() as conn:
                job, steps = jobs.get(conn, job_id), jobs.steps(conn, job_id)
            if job.state in RESTING:
                return job
            if self.clock.monotonic() > until:
                raise AssertionError(f"job {job_id} is still {job.state}: {steps}")
            self.clock.sleep(0.02)

    def _token(self, role: str) -> str:
        token = base64.urlsafe_b64encode(os.urandom(32)).decode()
        with self.db.write() as conn:
            tokens.add(conn, name=f"of-{role}", role=role, token=token, now=self.clock.now())
        return token


def sign(message_id: str, body: str, *, secret: str = SECRET, at: datetime | None = None) -> dict[str, str]:
    """The headers of a signed message, sent now by default."""
    moment = at or SystemClock().now()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, moment, body),
        "content-type": "application/json",
    }


def replaced(**parts: Any) -> Callable[[ApiContext], ApiContext]:
    """For ``Live(change=…)``."""
    return lambda context: dataclasses.replace(context, **parts)
