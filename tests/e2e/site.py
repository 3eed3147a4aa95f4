"""A whole installation inside the lab: configuration, controller process, billing system.

Nothing here reaches into the controller: it is started and ended as a process, operated through its CLI, fed with signed
webhooks over its socket, and looked at from outside.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import yaml
from svix.webhooks import Webhook

from tests.e2e.billing import Billing, machine_time
from tests.lab.environment import Lab
from tests.lab.templates import Installed

SOURCE = "shop"
NODE = "hv1"
START_SECONDS = 120.0  # on a busy machine
POLICIES = Path(__file__).parents[2] / "configs" / "policies"
SECRET = "whsec_" + base64.b64encode(b"a secret of the lab only, 32 byt").decode()


class SiteFailed(Exception):
    """The installation did not do what it was asked; the message holds what it said."""


@dataclass(frozen=True, kw_only=True)
class PlanLine:
    """One plan that the site sells; the values as configs/plans/ takes them."""

    name: str = "small"
    template: str = "debian"
    vcpus: int = 1
    cpu_percent: int = 100
    memory: str = "512 MiB"
    disk: str = "3 GiB"
    disk_rate: str = "200 MB/s"
    disk_iops: int = 5000
    network_rate: int | str = 0
    encrypted: bool = True
    full_copy: bool = False
    policy: str = ""
    """One of those that are shipped; '' = nothing is promised."""


@dataclass(kw_only=True)
class Site:
    """``directory`` holds everything of it. ``main`` is the program that serves (a test may put its own in front), ``now``
    the time that billing signs with.
    """

    lab: Lab
    directory: Path
    templates: tuple[Installed, ...]
    plans: tuple[PlanLine, ...]
    billing: Billing
    ready: dict[str, str] = field(default_factory=dict)
    main: tuple[str, ...] = (sys.executable, "-m", "orchestrator.cli.main")
    now: Callable[[], datetime] = machine_time
    environment: dict[str, str] = field(default_factory=dict)
    cool_down: str = "1s"
    address_count: int = 40
    brakes: dict[str, int] = field(default_factory=lambda: {"suspensions_per_hour": 1000, "terminations_per_hour": 1000})
    settings: dict[str, Any] = field(default_factory=dict)
    """More of orchestrator.yaml."""
    node: dict[str, Any] = field(default_factory=dict)
    """More of the node's entry in nodes.yaml."""
    nodes: tuple[dict[str, Any], ...] = ()
    """The entries of nodes.yaml, where they are not the lab's own machine."""
    hosting: tuple[dict[str, Any], ...] = ()
    """Plans of kind hosting, as configs/plans/ takes them."""
    dedicated: tuple[dict[str, Any], ...] = ()
    """Plans of kind dedicated, likewise."""
    machines: tuple[dict[str, Any], ...] = ()
    """The entries of machines.yaml."""
    raw: tuple[dict[str, Any], ...] = ()
    """The entries in templates.yaml of what machines are installed with."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        return self.directory / "config"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def socket(self) -> Path:
        return self.directory / "api.sock"

    @property
    def log(self) -> Path:
        return self.directory / "controller.log"

    # -- life of the controller ---------------------------------------------

    def prepare(self) -> None:
        """Write the configuration and make keys and database."""
        self.configure()
        self.cli("init")

    def configure(self) -> None:
        """Write the configuration; a controller reads it when it starts."""
        (self.config / "plans").mkdir(parents=True, exist_ok=True)
        for name in ("webhook", "notify"):
            secret = self.directory / f"{name}.secret"
            secret.touch(mode=0o600)
            secret.write_text(SECRET + "\n", encoding="ascii")
        files: dict[str, Any] = {
            "orchestrator.yaml": self._orchestrator(),
            "nodes.yaml": self._nodes(),
            "machines.yaml": {"machines": list(self.machines)},
            "templates.yaml": {"templates": [*map(self._template, self.templates), *self.raw]},
        }
        sold = (*(_plan(plan) for plan in self.plans), *self.hosting, *self.dedicated)
        files |= {f"plans/{plan['name']}.yaml": plan for plan in sold}
        for name, content in files.items():
            (self.config / name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        named = {plan["policy"] for plan in sold if "policy" in plan}
        for name in sorted({*named, "default"} if named else ()):  # where there are policies, the other plans' is one of them
            (self.config / "policies").mkdir(exist_ok=True)
            shutil.copy(POLICIES / f"{name}.yaml", self.config / "policies")

    def start(self) -> None:
        """Start the controller and wait until it answers."""
        process = self.launch()
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if process.poll() is not None:
                raise SiteFailed(f"the controller ended with {process.returncode}:\n{self.tail()}")
            if self._answers():
                return
            time.sleep(0.05)
        raise SiteFailed(f"the controller does not answer after {START_SECONDS:.0f} s:\n{self.tail()}")

    def launch(self) -> subprocess.Popen[bytes]:
        """Start it, and look no further: it may be about to be killed."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.main, "--config", str(self.config), "serve"],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=os.environ | self.environment,
            )
        return self.process

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=30)
            self.process = None

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise SiteFailed(f"the controller did not end on SIGTERM:\n{self.tail()}") from None
        self.process = None
        return code

    def tail(self, characters: int = 4000) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-characters:] if self.log.exists() else ""

    # -- operating it ---------------------------------------------

    def run(self, *words: str, seconds: float = 120.0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """One CLI command; its exit code is for the caller to judge."""
        command = [sys.executable, "-m", "orchestrator.cli.main", "--config", str(self.config), "--socket", str(self.socket)]
        return subprocess.run(
            [*command, *words], input=stdin, capture_output=True, text=True, timeout=seconds, env=os.environ | self.environment
        )

    def cli(self, *words: str, seconds: float = 120.0) -> str:
        """One CLI command that has to succeed; what it printed."""
        done = self.run(*words, seconds=seconds)
        if done.returncode != 0:
            raise SiteFailed(f"orchestrator {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def ask(self, *words: str) -> Any:
        """One CLI command with --json, parsed."""
        return json.loads(self.cli(*words, "--json"))

    def enrol(self, node: str = NODE) -> Any:
        """Enrol the lab's machine as a node; the report."""
        fingerprint = next(key["fingerprint"] for key in self.ask("node", "host-keys", node)["items"])
        identity = str(self.lab.ssh_identity)
        return json.loads(
            self.cli("node", "enrol", node, "--identity", identity, "--fingerprint", fingerprint, "--json", seconds=300.0)
        )

    def wait_for_node(self, node: str = NODE, *, seconds: float = 60.0) -> None:
        """Until the controller has seen the node up."""
        until = time.monotonic() + seconds
        while not self.ask("node", "show", node)["up"]:
            if time.monotonic() > until:
                raise SiteFailed(f"the node {node} does not come up: {self.ask('node', 'show', node)}")
            time.sleep(0.3)

    def send(self, kind: str, service_id: str, *, event_id: str = "", **data: Any) -> httpx.Response:
        """Post one signed event."""
        body = json.dumps({"type": kind, "data": {"service_id": service_id, **data}}, sort_keys=True)
        message_id = event_id or f"msg_{kind}_{service_id}_{time.time_ns()}"
        now = self.now()
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(SECRET).sign(message_id, now, body),
            "content-type": "application/json",
        }
        with self._http() as http:
            return http.post(f"/v1/webhooks/{SOURCE}", content=body, headers=headers)

    def http(self, method: str, path: str, *, key: str = "", **given: Any) -> httpx.Response:
        """One request to the API, as the operator who runs it; ``key``: its Idempotency-Key."""
        with self._http() as http:
            return http.request(method, path, headers={"idempotency-key": key} if key else {}, **given)

    def job(self, job_id: str) -> Any:
        return self.ask("job", "show", job_id)

    def wait_for_job(self, job_id: str, *, seconds: float = 400.0) -> Any:
        """The job once it has come to an end or needs somebody."""
        until = time.monotonic() + seconds
        while True:
            job = self.job(job_id)
            if job["state"] not in ("queued", "running", "undoing"):
                return job
            if time.monotonic() > until:
                raise SiteFailed(f"job {job_id} does not end: {json.dumps(job, indent=1)}\n{self.tail()}")
            time.sleep(0.3)

    # -- inside ---------------------------------------------

    def _http(self) -> httpx.Client:
        # Asked ten times a second: nothing is to be verified, and to read the authorities of the web takes 30 ms each time.
        transport = httpx.HTTPTransport(uds=str(self.socket), verify=False)
        return httpx.Client(transport=transport, base_url="http://controller", timeout=30)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:  # httpx leaves a socket open where nobody listens yet
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
        try:
            return self.http("GET", "/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def _orchestrator(self) -> dict[str, Any]:
        return {
            "provider": "Lab Hosting",
            "timezone": "Asia/Jakarta",
            "state_dir": str(self.state),
            "socket": str(self.socket),
            "billing": [
                {
                    "source": SOURCE,
                    "secret_files": [str(self.directory / "webhook.secret")],
                    "notify_url": self.billing.url,
                    "notify_secret_file": str(self.directory / "notify.secret"),
                }
            ],
            "brakes": self.brakes,
            "address_cool_down": self.cool_down,
            **self.settings,
        }

    def _nodes(self) -> dict[str, Any]:
        last = 9 + self.address_count
        return {
            "zones": [{"name": "lab"}],
            "nodes": list(self.nodes) or [self._lab_node()],
            "address_ranges": [
                {
                    "name": "lab-v4",
                    "zone": "lab",
                    "network": "10.77.0.0/24",
                    "gateway": "10.77.0.1",
                    "first": "10.77.0.10",
                    "last": f"10.77.0.{last}",
                },
                {
                    "name": "lab-v6",
                    "zone": "lab",
                    "network": "fd77::/64",
                    "gateway": "fd77::1",
                    "first": "fd77::10",
                    "last": "fd77::ffff",
                },
            ],
        }

    def _lab_node(self) -> dict[str, Any]:
        return {
            "name": NODE,
            "zone": "lab",
            "address": self.lab.ssh_address,
            "port": self.lab.ssh_port,
            "pool": self.lab.pool,
            "bridge": self.lab.bridge,
            "cpu_ratio": 20,
            "disk_ratio": 10,
            **self.node,
        }

    def _template(self, template: Installed) -> dict[str, Any]:
        return {
            "name": template.name,
            "volume": template.volume,
            "sha256": template.sha256,
            "size": template.size,
            "kernel": template.kernel.name,
            "initrd": template.initrd.name,
            "kernel_arguments": template.kernel_arguments,
            "agent": template.name == "debian",
            "ready": self.ready.get(template.name, "ssh"),
        }


def _plan(plan: PlanLine) -> dict[str, Any]:
    promised = {"policy": plan.policy} if plan.policy else {}
    return {
        **promised,
        "name": plan.name,
        "kind": "vps",
        "vcpus": plan.vcpus,
        "cpu_percent": plan.cpu_percent,
        "memory": plan.memory,
        "disk": plan.disk,
        "disk_rate": plan.disk_rate,
        "disk_iops": plan.disk_iops,
        "network_rate": plan.network_rate,
        "encrypted": plan.encrypted,
        "full_copy": plan.full_copy,
        "templates": [plan.template],
    }
