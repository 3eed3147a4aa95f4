"""What the faults of real backups share: looking at what is kept with restic alone, at a guest's disk, and striking at a step.

Nothing here asks the product whether a backup is good: the keys come from its escrow, restic restores, and bytes are compared.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from orchestrator.domain.backups.escrow import repositories
from tests.e2e import sight
from tests.e2e.stand import COPIES, RUNNING, SEALED, Stand
from tests.e2e.traces import virsh
from tests.rest_server import SECRET, USER
from tests.restic_runs import locks_in

RUNS = Path("/var/lib/orchestrator-agent/restic/runs")
AGENT_SECRETS = Path("/run/orchestrator-agent/restic")
SOCKETS = Path("/var/lib/libvirt/qemu")
STRIKE_SECONDS = 120.0
_METRIC = re.compile(r"^(\w+(?:\{[^}]*\})?) (\S+)$", re.MULTILINE)

Row = dict[str, Any]


# -- what the controller says --------------------------------------------------------------------------------------------------


def rows(stand: Stand, service: str) -> list[Row]:
    """What is known of the service's backups, the newest first."""
    found: list[Row] = stand.site.http("GET", f"/v1/backups?service_id={service}").json()["items"]
    return found


def verified(stand: Stand, service: str) -> list[Row]:
    return [row for row in rows(stand, service) if row["state"] == "verified"]


def metric(stand: Stand, name: str) -> float:
    """One of /metrics, by its name with its labels."""
    found = dict(_METRIC.findall(stand.site.http("GET", "/metrics").text))
    return float(found[name])


def backup(stand: Stand, service: str) -> str:
    return stand.command("backup", service)


def failed(stand: Stand, job_id: str, code: str, *, seconds: float = 300.0) -> Any:
    """The job once it has come to rest, which it must in failure by that code, with a sentence and nothing of the inside."""
    (job,) = stand.rest([job_id], seconds=seconds)
    assert (job["state"], job["error_code"]) == ("failed", code), job
    assert "Traceback" not in job["error"]
    return job


def step_facts(stand: Stand, job_id: str, step: str) -> Any:
    return next(each["facts"] for each in stand.job(job_id)["steps"] if each["id"] == step)


# -- what is there, past the product -------------------------------------------------------------------------------------------


def keys(stand: Stand) -> dict[tuple[str, int], dict[str, str]]:
    """Location, state and key of every repository, as they would be taken out of a safe."""
    file = stand.site.directory / f"escrow-{time.monotonic_ns()}"
    stand.site.cli("backup", "export-keys", str(file), "--in-clear")
    try:
        return {(each["service"], int(each["generation"])): each for each in repositories(file.read_text())}
    finally:
        file.unlink()


def restored(stand: Stand, row: Row) -> str:
    """The SHA-256 of the disk that restic alone brings back from the backup's snapshot. Raises CalledProcessError."""
    entry = keys(stand)[row["service_id"], row["generation"]]
    target = stand.site.directory / f"restored-{time.monotonic_ns()}"
    try:
        restic(entry, "restore", row["snapshot_id"], "--target", str(target), "--sparse")
        digest = hashlib.sha256()
        for path in sorted(path for path in target.rglob("*") if path.is_file()):
            digest.update(path.read_bytes())
        return digest.hexdigest()
    finally:
        shutil.rmtree(target, ignore_errors=True)


def restic(entry: dict[str, str], *words: str) -> str:
    """restic by hand, as its manual says, with what stands in the escrow; it takes no lock and knows nothing from before."""
    environment = {**os.environ, "RESTIC_REPOSITORY": entry["location"], "RESTIC_PASSWORD": entry["key"]}
    environment |= {"RESTIC_REST_USERNAME": USER, "RESTIC_REST_PASSWORD": SECRET}
    said = subprocess.run(
        ["restic", "--no-lock", "--no-cache", *words], env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    return said.stdout


def image(stand: Stand, service: str, *, export: bool = False) -> str:
    """The SHA-256 of all that the guest's disk holds: its volume, or the frozen ``export`` of it that is open now."""
    raw = stand.site.directory / f"image-{time.monotonic_ns()}"
    if export:
        (socket,) = re.findall(r"socket='([^']+)'", virsh("backup-dumpxml", sight.guest(service)).stdout)
        source = ["-f", "raw", f"nbd+unix:///disk?socket={socket}"]
    else:
        uuid = re.findall(r"<secret type='passphrase' uuid='([0-9a-f-]+)'", virsh("dumpxml", sight.guest(service)).stdout)[0]
        secret = f"secret,id=key,format=base64,file=/etc/libvirt/secrets/{uuid}.base64"
        options = f"driver=qcow2,encrypt.key-secret=key,file.driver=file,file.filename={sight.disk(stand.site, service)}"
        source = ["-U", "--object", secret, "--image-opts", options]
    try:
        subprocess.run(["qemu-img", "convert", *source, "-O", "raw", str(raw)], check=True, timeout=120)
        with raw.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    finally:
        raw.unlink(missing_ok=True)


def repository(stand: Stand, service: str, generation: int = 0) -> Path:
    """Of a service on the stand's own target, a directory; 0 = of the newest generation that stands, or of the first to come."""
    place = stand.site.directory / COPIES
    there = [int(path.suffix[1:]) for path in place.glob(f"{service}.*")]
    return place / f"{service}.{generation or max(there, default=1)}"


def packs(place: Path) -> dict[str, Path]:
    """The packs of a repository that lies in a directory, by their ids."""
    return {path.name: path for path in place.glob("data/*/*") if len(path.name) == 64}


def litter(stand: Stand, service: str, *places: Path) -> list[str]:
    """What no backup may leave behind on its node, or in its repository."""
    found = [line for line in sight.files(stand.site, service) if line.endswith(".scratch")]
    found += [str(path) for path in SOCKETS.glob("**/*.nbd")]
    found += [str(path) for path in AGENT_SECRETS.glob("*")]
    found += [f"lock {name}" for place in places for name in locks_in(place)]
    found += [f"{pid}: {' '.join(words)}" for pid, words in _processes() if words[0].endswith("qemu-nbd")]
    found += [f"{pid}: {' '.join(words)}" for pid, words in _processes() if "restic" in words]
    for mounts in Path("/proc").glob("[0-9]*/mounts"):
        with suppress(OSError):
            found += [f"{mounts}: {line}" for line in mounts.read_text().splitlines() if line.startswith("orchestrator-disk ")]
    return found


def qemu(service: str) -> int:
    """The process of the guest."""
    (pid,) = [pid for pid, words in _processes() if f"guest={sight.guest(service)}," in " ".join(words)]
    return pid


def _processes() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
                if words:
                    yield int(entry.name), words


# -- a customer whose disk is known --------------------------------------------------------------------------------------------


class Kept:
    """What the disks of services held when their backups were made, by job: nothing else may come back from these."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.images: dict[str, str] = {}

    def begin(self, service: str) -> str:
        """A backup job of a guest that writes nothing; the job."""
        now = image(self.stand, service)
        job_id = backup(self.stand, service)
        self.images[job_id] = now
        return job_id

    def make(self, services: Iterable[str], *, seconds: float = 300.0) -> None:
        self.stand.done([self.begin(service) for service in services], seconds=seconds)

    def stands(self, service: str, *, seconds: float = 60.0) -> str:
        """At least one verified backup stands, and restic restores it byte for byte; the job that made it.

        Where a job goes on meanwhile the one that is being read may be replaced: then the other one counts.
        """
        until = time.monotonic() + seconds
        while True:
            found = verified(self.stand, service)
            assert found, rows(self.stand, service)
            try:
                assert restored(self.stand, found[0]) == self.images[found[0]["job_id"]], found[0]
            except subprocess.CalledProcessError as exc:
                if [row["id"] for row in verified(self.stand, service)] == [row["id"] for row in found]:
                    raise AssertionError(f"{found[0]} cannot be restored: {exc.stderr}") from exc
                assert time.monotonic() < until
            else:
                return str(found[0]["job_id"])

    def only(self, service: str, job_id: str) -> None:
        """The job's backup is the one verified backup that stands, and it is what its disk was."""
        assert [row["job_id"] for row in verified(self.stand, service)] == [job_id], rows(self.stand, service)
        assert self.stands(service) == job_id


@contextmanager
def customers(stand: Stand, count: int) -> Iterator[list[str]]:
    """So many running guests, for others again when the block has gone well."""
    services = stand.take(RUNNING, count, plan=SEALED)
    yield services
    stand.give_back(services, RUNNING, plan=SEALED)


# -- striking ------------------------------------------------------------------------------------------------------------------


def run_of(name: str, verb: str) -> int | None:
    """The process of restic that the node's agent has on record, on the repository of that name, at that verb."""
    for record in RUNS.iterdir() if RUNS.is_dir() else ():
        with suppress(OSError, ValueError):
            pid = int(record.name.rpartition(".")[2])
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
            if words[0] == "restic" and verb in words and any(word.rstrip("/").endswith(f"/{name}") for word in words):
                return pid
    return None


def agent_of(pid: int) -> int:
    """The agent that runs this restic: its parent."""
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])


class Strike:
    """Waits in a thread of its own for a run of restic at the verb, until it holds a lock, and then does ``act`` with it."""

    def __init__(self, place: Path, verb: str, act: Callable[[int], None]) -> None:
        self._place, self._verb, self._act = place, verb, act
        self.struck = False
        self.problem: BaseException | None = None
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def done(self) -> None:
        self._thread.join(STRIKE_SECONDS)
        if self.problem is not None:
            raise self.problem
        assert self.struck, f"restic {self._verb} on {self._place} was never seen"

    def _wait(self) -> None:
        until = time.monotonic() + STRIKE_SECONDS
        try:
            while time.monotonic() < until:
                pid = run_of(self._place.name, self._verb)
                if pid is not None and locks_in(self._place):
                    self._act(pid)
                    self.struck = True
                    return
                time.sleep(0.002)
        except BaseException as problem:  # noqa: BLE001 - raised again by who waits for the strike
            self.problem = problem


def kill_restic(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def kill_agent(pid: int) -> None:
    os.kill(agent_of(pid), signal.SIGKILL)
