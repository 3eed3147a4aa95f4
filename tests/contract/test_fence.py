from __future__ import annotations

from pathlib import Path

from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import Job
from orchestrator.domain.services import Service
from orchestrator.drivers.fake.outside import FakeClock
from orchestrator.ports.fence import Fence
from orchestrator.store import jobs, services, settings
from orchestrator.store.database import Database
from orchestrator.store.fence import StoreFence
from tests.contract.fence import FenceContract, FenceWorld, SuspensionFenceContract
from tests.store_files import OpensDatabases


class StoreWorld:
    def __init__(self, db: Database, clock: FakeClock) -> None:
        self._db = db
        self._clock = clock
        self.fence: Fence = StoreFence(db, clock)

    def put(self, service: Service) -> None:
        with self._db.write() as conn:
            services.put(conn, service, now=self._clock.now())

    def service(self, service_id: str) -> Service:
        with self._db.read() as conn:
            found = services.get(conn, service_id)
        assert found is not None
        return found

    def add_job(self, job_id: str, service_id: str, intent: IntentKind, *, payments: int, state: JobState) -> None:
        job = Job(
            id=job_id,
            service_id=service_id,
            intent=intent,
            playbook=f"vps-{intent}",
            state=state,
            reason="billing asked",
            asked_by="event whmcs/e1",
            payments=payments,
            arguments={},
            created_at=self._clock.now(),
        )
        with self._db.write() as conn:
            jobs.add(conn, job)

    def freeze(self, *, on: bool) -> None:
        with self._db.write() as conn:
            if on:
                settings.set_freeze(conn, by="anna", why="wrong invoices", now=self._clock.now())
            else:
                settings.lift_freeze(conn)


class TestStoreFence(OpensDatabases, FenceContract):
    def make(self, clock: FakeClock, directory: Path) -> FenceWorld:
        return StoreWorld(self.open(directory), clock)


class TestStoreFenceForSuspensions(OpensDatabases, SuspensionFenceContract):
    def make(self, clock: FakeClock, directory: Path) -> FenceWorld:
        return StoreWorld(self.open(directory), clock)
