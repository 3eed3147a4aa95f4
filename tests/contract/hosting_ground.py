"""What the suites of the port HostingNode have in common."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Protocol

import pytest

from orchestrator.domain.accounts import AccountAccess, AccountFacts, AccountLimits, AccountSpec, Database, Site, user_of
from orchestrator.ports.hosting_node import DatabaseDump, HostingNode, Packed

LONG = 480.0
JOB = "job-1"
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f anna"
LIMITS = AccountLimits(
    disk_bytes=64 << 20, inodes=2000, cpu_percent=50, memory_bytes=256 << 20, tasks=64, io_bytes_per_second=8 << 20, iops=500
)
# Every node has a first uid of its own, so that several suites can run on one.
UIDS = count(100_101)


class Ground(Protocol):
    """The node of a suite, and what only a test does behind the port's back."""

    @property
    def hosting(self) -> HostingNode: ...

    @property
    def php(self) -> str:
        """A version that is there."""

    def write_log(self, user: str) -> None:
        """A line in a log of the account, as its sites leave them."""

    def write_database(self, user: str, database: str, text: str) -> None:
        """The database holds this text and nothing else."""

    def database_text(self, user: str, database: str) -> str:
        """That text; '' where it holds none."""

    def empty_database(self, user: str, database: str) -> None:
        """It holds no table."""

    def break_database(self, user: str, database: str) -> None:
        """It cannot be dumped any more."""

    def add_cron(self, user: str, line: str) -> None:
        """A line of the crontab that the customer adds himself."""

    def take_cron(self, user: str) -> None:
        """His crontab is empty."""

    def files(self, directory: str) -> dict[str, str]:
        """What is in a directory of the node and in those below it: paths and texts."""

    def make_by_hand(self, name: str) -> None:
        """A user whom nobody of ours made: ``public_html`` is served for NAME.example and holds ``index.html`` with the text
        "by hand"; a database of his name holds "old rows"; a line of cron."""

    def in_force(self, name: str) -> tuple[bool, bool]:
        """Whether nginx has that user's vhost, and whether he has a crontab."""

    def put_aside(self, user: str, backup: str, path: str, text: str) -> None:
        """A file of a backup that was restored aside."""


def spec_of(ground: Ground) -> AccountSpec:
    """A new account each time."""
    uid = next(UIDS)
    return AccountSpec(
        service_id=f"s{uid}",
        user=user_of(uid),
        uid=uid,
        limits=LIMITS,
        access=AccountAccess(ssh_keys=(SSH_KEY,)),
        sites=(Site(name="main", domains=(f"s{uid}.example", f"www.s{uid}.example"), php=ground.php),),
        databases=(Database(name="main"),),
    )


def seen(ground: Ground, user: str) -> AccountFacts:
    (found,) = ground.hosting.accounts((user,), deadline=LONG)
    return found


def still(facts: AccountFacts) -> AccountFacts:
    """Without what changes by itself."""
    sites = tuple(replace(site, certificate_until="") for site in facts.sites)
    return replace(facts, used_bytes=0, used_inodes=0, processes=0, sites=sites)


class HostingSuite:
    """What the suites share. ``ground`` is a fixture of the module that inherits them."""

    @pytest.fixture
    def made(self, ground: Ground) -> AccountSpec:
        spec = spec_of(ground)
        ground.hosting.apply(spec, job_id=JOB, deadline=LONG)
        return spec

    def suspend(self, ground: Ground, spec: AccountSpec, job_id: str = "job-2") -> AccountFacts:
        return ground.hosting.suspend(spec.user, service_id=spec.service_id, job_id=job_id, deadline=LONG)

    def unsuspend(self, ground: Ground, spec: AccountSpec) -> tuple[str, ...]:
        return ground.hosting.unsuspend(spec.user, service_id=spec.service_id, job_id="job-3", deadline=LONG).difference

    def pack(self, ground: Ground, spec: AccountSpec) -> Packed:
        return ground.hosting.pack(spec.user, service_id=spec.service_id, job_id="job-6", deadline=LONG)

    def load(self, ground: Ground, spec: AccountSpec, *databases: str) -> tuple[DatabaseDump, ...]:
        who = {"service_id": spec.service_id, "job_id": "job-7"}
        return ground.hosting.load(spec.user, databases=databases, deadline=LONG, **who)
