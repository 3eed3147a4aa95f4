"""Who is next: the oldest job first, and of each service one at a time."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.engine.durable import run_id
from orchestrator.engine.line import share_of
from orchestrator.store import jobs, services
from tests.fault import things
from tests.fault.conftest import Builder, queue_of
from tests.fault.house import NODES, House, Options
from tests.fault.test_engine_brakes import Wound, provisioned

CHECK = IntentKind.CHECK


def asked(house: House, service: str) -> str:
    return house.engine.command(CHECK, service, who="anna", why="", arguments={}).job_id


def in_line(house: House) -> list[str]:
    with house.db.read() as conn:
        return [job_id for job_id, _ in jobs.in_line(conn)]


def test_jobs_that_wait_for_a_worker_start_in_the_order_in_which_they_came(build: Builder) -> None:
    clock, pause = Wound(), things.Pause("thing.make s0.a")
    house = build(clock=clock, on_apply=pause, options=Options(workers=1))
    house.order("s0")
    assert pause.reached.wait(10)
    names = ["s7", "s2", "s9", "s4", "s1", "s8", "s3"]
    waiting = []
    for name in names:
        clock.ahead += timedelta(seconds=1)
        waiting.append(house.order(name).job_id)
    pause.go_on.set()
    done = [house.wait(job_id) for job_id in waiting]
    assert [job.service_id for job in sorted(done, key=lambda job: str(job.started_at))] == names


def test_a_job_that_is_tried_again_takes_the_place_it_came_with(build: Builder) -> None:
    clock, pause = Wound(), things.Pause("thing.make s0.a")
    house = build(clock=clock, on_apply=pause, options=Options(workers=1))
    provisioned(house, "s1")
    house.engine.freeze("anna", "wait")
    early = house.event("service.suspend", "s1", version=1).job_id
    house.engine.cancel(early, "anna")
    house.engine.unfreeze("anna")
    house.order("s0")
    assert pause.reached.wait(10)
    clock.ahead = timedelta(seconds=5)
    late = house.order("s2").job_id
    house.engine.retry(early, "anna")
    pause.go_on.set()
    started = [str(house.wait(job_id).started_at) for job_id in (early, late)]
    assert started == sorted(started)


def test_a_services_waiting_jobs_keep_no_worker_from_the_others(build: Builder) -> None:
    pause = things.Pause("thing.make s1.checked")
    house = build(on_apply=pause, options=Options(workers=2))
    provisioned(house, "s1")
    mine = [asked(house, "s1") for _ in range(4)]
    assert pause.reached.wait(10)
    assert house.wait(house.order("s2").job_id, seconds=20).state == JobState.DONE
    assert [house.job(job_id).state for job_id in mine] == [JobState.RUNNING, *[JobState.QUEUED] * 3]
    pause.go_on.set()
    done = [house.wait(job_id) for job_id in mine]
    assert [job.started_at for job in done] == sorted(job.started_at for job in done if job.started_at)


def test_a_job_that_waits_for_another_of_its_service_is_not_lost_and_one_that_nothing_precedes_is_found(build: Builder) -> None:
    house = build(start=False)
    house.engine.start()
    house.engine.stop()
    first, second = house.order("s1").job_id, house.event("service.suspend", "s1", version=1).job_id
    assert in_line(house) == [first]
    with house.db.write() as conn:
        known = conn.exec_driver_sql(f"SELECT workflow_uuid FROM {queue_of(house)}").scalars().all()
        assert known == [run_id(first, 1)]
        jobs.change(conn, first, state=JobState.CANCELLED)  # as a store that was brought back may have it
    assert in_line(house) == [second]
    again = build()
    again.engine.sweep()
    assert again.wait(second).state in (JobState.DONE, JobState.FAILED)


def test_what_this_very_process_has_put_on_the_queue_and_the_queue_has_lost_is_put_back(build: Builder) -> None:
    house = build(options=Options(poll_seconds=3600))
    job = house.order("s1").job_id
    with house.db.write() as conn:
        assert conn.exec_driver_sql(f"DELETE FROM {queue_of(house)}").rowcount == 1
    house.engine.sweep()
    with house.db.read() as conn:
        assert conn.exec_driver_sql(f"SELECT workflow_uuid FROM {queue_of(house)}").scalars().all() == [run_id(job, 1)]


class Hang:
    """Every act on one of these services hangs until it is let go on."""

    def __init__(self, *services: str) -> None:
        self.services = services
        self.go_on = threading.Event()

    def __call__(self, act: str) -> None:
        if any(f" {service}." in act for service in self.services):
            assert self.go_on.wait(60)


def on(house: House, service: str, node: str) -> None:
    provisioned(house, service)
    with house.db.write() as conn:
        known = services.facts(conn, service)
        services.set_facts(conn, service, replace(known, node=node), now=house.clock.now())


def test_a_node_that_hangs_takes_no_more_than_its_share_of_the_workers(build: Builder) -> None:
    hung = [f"a{number}" for number in range(6)]
    hang = Hang()
    two = (*NODES, replace(NODES[0], name="n2"))
    house = build(on_apply=hang, declared=two, options=Options(workers=6, sweep_seconds=0.2))
    for service in hung:
        on(house, service, "n1")
    on(house, "b1", "n2")
    hang.services = tuple(hung)
    waiting = [asked(house, service) for service in hung]
    other = [asked(house, "b1"), house.order("fresh").job_id]
    assert [house.wait(job_id, seconds=20).state for job_id in other] == [JobState.DONE] * 2
    # The sweep, which puts back what the queue has lost, has passed meanwhile, and takes none of these for lost.
    assert [house.job(job_id).state for job_id in waiting] == [JobState.RUNNING] * 2 + [JobState.QUEUED] * 4
    hang.go_on.set()
    done = [house.wait(job_id) for job_id in waiting]
    assert [job.state for job in done] == [JobState.DONE] * 6
    began = [job.started_at for job in done if job.started_at]
    # Two at a time: of those two either may be the first by a hair.
    assert all(earlier <= later for earlier, later in zip(began, began[2:], strict=False))


def test_one_node_alone_has_all_workers_and_of_several_none_has_more_than_half() -> None:
    assert [share_of(4, nodes=count) for count in (0, 1)] == [None, None]
    assert [share_of(workers, nodes=2) for workers in (1, 2, 3, 4, 8, 64)] == [1, 1, 1, 1, 3, 31]
