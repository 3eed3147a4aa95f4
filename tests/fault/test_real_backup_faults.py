"""Whole backup jobs of real guests, and what may go wrong in the middle of one: what counts comes back byte for byte, always.

Each test ends with a verified backup that restic alone restores, compared with what the guest's disk held, and with a next job
that makes another. In ``make test`` a sample of them, in the whole matrix (``make fault``) all.
"""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import pytest

from orchestrator.domain.backups.promised import whole_again
from orchestrator.ports.repositories import RepositoryAccess
from tests.disk import disk
from tests.e2e import sight
from tests.e2e.stand import SEALED, Stand
from tests.e2e.traces import virsh
from tests.fault import backup_ground as ground
from tests.fault.backup_ground import (
    Kept,
    Strike,
    customers,
    failed,
    keys,
    kill_agent,
    kill_restic,
    litter,
    metric,
    packs,
    repository,
    rows,
    step_facts,
    verified,
)
from tests.fault.crashing import WAIT, Order
from tests.lab import tiny
from tests.rest_server import ComingServer
from tests.restic_runs import flip, leave_lock, locks_in

pytestmark = pytest.mark.timeout(1800)
OFFSET = 90 << 20
STEPS = ("backup", "check", "forget")  # which gives the room back in the same run
EVERY = [(victim, verb) for victim in (kill_restic, kill_agent) for verb in STEPS]
SAMPLE = [(kill_restic, "forget"), (kill_agent, "backup")]
FAILED = 'orchestrator_backups{state="failed"}'
DAMAGED = "orchestrator_repositories_damaged"
MAKING, SETTLING = "vps-backup/make/before", "vps-backup/settle/before"
DAY = 86_400.0


def scribble(stand: Stand, *services: str, at: int = OFFSET, count: int = 4) -> None:
    """The guests write what cannot be compressed, and what no other backup holds."""
    for service in services:
        address = sight.address(stand.site, service)
        for number in range(count):
            tiny.plant(address, at + number * 4096, secrets.token_bytes(2048))


@pytest.mark.rare
def test_whatever_kills_restic_or_the_agent_a_backup_stands_and_the_job_ends_well(stand: Stand, whole_matrix: bool) -> None:
    strikes = EVERY if whole_matrix else SAMPLE
    kept = Kept(stand)
    with customers(stand, len(strikes)) as services:
        scribble(stand, *services)
        kept.make(services)
        scribble(stand, *services)
        waiting = [
            Strike(repository(stand, service), verb, _then_look(victim, kept, service))
            for service, (victim, verb) in zip(services, strikes, strict=True)
        ]
        jobs = {service: kept.begin(service) for service in services}
        stand.done(jobs.values(), seconds=600)
        for strike, (service, job_id) in zip(waiting, jobs.items(), strict=True):
            strike.done()
            kept.only(service, job_id)
            assert litter(stand, service, repository(stand, service)) == []
            assert sight.power(service) == "running"


def _then_look(victim: Callable[[int], None], kept: Kept, service: str) -> Callable[[int], None]:
    def strike(pid: int) -> None:
        victim(pid)
        kept.stands(service)

    return strike


@pytest.mark.rare
def test_damage_of_a_repository_is_found_and_another_is_begun_before_the_old_one_goes(stand: Stand, whole_matrix: bool) -> None:
    """A byte of what the last run has written, a pack that is gone, and a byte of a pack between two backups."""
    kept = Kept(stand)
    with customers(stand, 3 if whole_matrix else 2) as services:
        new, gone, *flipped = services
        scribble(stand, *services)
        for segment in range(38):  # of what was stored something is met with at each comparing
            scribble(stand, gone, at=segment * (4 << 20), count=1)
        kept.make(services)
        old = {service: packs(repository(stand, service)) for service in services}
        largest = {service: max(old[service].values(), key=lambda path: path.stat().st_size) for service in services}
        scribble(stand, new, gone)
        largest[gone].unlink()
        for service in flipped:  # of which everything is still needed: nothing is written meanwhile
            flip(largest[service], largest[service].stat().st_size // 2)
        stand.board.arm(new, Order(SETTLING, WAIT))
        jobs = {service: kept.begin(service) for service in services}
        stand.reach(new)
        fresh = [path for name, path in packs(repository(stand, new)).items() if name not in old[new]]
        flip(max(fresh, key=lambda path: path.stat().st_size))
        stand.board.clear()
        for service in (new, gone):
            failed(stand, jobs[service], "driver-permanent")
        kept.stands(new)
        for service in flipped:
            _until_found(stand, kept, service, jobs[service])
        _replaced(stand, kept, services)


def _replaced(stand: Stand, kept: Kept, services: list[str]) -> None:
    """What was found to be damaged stays, with its key, until the next generation is verified; then it goes."""
    assert metric(stand, DAMAGED) == len(services)
    known = keys(stand)
    standing = {service: verified(stand, service) for service in services}
    for service in services:
        assert (known[service, 1]["state"], standing[service][0]["generation"]) == ("damaged", 1)
        stand.board.arm(service, Order(SETTLING, WAIT))
    again = {service: kept.begin(service) for service in services}
    stand.reach(*services)
    for service in services:
        assert packs(repository(stand, service, 1)), "it stays until the new one is verified"
        assert verified(stand, service) == standing[service]
    stand.board.clear()
    stand.done(again.values())
    known = keys(stand)
    for service in services:
        kept.only(service, again[service])
        assert [row["generation"] for row in verified(stand, service)] == [2]
        assert not repository(stand, service, 1).exists()
        assert [number for name, number in known if name == service] == [2]
    assert metric(stand, DAMAGED) == 0


def _until_found(stand: Stand, kept: Kept, service: str, job_id: str) -> None:
    """Within as many backups as it takes to read every pack the damage is met with."""
    for _ in range(13):
        (job,) = stand.rest([job_id])
        if job["state"] == "failed":
            return
        job_id = kept.begin(service)
    raise AssertionError(rows(stand, service))


@pytest.mark.rare
def test_qemu_is_killed_while_its_disk_is_read_and_the_next_backup_doubts_the_bitmap(stand: Stand) -> None:
    kept = Kept(stand)
    with customers(stand, 2) as services:
        scribble(stand, *services)
        kept.make(services)
        for segment in range(12):  # so that there is something to be read
            scribble(stand, *services, at=segment * (8 << 20), count=1)
        strikes = [Strike(repository(stand, service), "backup", _without_qemu(service)) for service in services]
        for service, strike in zip(services, strikes, strict=True):
            job = failed(stand, ground.backup(stand, service), "driver-permanent")
            strike.done()
            assert "could not be read" in job["error"], job
            assert sight.power(service) == "shut off"
            assert litter(stand, service, repository(stand, service)) == []
            kept.stands(service)
        for service in services[1:]:  # nobody starts it: it is read as it lies there
            kept.make([service])
            assert verified(stand, service)[0]["consistency"] == "stopped"
            kept.stands(service)
        stand.done([stand.command("start", service) for service in services])
        stand.answering(services)
        scribble(stand, *services)
        jobs = {service: kept.begin(service) for service in services}
        stand.done(jobs.values())
        for service, job_id in jobs.items():
            assert step_facts(stand, job_id, "export")["disk"]["bitmap"] == ""
            kept.only(service, job_id)
            assert len(virsh("checkpoint-list", sight.guest(service), "--name").stdout.split()) == 1
        scribble(stand, *services)
        jobs = {service: kept.begin(service) for service in services}
        stand.done(jobs.values())
        for service, job_id in jobs.items():
            assert step_facts(stand, job_id, "export")["disk"]["bitmap"] != ""
            kept.only(service, job_id)


def _without_qemu(service: str) -> Callable[[int], None]:
    def strike(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        os.kill(ground.qemu(service), signal.SIGKILL)
        os.kill(pid, signal.SIGCONT)

    return strike


@pytest.mark.rare
def test_a_guest_that_writes_all_the_time_is_backed_up_as_it_was_when_its_disk_was_frozen(stand: Stand) -> None:
    kept = Kept(stand)
    with customers(stand, 1) as (service,), writing(stand, service):
        for _ in range(2):
            stand.board.arm(service, Order(MAKING, WAIT))
            job_id = ground.backup(stand, service)
            stand.reach(service)
            kept.images[job_id] = ground.image(stand, service, export=True)
            stand.board.clear()
            stand.done([job_id])
            kept.only(service, job_id)
        assert step_facts(stand, job_id, "export")["disk"]["bitmap"] != ""


@contextmanager
def writing(stand: Stand, service: str) -> Iterator[None]:
    """The guest writes for as long as the block runs."""
    end, problems = threading.Event(), []

    def work() -> None:
        try:
            while not end.is_set():
                scribble(stand, service, at=secrets.randbelow(30) * (4 << 20), count=1)
        except Exception as problem:  # noqa: BLE001 - told by the test itself
            problems.append(problem)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
    assert problems == []


@pytest.mark.rare
def test_a_file_system_that_is_full_is_told_as_one_and_with_room_all_goes_on(
    stand: Stand, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept = Kept(stand)
    (service,) = stand.new()
    with disk(tmp_path_factory.mktemp("cramped"), megabytes=40) as small:
        place = small.pool / "kept"
        place.mkdir()
        repository(stand, service).symlink_to(place)
        stand.done([stand.order(service, plan=SEALED)])
        stand.answering([service])
        scribble(stand, service)
        kept.make([service])
        for left in (0, 128 << 10):  # for nothing at all, and for less than what is new
            scribble(stand, service, count=2)
            if left:
                scribble(stand, service, at=OFFSET + (4 << 20), count=150)
            before = metric(stand, FAILED)
            with crowded(small.pool, left):
                job = failed(stand, kept.begin(service), "no-capacity")
                kept.stands(service)
            assert "no space left" in job["error"], job
            assert metric(stand, FAILED) > before
            assert "no space left" in rows(stand, service)[0]["problem"]
        job_id = kept.begin(service)
        stand.done([job_id])
        kept.only(service, job_id)
        assert litter(stand, service, place) == []


@contextmanager
def crowded(place: Path, left: int) -> Iterator[None]:
    """The file system has no more room than ``left`` bytes."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for _ in range(3):  # what was set aside for its blocks is known only when it is written out
            with suppress(OSError):
                while file.write(b"\1" * 4096):
                    pass
            with suppress(OSError):
                os.fsync(file.fileno())
        file.truncate(max(0, file.tell() - left))
        os.fsync(file.fileno())
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def served(stand: Stand, directory: Path) -> Iterator[ComingServer]:
    """The stand's node names a rest-server as its target, for as long as the block runs."""
    server, site = ComingServer(directory), stand.site
    settings, node = site.settings, site.node
    targets = [*settings["backups"]["targets"], server.target("served")]
    server.come()
    try:
        _configured(stand, settings | {"backups": {"targets": targets}}, node | {"backups": "served"})
        yield server
    finally:
        _configured(stand, settings, node)
        server.go()


def _configured(stand: Stand, settings: dict[str, object], node: dict[str, object]) -> None:
    stand.site.kill()
    stand.site.settings, stand.site.node = settings, node
    stand.site.configure()
    stand.site.start()
    stand.site.wait_for_node()


@pytest.mark.rare
def test_a_rest_server_that_goes_and_comes_back_costs_no_backup(stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> None:
    kept = Kept(stand)
    services = stand.new(3)
    with served(stand, tmp_path_factory.mktemp("served")) as server:
        stand.done([stand.order(service, plan=SEALED) for service in services])
        stand.answering(services)
        scribble(stand, *services)
        kept.make(services)
        scribble(stand, *services)
        places = [server.kept / f"{service}.1" for service in services]
        # Gone before it is asked, while restic reads, and while the keeper deletes.
        before, backup, check = services
        stand.board.arm(before, Order(MAKING, WAIT))
        jobs = {before: kept.begin(before)}
        stand.reach(before)
        for service, place, verb in ((backup, places[1], "backup"), (check, places[2], "check")):
            strike = Strike(place, verb, lambda _pid: server.go())
            jobs[service] = kept.begin(service)
            strike.done()
            if service == backup:
                stand.board.clear()
                stand.until("an attempt that did not reach it", lambda: "not reached" in str(stand.job(jobs[before])))
            server.come()
            stand.done([jobs[service]], seconds=600)
        stand.done(jobs.values(), seconds=600)
        for service, place in zip(services, places, strict=True):
            kept.only(service, jobs[service])
            assert litter(stand, service, place) == []


@pytest.mark.rare
def test_a_lock_of_somebody_else_stays_and_the_job_tells_whose_it_is(
    stand: Stand, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept = Kept(stand)
    with customers(stand, 1) as (service,):
        scribble(stand, service)
        kept.make([service])
        place = repository(stand, service)
        entry = keys(stand)[service, int(place.suffix[1:])]
        access = RepositoryAccess(location=entry["location"], password=entry["key"])
        leave_lock(None, access, place, tmp_path_factory.mktemp("somebody"))
        lock = locks_in(place)
        scribble(stand, service)
        before, held = metric(stand, FAILED), len(list((place / "snapshots").iterdir()))
        job = failed(stand, kept.begin(service), "driver-transient")
        assert "locked by process" in job["error"], job
        assert "locked by process" in rows(stand, service)[0]["problem"]
        assert (locks_in(place), metric(stand, FAILED) > before) == (lock, True)
        assert len(list((place / "snapshots").iterdir())) == held, "nothing is added that could not be verified"
        kept.stands(service)
        for name in lock:
            (place / "locks" / name).unlink()  # its owner is gone, and a person knows
        job_id = kept.begin(service)
        stand.done([job_id])
        kept.only(service, job_id)


@pytest.mark.rare
def test_with_a_clock_that_was_set_back_the_newest_is_still_the_one_that_was_made_last(stand: Stand) -> None:
    kept = Kept(stand)
    with customers(stand, 1) as (service,):
        scribble(stand, service)
        kept.make([service])
        try:
            for number in (1, 2):
                stand.board.set_clock(-3 * DAY * number)
                scribble(stand, service)
                (last,) = verified(stand, service)
                job_id = kept.begin(service)
                stand.done([job_id])
                kept.only(service, job_id)
                (made,) = verified(stand, service)
                moments = [datetime.fromisoformat(row["made_at"]) for row in (last, made)]
                whole = step_facts(stand, job_id, "export")["disk"]["bitmap"] == ""
                assert whole == whole_again(service, *moments) or number == 1
        finally:
            stand.board.set_clock(0)
        kept.make([service])
        kept.stands(service)
