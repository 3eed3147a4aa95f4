"""The Debian package on a server with systemd: its unit starts, may do what it needs and nothing else, and comes back.

The server is one of the lab's hosting nodes. It has no network but the lab's, so that of what the package depends on libvirt's
library and restic are this machine's own, which is of the same release.
"""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.lab import hosting
from tests.lab.daemons import wait_until
from tests.lab.environment import Lab
from tests.lab.hosting import HostingNode
from tests.lab.neighbour import Neighbour
from tests.live import HOSTING, Talks, write_config
from tests.terminal import command_on_a_terminal, cooked, shows

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
NUMBER = 7  # among the lab's hosting nodes
STATE = "/var/lib/orchestrator"
SOCKET = "/run/orchestrator/api.sock"
LISTEN = "127.0.0.1:8080"
UNIT = "orchestrator.service"
SECONDS = 300.0  # an emulated processor needs half a minute to import what a real one does in two seconds
LIBRARIES = ("libvirt.so.0", "libvirt-qemu.so.0", "libvirt-lxc.so.0")
BARRED = (
    ("touch", "/etc/orchestrator/x"),
    ("touch", "/usr/x"),
    ("cat", "/etc/shadow"),
    ("ls", "/dev/vda"),
    ("cat", "/proc/1/status"),
    ("unshare", "--user", "true"),
)
# What the unit says of a process's rights, and not of how it is started.
RIGHTS = re.compile(
    r"(?m)^((?:User|Group|UMask|NoNew|Capability|Ambient|Protect|Private|Device|Lock|Restrict[A-Z]|RemoveIPC|SystemCall)\w*=.*)$"
)


@dataclass
class Unit(Talks):
    """The controller of a server's unit. ``http`` talks to its socket, through SSH."""

    node: HostingNode
    http: httpx.Client

    def orchestrator(self, *words: str) -> str:
        """A command of root."""
        return self.node.run("orchestrator", *words, seconds=SECONDS)

    def systemctl(self, *words: str) -> str:
        return self.node.run("systemctl", *words, seconds=SECONDS)

    def shown(self, name: str) -> str:
        """A property of the unit, as systemd has it."""
        return self.node.run("systemctl", "show", "--value", "--property", name, UNIT).strip()

    def journal(self) -> str:
        return self.node.run("journalctl", "--no-pager", "--unit", UNIT, "--output", "cat")

    def serves(self) -> None:
        """Wait until it takes work."""

        def ready() -> bool:
            assert self.shown("ActiveState") in ("active", "activating"), self.journal()
            try:
                return self.http.get("/readyz").status_code == 200
            except httpx.HTTPError:
                return False

        wait_until("the controller", ready, seconds=SECONDS)

    def job(self, job_id: str) -> Any:
        return self.http.get(f"/v1/jobs/{job_id}").json()

    def ended(self, job_id: str) -> Any:
        wait_until(f"the job {job_id}", lambda: self.job(job_id)["state"] not in ("queued", "running"), seconds=SECONDS)
        return self.job(job_id)

    def restricted(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """A program with the rights of the unit and no others, as those have that the controller starts."""
        rights = RIGHTS.findall(self.node.read(f"/lib/systemd/system/{UNIT}"))
        assert len(rights) > 20
        given = [word for right in (*rights, "StateDirectory=orchestrator", "StateDirectoryMode=0700") for word in ("-p", right)]
        return self.node.attempt("systemd-run", "--quiet", "--wait", "--pipe", "--collect", *given, *words)


@pytest.fixture(scope="module")
def server(lab: Lab, package: Path) -> Iterator[HostingNode]:
    """With the package, and what this test's machine has of its dependencies."""
    with hosting.running(lab, NUMBER) as node:
        node.run("tar", "-C", "/", "-xf", "-", stdin=_missing(node), seconds=SECONDS)
        node.run("ldconfig")
        node.write("/run/package.deb", package.read_bytes())
        # (dpkg knows only of packages, and libvirt0 is there as its files.)
        said = node.run("dpkg", "-i", "--force-depends", "/run/package.deb", seconds=SECONDS)
        assert "samples are in /etc/orchestrator" in said
        yield node


@pytest.fixture(scope="module")
def unit(server: HostingNode, second_machine: Neighbour, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unit]:
    """The unit, which serves. A simulated hypervisor, a real one and the server itself are nodes that are not enrolled yet."""
    files, there = dict(HOSTING), second_machine.lab
    at = f"address: {there.ssh_address}, port: {there.ssh_port}"
    files["nodes.yaml"] = files["nodes.yaml"].replace(
        "address_ranges:",
        f"  - {{name: web1, zone: z1, address: {server.address}, kind: hosting}}\n"
        f"  - {{name: hv1, zone: z1, {at}, pool: {there.pool}, bridge: {there.bridge}}}\n"
        "address_ranges:",
    )
    made = write_config(tmp_path_factory.mktemp("config"), files, state_dir=STATE, socket=SOCKET, listen=LISTEN)
    server.run("sh", "-c", "rm -r /etc/orchestrator/*.yaml /etc/orchestrator/plans /etc/orchestrator/policies")
    packed = _packed({path: path.name for path in made.iterdir()})
    server.run("tar", "-C", "/etc/orchestrator", "--no-same-owner", "-xf", "-", stdin=packed)
    server.run("chmod", "755", "/etc/orchestrator/plans")
    server.run("chown", "-R", "orchestrator:", "/etc/orchestrator/secrets")
    server.run("runuser", "-u", "orchestrator", "--", "orchestrator", "init", seconds=SECONDS)
    server.run("systemctl", "enable", "--now", UNIT, seconds=SECONDS)
    local = tmp_path_factory.mktemp("s") / "api"
    with server.forwarded(local, SOCKET):
        transport = httpx.HTTPTransport(uds=str(local), verify=False)
        with httpx.Client(transport=transport, base_url="http://controller", timeout=SECONDS) as http:
            unit = Unit(node=server, http=http)
            yield unit


def _packed(files: dict[Path, str]) -> bytes:
    """A tarball: what goes where."""
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w", dereference=True) as archive:
        for source, target in files.items():
            archive.add(source, target)
    return into.getvalue()


def _missing(node: HostingNode) -> bytes:
    """restic, and the libraries of libvirt0 and of what it depends on, as far as the server does not have them."""
    place = Path("/usr/lib/x86_64-linux-gnu")
    libraries = {place / name for name in LIBRARIES}
    for name in LIBRARIES:
        said = subprocess.run(["ldd", str(place / name)], capture_output=True, text=True, check=True, timeout=60).stdout
        libraries |= {Path(found) for found in re.findall(r"=> (/\S+)", said)}
    known = "".join(f"{path}\n" for path in sorted(libraries))
    script = "while read -r path; do test -e $path || echo $path; done"
    wanted = node.run("sh", "-c", script, stdin=known.encode()).split()
    return _packed({Path(path): path.lstrip("/") for path in (*wanted, "/usr/bin/restic")})


def test_it_serves_with_its_own_user_and_no_rights(unit: Unit) -> None:
    pid = unit.shown("MainPID")
    status = dict(line.split(":\t", 1) for line in unit.node.read(f"/proc/{pid}/status").splitlines() if ":\t" in line)
    assert (int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"], status["Seccomp"]) == (0, 0, "1", "2")
    assert unit.node.run("ps", "-o", "user=", "-p", pid).strip().startswith("orchestr")
    assert unit.node.run("stat", "-c", "%U %G %a", SOCKET).strip() == "orchestrator orchestrator 660"
    exposed = re.search(r"exposure level for \S+: (\S+)", unit.node.run("systemd-analyze", "security", "--no-pager", UNIT))
    assert exposed is not None
    assert float(exposed[1]) <= 1.6


def test_the_doctor_of_root_finds_nothing_wrong_with_it(unit: Unit) -> None:
    said = unit.node.attempt("orchestrator", "doctor", seconds=SECONDS).stdout.decode()
    assert "PROBLEM" not in said
    assert re.search(r"ok +controller +ready", said)


def test_a_job_that_is_under_way_at_a_kill_is_done_by_the_process_that_systemd_starts(unit: Unit) -> None:
    unit.enrol("n1")
    wait_until("the node n1", lambda: bool(unit.http.get("/v1/nodes/n1").json()["up"]), seconds=SECONDS)
    before = unit.shown("MainPID")
    job_id = unit.order("shop-1")
    unit.systemctl("kill", "--signal", "KILL", UNIT)
    wait_until("the process that systemd starts", lambda: unit.shown("MainPID") not in ("0", before), seconds=SECONDS)
    assert int(unit.shown("NRestarts")) >= 1
    unit.serves()
    assert unit.ended(job_id)["state"] == "done"


def enrolled(unit: Unit, name: str, key: bytes) -> subprocess.CompletedProcess[bytes]:
    """As docs/install.md says it: the operator lends the controller's user a key."""
    lent = "/run/orchestrator/lent"
    unit.node.write("/root/lent", key, mode=0o600)
    unit.node.run("install", "-o", "orchestrator", "-m", "0600", "/root/lent", lent)
    try:
        (shown, *_) = unit.http.get(f"/v1/nodes/{name}/host-keys").json()["items"]
        words = ("node", "enrol", name, "--identity", lent, "--fingerprint", shown["fingerprint"])
        return unit.node.attempt("orchestrator", *words, seconds=SECONDS)
    finally:
        unit.node.run("rm", "/root/lent", lent)


def test_it_enrols_a_hypervisor_and_sees_it_up(unit: Unit, second_machine: Neighbour) -> None:
    """Over SSH by itself, and over libvirt, whose library starts an ssh of its own."""
    said = enrolled(unit, "hv1", second_machine.path(second_machine.lab.ssh_identity).read_bytes())
    assert b"hv1 is enrolled" in said.stdout, said.stderr
    wait_until("the node hv1", lambda: bool(unit.http.get("/v1/nodes/hv1").json()["up"]), seconds=SECONDS)


def test_its_own_machine_is_no_hosting_node(unit: Unit) -> None:
    """What customers run would run beside its keys, and the unit clears the directory in which their sockets are."""
    said = enrolled(unit, "web1", unit.node.key.read_bytes())
    assert said.returncode != 0
    assert re.search(rb"no controller +/usr/lib/systemd/system/orchestrator.service +take another machine", said.stdout), said
    assert unit.node.attempt("test", "-e", "/etc/nginx/orchestrator").returncode != 0, "nothing was prepared"


def test_what_it_starts_works_with_its_rights_and_reaches_nothing_else(unit: Unit) -> None:
    """ssh, by which libvirt's library reaches a hypervisor; restic, by which it copies its own state."""
    key = f"{STATE}/lent"
    unit.node.write(key, unit.node.key.read_bytes(), mode=0o600)
    unit.node.run("chown", "orchestrator:", key)
    asked = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null")
    options = [word for option in asked for word in ("-o", option)]
    ssh = unit.restricted("ssh", "-F", "none", "-i", key, *options, f"root@{unit.node.address}", "hostname")
    assert (ssh.returncode, ssh.stdout.decode().strip()) == (0, unit.node.name), ssh.stderr
    place = f"{STATE}/tried"
    unit.node.write("/etc/orchestrator/secrets/tried", "a password\n", mode=0o644)
    restic = ("restic", "--repo", place, "--password-file", "/etc/orchestrator/secrets/tried", "--no-cache")
    for words in (("init",), ("backup", f"{STATE}/keys"), ("check",)):
        done = unit.restricted(*restic, *words)
        assert done.returncode == 0, done.stderr
    for barred in BARRED:
        assert unit.restricted(*barred).returncode != 0, barred
    unit.node.run("rm", "-r", place, key, "/etc/orchestrator/secrets/tried")


def test_behind_nginx_consoles_come_through(unit: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/install.md has it: nginx speaks TLS, and passes on to the loopback; by an operator's token from another machine."""
    (server,) = re.findall(r"(?s)```nginx\n(.*?)```", (ROOT / "docs" / "install.md").read_text(encoding="utf-8"))
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    made = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=controller")
    files = ("-addext", f"subjectAltName=IP:{unit.node.address}", "-keyout", str(key), "-out", str(certificate))
    subprocess.run(["openssl", *made, *files], check=True, capture_output=True, timeout=60)
    unit.node.write("/etc/ssl/certs/orchestrator.pem", certificate.read_bytes())
    unit.node.write("/etc/ssl/private/orchestrator.key", key.read_bytes(), mode=0o600)
    unit.node.write("/etc/nginx/conf.d/orchestrator.conf", server)
    unit.systemctl("reload", "nginx")
    create = ("orchestrator", "token", "create", "panel", "--role", "operator", "--json")
    token = json.loads(unit.node.run("runuser", "-u", "orchestrator", "--", *create, seconds=SECONDS))["token"]
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").write_text(token, encoding="ascii")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    there = ("--url", f"https://{unit.node.address}", "--token-file", str(tmp_path / "token"))
    with command_on_a_terminal(*there, "service", "console", "shop-1") as (process, screen):
        shows(screen, b"Ctrl-] ends it", seconds=SECONDS)
        wait_until("its keys are the guest's", lambda: not cooked(screen))  # else what comes is the terminal's own echo
        os.write(screen, b"who-is-there")
        shows(screen, b"who-is-there", seconds=SECONDS)
        os.write(screen, b"\x1d")
        shows(screen, b"is closed", seconds=SECONDS)
        assert process.wait(SECONDS) == 0


def upgraded(unit: Unit) -> str:
    """What dpkg says, of the same package over itself."""
    done = unit.node.attempt("dpkg", "-i", "--force-depends", "/run/package.deb", seconds=SECONDS)
    assert done.returncode == 0, done.stderr
    return (done.stdout + done.stderr).decode()


def test_an_upgrade_starts_it_again_and_ends_when_it_serves(unit: Unit) -> None:
    before = unit.shown("MainPID")
    assert "not started" not in upgraded(unit)
    assert unit.http.get("/readyz").status_code == 200
    assert unit.shown("MainPID") not in ("0", before)


def test_an_upgrade_over_older_tables_says_that_it_waits_for_them(unit: Unit, tmp_path: Path) -> None:
    older, store = tmp_path / "older", f"{STATE}/orchestrator.sqlite"
    with closing(sqlite3.connect(older)) as database:
        database.executescript((ROOT / "tests/data/stores/r0027.sql").read_text(encoding="utf-8"))
    unit.systemctl("stop", UNIT)
    unit.node.run("mv", store, f"{store}.kept")
    unit.node.write(store, older.read_bytes(), mode=0o600)
    unit.node.run("chown", "orchestrator:", store)
    unit.node.run("touch", "/run/orchestrator.was-running")  # as the older package left it, whose tables these are
    said = upgraded(unit)
    assert "not started" in said
    assert "orchestrator migrate" in said
    assert (unit.shown("ActiveState"), unit.shown("ExecMainStatus")) == ("failed", "2")
    unit.node.run("mv", f"{store}.kept", store)
    unit.systemctl("start", UNIT)


def test_with_files_that_cannot_be_used_it_stays_down_and_says_which(unit: Unit) -> None:
    place = "/etc/orchestrator/plans/small.yaml"
    before = unit.node.read(place)
    unit.node.write(place, before.replace("vcpus: 1", "vcpus: many"))
    assert unit.node.attempt("systemctl", "restart", UNIT, seconds=SECONDS).returncode != 0
    assert (unit.shown("ActiveState"), unit.shown("ExecMainStatus"), unit.shown("NRestarts")) == ("failed", "2", "0")
    assert f"{place}:" in unit.journal()
    unit.node.write(place, before)
    unit.systemctl("start", UNIT)
    assert unit.http.get("/readyz").status_code == 200


def test_it_ends_in_order_and_is_taken_away(unit: Unit) -> None:
    """The last one here: the package is gone after it."""
    unit.systemctl("stop", UNIT)
    assert (unit.shown("Result"), unit.shown("ExecMainStatus")) == ("success", "0")
    unit.systemctl("start", UNIT)
    unit.node.run("dpkg", "-r", "orchestrator", seconds=SECONDS)
    assert unit.node.attempt("systemctl", "is-active", UNIT).stdout.strip() in (b"inactive", b"failed")
    assert unit.node.attempt("systemctl", "is-enabled", UNIT).returncode != 0
    unit.node.run("test", "-s", f"{STATE}/orchestrator.sqlite")
