"""What becomes of real backups when their services end: destroyed with their keys, or kept as the archive until its day."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.drivers.local.certificates import verify_certificate
from tests.e2e import sight
from tests.e2e.billing import Billing
from tests.e2e.site import SECRET, PlanLine, Site
from tests.e2e.stand import COPIES, SMALL, Stand, patient
from tests.e2e.wound import Dial
from tests.fault.crashing import Board
from tests.lab import tiny
from tests.lab.environment import Lab
from tests.lab.templates import Installed

pytestmark = pytest.mark.timeout(900)
KEPT = PlanLine(name="kept", template="tiny", memory="112 MiB", disk="160 MiB", encrypted=False, policy="herza")
OFFSETS = (1 << 20, (70 << 20) + 512, 150 << 20)
DAYS = timedelta(days=5)  # herza: so long an archive is kept
CACHES = Path("/var/lib/orchestrator-agent/restic/cache")


@dataclass(frozen=True)
class Ground:
    """``others``: the caches that tests before this one have left in the lab."""

    stand: Stand
    dial: Dial
    copies: Path
    others: frozenset[str]

    def caches(self) -> list[str]:
        """What the node keeps of this ground's repositories, by whatever name."""
        return sorted(_caches() - self.others)


@pytest.fixture
def ground(lab: Lab, tiny_template: Installed, tmp_path: Path) -> Iterator[Ground]:
    """A controller whose clock the test winds, and a node with a target for backups."""
    dial, copies = Dial(tmp_path / "dial"), tmp_path / "copies"
    dial.prepare()
    copies.mkdir()
    others = _caches()
    with Billing(SECRET) as billing:
        site = Site(
            lab=lab,
            directory=tmp_path,
            templates=(patient(tiny_template),),
            plans=(SMALL, KEPT),
            billing=billing,
            main=(sys.executable, "-m", "tests.e2e.wound", str(dial.directory)),
            now=dial.now,
            settings={"backups": {"targets": [{"name": COPIES, "location": str(copies)}]}},
            node={"cpu_ratio": 100, "memory_ratio": 4, "backups": COPIES, "backups_on_own_node": True},
        )
        board = Board(tmp_path / "board")
        board.prepare()
        stand = Stand(site=site, board=board)
        try:
            site.prepare()
            site.start()
            assert site.enrol()["complete"]
            site.wait_for_node()
            yield Ground(stand, dial, copies, others)
        finally:
            site.kill()
            stand.sweep()


def running(stand: Stand, service: str, plan: str) -> bytes:
    """Order it, and let its customer write to its disk; what that was."""
    stand.done([stand.order(service, plan=plan)])
    stand.answering([service])
    marker = secrets.token_bytes(32)
    for offset in OFFSETS:
        tiny.plant(sight.address(stand.site, service), offset, marker, copies=64)
    return marker


def _caches() -> frozenset[str]:
    return frozenset(path.name for path in CACHES.iterdir()) if CACHES.is_dir() else frozenset()


def cache(repository: Path) -> Path:
    return CACHES / hashlib.sha256(str(repository).encode()).hexdigest()[:32]


def opens(repository: Path, key: str) -> bool:
    command = ["restic", "-r", str(repository), "--no-cache", "--no-lock", "snapshots"]
    env = {"RESTIC_PASSWORD": key, "PATH": "/usr/bin:/bin", "HOME": "/"}
    return subprocess.run(command, env=env, capture_output=True, timeout=120).returncode == 0


def keys(site: Site, name: str) -> dict[str, str]:
    """Every key that the store can give out, by its repository."""
    told = site.directory / name
    site.cli("backup", "export-keys", str(told), "--in-clear")
    found = json.loads(site.cli("backup", "show-escrow", str(told), "--json"))["repositories"]
    return {f"{row['service']}.{row['generation']}": row["key"] for row in found}


def wrapped(site: Site, service: str) -> list[tuple[str, int]]:
    """State and length of the kept key of each generation, as they stand in the database's file."""
    with closing(sqlite3.connect(site.state / "orchestrator.sqlite")) as db:
        rows = db.execute("SELECT state, length(wrapped_key) FROM repositories WHERE service_id = ?", (service,))
        return [(str(state), int(length)) for state, length in rows]


def certificate(site: Site, service: str) -> Any:
    found = site.http("GET", f"/v1/certificates/{service}").json()["certificate"]
    assert verify_certificate(json.dumps(found).encode()).ok
    return found


def disk(site: Site, service: str, into: Path) -> str:
    """The SHA-256 of all that the guest's disk holds, as a raw image."""
    (volume,) = site.lab.pool_path.glob(f"orch.{service}.disk.*")
    subprocess.run(["qemu-img", "convert", "-O", "raw", volume, into], check=True, timeout=120)
    try:
        with into.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    finally:
        into.unlink()


def test_a_termination_leaves_no_repository_no_cache_and_no_key_and_a_stolen_copy_opens_with_nothing(ground: Ground) -> None:
    stand, site = ground.stand, ground.stand.site
    running(stand, "s001", SMALL.name)
    stand.done([stand.command("backup", "s001")])
    repository, stolen = ground.copies / "s001.1", ground.copies.parent / "stolen"
    shutil.copytree(repository, stolen)
    (row,) = site.http("GET", "/v1/backups?service_id=s001").json()["items"]
    before = keys(site, "before")
    assert (cache(repository).is_dir(), opens(stolen, before["s001.1"])) == (True, True)

    stand.done([stand.command("terminate", "s001")])

    assert (repository.exists(), cache(repository).exists(), ground.caches()) == (False, False, [])
    assert (wrapped(site, "s001"), keys(site, "after")) == ([("destroyed", 0)], {})
    told = certificate(site, "s001")
    (gone,) = told["backups"]
    assert (gone["generation"], gone["state"], gone["snapshots"]) == (1, "destroyed", [row["snapshot_id"]])
    assert [(copy["kind"], copy["until"]) for copy in told["copies"]] == [("exported-keys", "")]


def test_an_archive_comes_back_byte_for_byte_and_is_erased_at_its_day(ground: Ground) -> None:
    stand, site, raw = ground.stand, ground.stand.site, ground.copies.parent / "raw"
    marker = running(stand, "s002", KEPT.name)
    stand.done([stand.command("stop", "s002")])
    was = disk(site, "s002", raw)

    stand.done([stand.command("terminate", "s002")])
    assert (sight.volumes(site, "s002"), [path.name for path in ground.copies.iterdir()]) == ([], ["s002.1"])
    (copy,) = certificate(site, "s002")["copies"]
    assert (copy["kind"], copy["until"] != "") == ("archive", True)
    assert ground.caches() == []

    stand.done([stand.command("reactivate", "s002")], seconds=600)
    stand.answering(["s002"])
    assert [tiny.show(sight.address(site, "s002"), offset, 32) for offset in OFFSETS] == [marker] * 3
    stand.done([stand.command("stop", "s002")])
    assert disk(site, "s002", raw) == was

    stand.done([stand.command("terminate", "s002")])
    ground.dial.wind(ground.dial.now() + DAYS + timedelta(minutes=10))
    job = next(job for job in site.http("GET", "/v1/jobs?service_id=s002").json()["items"] if job["intent"] == "erase")
    assert (job["state"], [path.name for path in ground.copies.iterdir()]) == ("waiting_approval", ["s002.1"])
    stand.event("termination.confirmed", "s002", job_id=job["id"])
    stand.done([job["id"]])
    assert (list(ground.copies.iterdir()), ground.caches(), wrapped(site, "s002")) == ([], [], [("destroyed", 0)])
    told = certificate(site, "s002")
    assert (told["format"], [each["state"] for each in told["backups"]]) == ("orchestrator/erasure-certificate", ["destroyed"])
