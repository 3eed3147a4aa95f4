"""A customer of shared hosting, seen from outside: his pages, his file transfers, and what his programs do on the node."""

from __future__ import annotations

import http.client
import io
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko

from tests.lab.hosting import HostingNode

PASSWORD = "a password of the lab only"
SECONDS = 90.0
# Each visit is a row; what a customer's script wants, it gets: to fill his disk, or to run a program.
PAGE = """<?php
header('Content-Type: text/plain');
$user = get_current_user();
$db = new mysqli('localhost', $user, '', $user . '_main');
$db->query('create table if not exists visits (at int)');
$db->query('insert into visits values (unix_timestamp())');
echo json_encode(['visits' => (int) $db->query('select count(*) from visits')->fetch_row()[0], 'uid' => posix_getuid()]);
"""
FILL_BYTES = """<?php
header('Content-Type: text/plain');
set_time_limit(300);
$file = fopen(__DIR__ . '/../filling', 'w');
$written = 0;
while ($written < $_GET['most'] && ($more = @fwrite($file, str_repeat('x', 65536))) !== false) { $written += $more; }
echo json_encode(['written' => $written, 'error' => error_get_last()['message'] ?? '']);
"""
FILL_INODES = """<?php
header('Content-Type: text/plain');
set_time_limit(300);
@mkdir(__DIR__ . '/../many');
$made = 0;
while ($made < $_GET['most'] && @touch(__DIR__ . "/../many/$made")) { $made++; }
echo json_encode(['made' => $made, 'error' => error_get_last()['message'] ?? '']);
"""
RUN = """<?php
header('Content-Type: text/plain');
exec('exec >/dev/null 2>&1; setsid perl -e ' . escapeshellarg($_GET['perl']) . ' &');
echo json_encode(['begun' => true]);
"""
SCRIPTS = {"index.php": PAGE, "bytes.php": FILL_BYTES, "inodes.php": FILL_INODES, "run.php": RUN}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str


@dataclass
class Tenant:
    """``user`` is known when his account is there."""

    service: str
    node: HostingNode
    directory: Path
    user: str = ""

    @property
    def domain(self) -> str:
        return f"{self.service}.example"

    @property
    def uid(self) -> int:
        return int(self.user[1:])

    def order(self, plan: str) -> dict[str, Any]:
        """What his order says beside the service."""
        self.directory.mkdir()
        made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.service, "-f", str(self._key)]
        subprocess.run(made, check=True, timeout=30)
        hashed = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, capture_output=True, text=True, check=True)
        return {
            "client_id": f"c-{self.service}",
            "order_id": f"o-{self.service}",
            "plan": plan,
            "domain": self.domain,
            "ssh_keys": [self._key.with_suffix(".pub").read_text().strip()],
            "password_hash": hashed.stdout.strip(),
        }

    # -- his site ---------------------------------------------

    def get(self, path: str = "/", *, seconds: float = SECONDS, tls: bool = False) -> Answer:
        """One request for his domain, at the node's address."""
        client = http.client.HTTPConnection(self.node.address, 80, timeout=seconds)
        try:
            client.request("GET", path, headers={"Host": self.domain})
            got = client.getresponse()
            return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read().decode(errors="replace"))
        finally:
            client.close()

    def ask(self, path: str, *, seconds: float = SECONDS) -> dict[str, Any]:
        """What one of his scripts answers."""
        got = self.get(path, seconds=seconds)
        assert got.status == 200, (got.status, got.body)
        return dict(json.loads(got.body))

    def visit(self) -> int:
        """How many visits his database has counted, this one among them."""
        said = self.ask("/")
        assert said["uid"] == self.uid
        return int(said["visits"])

    def publish(self) -> None:
        """He puts his scripts there himself, over SFTP."""
        with self.sftp() as files:
            for name, text in SCRIPTS.items():
                files.putfo(io.BytesIO(text.encode()), f"/home/sites/main/public/{name}")

    # -- his logins ---------------------------------------------

    @contextmanager
    def sftp(self, *, by_password: bool = False) -> Iterator[paramiko.SFTPClient]:
        """Raises paramiko.AuthenticationException where he is not let in."""
        client = paramiko.SSHClient()
        client.load_host_keys(str(self.node.known_hosts))
        way: dict[str, Any] = {"password": PASSWORD} if by_password else {"key_filename": str(self._key)}
        try:
            client.connect(
                self.node.address, username=self.user, look_for_keys=False, allow_agent=False, timeout=60, auth_timeout=60, **way
            )
            yield client.open_sftp()
        finally:
            client.close()

    def gets_in(self, *, by_password: bool = False) -> bool:
        try:
            with self.sftp(by_password=by_password) as files:
                return bool(files.listdir("/home"))
        except paramiko.SSHException:
            return False

    def database(self, query: str = "SELECT 6 * 7") -> subprocess.CompletedProcess[bytes]:
        """As a program of his asks MariaDB."""
        return self.node.attempt(*self._as_him(), "mariadb", "--no-defaults", f"--user={self.user}", "-N", "-e", query)

    # -- his programs ---------------------------------------------

    def _as_him(self) -> tuple[str, ...]:
        return ("setpriv", "--reuid", str(self.uid), "--regid", str(self.uid), "--clear-groups", "--")

    def begin(self, *argv: str) -> None:
        """A program of his that goes on; it is begun past his slice, as what a suspension must find all the same."""
        words = " ".join(argv)
        self.node.shell(f"setsid {' '.join(self._as_him())} {words} >/dev/null 2>&1 </dev/null &")

    def processes(self) -> list[str]:
        found = self.node.attempt("ps", "-o", "args=", "-U", self.user).stdout.decode().splitlines()
        return [line.strip() for line in found]

    @property
    def home(self) -> str:
        return f"/srv/h/{self.user}/home"

    @property
    def slice(self) -> str:
        return f"/sys/fs/cgroup/orch.slice/orch-{self.user}.slice"

    def kernel(self, name: str) -> str:
        """A file of his slice's control group."""
        return self.node.read(f"{self.slice}/{name}").strip()

    def counted(self, name: str, word: str) -> int:
        """A counter of his slice's kernel file of that name, or of a group's in it."""
        return int(dict(line.split() for line in self.kernel(name).splitlines())[word])

    def refused_processes(self) -> int:
        """How often the kernel let him have no more; it is counted in the group of whoever asked, not of the limit."""
        return self.counted(f"orch-fpm-{self.user}-8.2.service/pids.events", "max")

    @property
    def _key(self) -> Path:
        return self.directory / "key"


@dataclass
class Watcher:
    """Somebody who asks for a tenant's page all the time."""

    tenant: Tenant
    answers: list[tuple[int, float]] = field(default_factory=list)
    """The status (0 = none), and after how many seconds."""

    def __enter__(self) -> Watcher:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=120)

    def _watch(self) -> None:
        while not self._ended.wait(1.0):
            began = time.monotonic()
            try:
                status = self.tenant.get("/").status
            except (OSError, http.client.HTTPException):
                status = 0
            self.answers.append((status, time.monotonic() - began))

    def only_served(self) -> bool:
        """Each of at least three requests was answered with the page."""
        return len(self.answers) >= 3 and {status for status, _ in self.answers} == {200}
