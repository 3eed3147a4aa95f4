"""A controller with dedicated machines: guests of the lab without an operating system, behind a BMC, which are installed, erased
and switched for real. What a machine's tenant left is looked for in the raw files behind its disks.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.billing import Billing
from tests.e2e.demo import Customer
from tests.e2e.site import SECRET, Site, SiteFailed
from tests.e2e.stand import OPEN
from tests.e2e.traces import virsh
from tests.fault.crashing import Board
from tests.lab import bmc as lab_bmc
from tests.lab.bmc import USER, Emulator, Machine
from tests.lab.environment import BRIDGE_V4, Lab
from tests.lab.metal import Metal

PLAN = "metal"
CLASS, OTHER_CLASS = "small-1", "large-1"
DESK = "10.77.0.1:8444"
DISK_BYTES = 192 << 20
MARK_BYTES = 24 << 20
# A machine boots the image in half a minute under emulation, on a busy machine in more.
JOB_SECONDS = 600.0


@dataclass(kw_only=True)
class Tenant:
    """Who has a service, its key, and what is to be found on a disk of his alone."""

    service: str
    owner: Customer
    address: str = ""
    marker: bytes = field(default_factory=lambda: f"the-tenant-wrote-{secrets.token_hex(16)}\n".encode())

    @property
    def key(self) -> str:
        """His public one, made when it is first wanted."""
        public = self.owner.key.with_suffix(".pub")
        return public.read_text(encoding="ascii").strip() if public.exists() else self.owner.make_key()

    def run(self, command: str, *, seconds: float = 120.0) -> str:
        """By SSH, as he does; '' where nobody gets in within the time."""
        return self.owner.login(self.address, command, seconds=seconds)

    def fill(self, *starts: int) -> None:
        """Write his marker over and over, from each of those bytes of the disk on."""
        words = f"yes {self.marker.decode().strip()} | head -c {MARK_BYTES}"
        for start in starts:
            to_disk = f"dd of=/dev/sda bs=1M seek={start >> 20} iflag=fullblock conv=notrunc,fsync 2>/dev/null"
            said = self.run(f"{words} | {to_disk} && echo written", seconds=60)
            assert said == "written", f"{self.service} could not write to his disk: {said}"


@dataclass(kw_only=True)
class Rack:
    """``machines``: those that are declared, the first of class ``CLASS``, further ones of another that nobody sells."""

    site: Site
    board: Board
    emulator: Emulator
    machines: tuple[Machine, ...]
    metal: Metal

    # -- machines ---------------------------------------------

    @property
    def machine(self) -> Machine:
        return self.machines[0]

    def enrol(self, machine: Machine) -> None:
        self.site.cli("machine", "enrol", machine.name, "--fingerprint", self.emulator.certificate_sha256)

    def told(self, machine: Machine) -> Any:
        return self.site.http("GET", f"/v1/machines/{machine.name}").json()

    def until(self, what: str, holds: Callable[[], bool], *, seconds: float = JOB_SECONDS, pause: float = 0.5) -> None:
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                raise SiteFailed(f"{what}: not within {seconds:.0f} s\n{self.consoles()}\n{self.site.tail()}")
            time.sleep(pause)

    def available(self, machine: Machine) -> None:
        """Wait until it has been looked into, and its power is off again."""
        self.until(f"{machine.name} is available", lambda: self.told(machine)["state"] == "available")
        self.until(f"{machine.name} is off", lambda: self.power(machine) == "shut off")

    def power(self, machine: Machine) -> str:
        """As libvirt sees it."""
        return virsh("domstate", machine.name).stdout.strip()

    def found(self, machine: Machine, marker: bytes) -> int:
        """How often it is on the raw disks behind the machine."""
        return sum(path.read_bytes().count(marker) for path in machine.disks)

    def consoles(self) -> str:
        files = [machine.console for machine in self.machines if machine.console.exists()]
        return "\n".join(f"{file}:\n{file.read_text(errors='replace')[-1500:]}" for file in files)

    # -- crashing ---------------------------------------------

    def reaches(self, service: str, *, seconds: float = JOB_SECONDS) -> None:
        """Wait until the service's job stands at its point."""
        self.until(f"{service} at its point", lambda: self.board.reached(service), seconds=seconds, pause=0.1)

    def dies_at(self, point: str, service: str, *, seconds: float = JOB_SECONDS) -> None:
        """Wait until the controller has killed itself at that point, for which it was armed."""
        process = self.site.process
        assert process is not None
        self.until(f"the end at {point}", lambda: process.poll() is not None, seconds=seconds, pause=0.1)
        assert process.returncode == -9, f"the controller ended with {process.returncode}\n{self.site.tail()}"

    # -- services ---------------------------------------------

    def event(self, kind: str, service: str, **data: Any) -> str:
        """Billing says something; the job that it made, or ''."""
        answer = self.site.send(kind, service, **data)
        if answer.status_code not in (200, 202):
            raise SiteFailed(f"{kind} {service}: {answer.status_code} {answer.text}\n{self.site.tail()}")
        return str(answer.json().get("job_id", ""))

    def order(self, tenant: Tenant) -> str:
        name = tenant.service
        told = {"client_id": f"c-{name}", "order_id": f"o-{name}", "hostname": f"{name}.example.com"}
        return self.event("order.paid", name, plan=PLAN, ssh_keys=[tenant.key], **told)

    def job(self, job_id: str) -> Any:
        return self.site.http("GET", f"/v1/jobs/{job_id}").json()

    def rest(self, job_id: str, *, seconds: float = JOB_SECONDS) -> Any:
        """The job once it is over, or needs somebody."""
        self.until(f"job {job_id} ends", lambda: self.job(job_id)["state"] not in OPEN, seconds=seconds)
        return self.job(job_id)

    def done(self, job_id: str, *, seconds: float = JOB_SECONDS) -> Any:
        job = self.rest(job_id, seconds=seconds)
        if job["state"] != "done":
            steps = [(step["id"], step["state"], step.get("error")) for step in job.get("steps", [])]
            ended = f"{job['intent']} ended as {job['state']}: {job.get('error')}\n{steps}"
            raise SiteFailed(f"{ended}\n{self.consoles()}\n{self.site.tail()}")
        return job

    def address_of(self, service: str) -> str:
        lease = self.site.http("GET", f"/v1/services/{service}").json()["facts"]["addresses"]["lease"]
        return str(lease["ipv4"][0]).partition("/")[0]

    def moves_in(self, tenant: Tenant) -> Any:
        """He orders, it is installed, and he is let in."""
        job = self.done(self.order(tenant))
        self.arrives(tenant)
        return job

    def arrives(self, tenant: Tenant) -> None:
        """He logs in by his key."""
        tenant.address = self.address_of(tenant.service)
        name = tenant.run("hostname")  # systemd's own is the short one
        assert name in (tenant.service, f"{tenant.service}.example.com"), self.consoles()

    def tenant(self, service: str) -> Tenant:
        home = self.site.directory / service
        home.mkdir(exist_ok=True)
        return Tenant(service=service, owner=Customer(home))


def entry(machine: Machine, emulator: Emulator, secret: Path, number: int, *, kind: str, url: str = "") -> dict[str, Any]:
    """As machines.yaml has it; ``url``: of what stands before its BMC."""
    bridge, _, bits = BRIDGE_V4.partition("/")
    return {
        "name": machine.name,
        "zone": "lab",
        "class": kind,
        "bmc": url or emulator.url,
        "bmc_user": USER,
        "bmc_secret_file": str(secret),
        "bmc_system": emulator.path(machine),
        "macs": [machine.mac],
        "deploy_address": f"{bridge.rpartition('.')[0]}.{200 + number}/{bits}",
    }


@contextmanager
def standing(
    lab: Lab,
    directory: Path,
    *,
    emulator: Emulator,
    iso: Path,
    metal: Metal,
    numbers: Sequence[int],
    size: int = DISK_BYTES,
    uefi: bool = False,
    url: str = "",
) -> Iterator[Rack]:
    """A controller that serves, with machines of those numbers that nobody has enrolled yet. ``size``: of the disk that each has,
    in bytes; ``url``: of what stands before their BMC."""
    secret = directory / "bmc-secret"
    secret.touch(mode=0o600)
    secret.write_text(emulator.password + "\n", encoding="ascii")
    images = directory / "images"
    images.mkdir()
    installed = metal.installed(images)
    board = Board(directory / "board")
    board.prepare()
    with Billing(SECRET) as billing, ExitStack() as stack:
        machines = tuple(stack.enter_context(lab_bmc.machine(lab, number, size=size, uefi=uefi)) for number in numbers)
        kinds = (CLASS, *[OTHER_CLASS] * (len(machines) - 1))
        site = Site(
            lab=lab,
            directory=directory,
            templates=(),
            plans=(),
            billing=billing,
            main=(sys.executable, "-m", "tests.fault.crashing", str(board.directory)),
            dedicated=({"name": PLAN, "kind": "dedicated", "class": CLASS, "templates": [PLAN]},),
            machines=tuple(
                entry(machine, emulator, secret, number, kind=kind, url=url)
                for machine, number, kind in zip(machines, numbers, kinds, strict=True)
            ),
            raw=(installed.template(PLAN),),
            settings={"deploy": {"listen": DESK, "url": f"https://{DESK}", "image": str(iso), "images": str(images)}},
        )
        try:
            site.prepare()
            site.start()
            yield Rack(site=site, board=board, emulator=emulator, machines=machines, metal=installed)
        finally:
            site.kill()


def verified(rack: Rack, service: str) -> list[dict[str, Any]]:
    """The drives of the service's wipe certificate, which holds by itself."""
    file = rack.site.directory / f"certificate-{service}.json"
    file.write_text(rack.site.cli("certificate", "show", service), encoding="utf-8")
    rack.site.cli("certificate", "verify", str(file))
    told = rack.site.ask("certificate", "show", service)
    volumes: list[dict[str, Any]] = told.get("certificate", told)["volumes"]
    return volumes


def host_reads(path: Path, start: int, length: int) -> bytes:
    """Bytes of a raw disk."""
    done = subprocess.run(
        ["dd", f"if={path}", "bs=1M", "iflag=skip_bytes,count_bytes", f"skip={start}", f"count={length}"],
        capture_output=True,
        check=True,
        timeout=60,
    )
    return done.stdout
