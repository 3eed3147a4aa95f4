"""What every driver of HostingNode must do; a suite for one kind of node inherits this."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count
from typing import Any, Protocol

import pytest

from orchestrator.domain.accounts import AccountAccess, AccountFacts, AccountLimits, AccountSpec, Database, Site, user_of
from orchestrator.domain.adopting import Adoption, DatabaseFrom, SiteFrom
from orchestrator.domain.errors import NotFound, PermanentDriverError, Refused, RequestError, WrongState
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


class HostingContract:
    """The suite. ``ground`` is a fixture of the module that inherits it."""

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

    def test_the_node_says_what_it_has(self, ground: Ground) -> None:
        report = ground.hosting.doctor(deadline=LONG)
        assert [need.name for need in report.needs if not need.ok] == []
        assert ground.php in report.php
        assert min(report.cpus, report.memory_bytes, report.disk_bytes, report.disk_free_bytes) > 0
        quick = ground.hosting.doctor(deadline=LONG, quick=True)
        assert {need.name for need in quick.needs} <= {need.name for need in report.needs}
        assert (quick.php, quick.cpus, quick.disk_bytes) == (report.php, report.cpus, report.disk_bytes)

    def test_what_was_made_is_read_back(self, ground: Ground, made: AccountSpec) -> None:
        found = seen(ground, made.user)
        assert (found.exists, found.service_id, found.uid, found.job_id) == (True, made.service_id, made.uid, JOB)
        assert found.limits == LIMITS
        assert [(site.name, set(site.domains), site.php, site.serving) for site in found.sites] == [
            ("main", set(made.sites[0].domains), ground.php, "php")
        ]
        assert [each.name for each in found.databases] == ["main"]
        assert (found.keys, found.password, found.suspended) == (1, False, False)
        assert made.user in [each.user for each in ground.hosting.accounts((), deadline=LONG)]

    def test_made_again_nothing_changes(self, ground: Ground, made: AccountSpec) -> None:
        before = still(seen(ground, made.user))
        again = ground.hosting.apply(made, job_id="job-9", deadline=LONG)
        assert again.changed == ()
        assert still(seen(ground, made.user)) == before, "also who made it"

    def test_other_limits_are_moved_and_nothing_else(self, ground: Ground, made: AccountSpec) -> None:
        before = still(seen(ground, made.user))
        wider = AccountLimits(
            disk_bytes=128 << 20, inodes=4000, cpu_percent=75, memory_bytes=300 << 20, tasks=80, io_bytes_per_second=0, iops=0
        )
        done = ground.hosting.apply(replace(made, limits=wider), job_id="job-9", deadline=LONG)
        assert done.facts.limits == wider
        assert still(seen(ground, made.user)) == replace(before, limits=wider)

    def test_an_account_that_is_not_there_is_told_so(self, ground: Ground) -> None:
        spec = spec_of(ground)
        found = seen(ground, spec.user)
        assert (found.exists, found.user, found.uid) == (False, spec.user, spec.uid)
        for act in (self.suspend, self.unsuspend):
            with pytest.raises(NotFound):
                act(ground, spec)
        with pytest.raises(NotFound):
            ground.hosting.wipe(spec.user, service_id=spec.service_id, job_id="job-4", deadline=LONG)

    def test_another_services_account_is_never_touched(self, ground: Ground, made: AccountSpec) -> None:
        before = still(seen(ground, made.user))
        stranger = replace(made, service_id="stranger")
        with pytest.raises(WrongState):
            ground.hosting.apply(stranger, job_id="job-9", deadline=LONG)
        for act in (self.suspend, self.unsuspend):
            with pytest.raises(WrongState):
                act(ground, stranger)
        with pytest.raises(WrongState):
            ground.hosting.probe(made.user, service_id="stranger", deadline=LONG)
        with pytest.raises(WrongState):
            ground.hosting.wipe(made.user, service_id="stranger", job_id="job-9", deadline=LONG)
        for clean in (False, True):
            with pytest.raises(WrongState):
                ground.hosting.residue(made.user, service_id="stranger", uid=made.uid, clean=clean, deadline=LONG)
        assert still(seen(ground, made.user)) == before

    def test_suspended_nothing_answers_whatever_is_changed_and_back_it_is_as_it_was(
        self, ground: Ground, made: AccountSpec
    ) -> None:
        before = still(seen(ground, made.user))
        for _ in range(2):
            facts = self.suspend(ground, made)
            assert (facts.suspended, facts.suspended_by) == (True, "job-2")
        wider = replace(LIMITS, inodes=5000)
        facts = ground.hosting.apply(replace(made, limits=wider), job_id="job-9", deadline=LONG).facts
        assert (facts.limits, facts.suspended) == (wider, True)
        ways = ground.hosting.probe(made.user, service_id=made.service_id, deadline=LONG)
        assert {"http", "https", "sftp-key", "cron", "database", "processes"} <= {way.way for way in ways}
        assert [way for way in ways if way.open] == []
        assert {site.serving for site in seen(ground, made.user).sites} == {"suspended"}
        assert self.unsuspend(ground, made) == ()
        assert still(seen(ground, made.user)) == replace(before, limits=wider)
        assert self.unsuspend(ground, made) == (), "it is not suspended: nothing is done"

    def test_suspended_twice_the_first_job_is_whose_it_is(self, ground: Ground, made: AccountSpec) -> None:
        self.suspend(ground, made, "job-2")
        assert self.suspend(ground, made, "job-5").suspended_by == "job-2"
        self.unsuspend(ground, made)
        assert seen(ground, made.user).suspended_by == ""

    def test_what_an_account_uses_is_told_of_those_that_are_there(self, ground: Ground, made: AccountSpec) -> None:
        (used,) = ground.hosting.usage((made.user, user_of(999_999)), deadline=LONG)
        assert (used.user, used.bytes >= 0, used.inodes >= 0) == (made.user, True, True)

    def test_wiped_nothing_is_left_and_the_report_stays_until_the_residue_is_cleaned(
        self, ground: Ground, made: AccountSpec
    ) -> None:
        who = {"service_id": made.service_id}
        report = ground.hosting.wipe(made.user, job_id="job-4", deadline=LONG, **who)
        assert report.databases == (f"{made.user}_main",)
        assert report.limits
        assert not seen(ground, made.user).exists
        assert ground.hosting.wipe(made.user, job_id="job-4", deadline=LONG, **who) == report
        ground.write_log(made.user)
        look = ground.hosting.residue(made.user, uid=made.uid, clean=False, deadline=LONG, **who)
        assert (len(look.kept), look.removed) == (1, ())
        assert look.found
        (stray,) = (each for each in ground.hosting.node_residue(deadline=LONG).accounts if each.user == made.user)
        assert set(look.found) <= set(stray.found)
        cleaned = ground.hosting.residue(made.user, uid=made.uid, clean=True, deadline=LONG, **who)
        assert (cleaned.found, cleaned.removed) == ((), look.found)
        after = ground.hosting.residue(made.user, uid=made.uid, clean=False, deadline=LONG, **who)
        assert (after.found, after.kept) == ((), ())
        with pytest.raises(NotFound):
            ground.hosting.wipe(made.user, job_id="job-4", deadline=LONG, **who)

    def test_residue_is_not_cleaned_under_an_account_that_is_there(self, ground: Ground, made: AccountSpec) -> None:
        with pytest.raises(WrongState):
            ground.hosting.residue(made.user, service_id=made.service_id, uid=made.uid, clean=True, deadline=LONG)
        assert seen(ground, made.user).exists
        assert made.user not in [each.user for each in ground.hosting.node_residue(deadline=LONG).accounts]

    def test_packed_its_databases_and_settings_lie_beside_its_files(self, ground: Ground, made: AccountSpec) -> None:
        ground.write_database(made.user, "main", "first")
        packed = self.pack(ground, made)
        found = ground.files(f"{packed.directory}/backup")
        assert set(found) == {"databases/main.sql", "account.json"}
        assert "first" in found["databases/main.sql"]
        assert made.sites[0].domains[0] in found["account.json"]
        assert [each.name for each in packed.databases] == ["main"]
        assert packed.bytes == len(found["databases/main.sql"].encode())
        ground.write_database(made.user, "main", "second")
        self.pack(ground, made)
        again = ground.files(f"{packed.directory}/backup")
        assert ("first" in again["databases/main.sql"], "second" in again["databases/main.sql"]) == (False, True)
        for _ in range(2):
            ground.hosting.unpack(made.user, service_id=made.service_id, deadline=LONG)
            assert ground.files(f"{packed.directory}/backup") == {}

    def test_a_database_that_cannot_be_dumped_is_an_error_and_leaves_no_dump(self, ground: Ground, made: AccountSpec) -> None:
        ground.write_database(made.user, "main", "first")
        directory = self.pack(ground, made).directory
        ground.break_database(made.user, "main")
        with pytest.raises(PermanentDriverError, match=f"{made.user}_main"):
            self.pack(ground, made)
        assert ground.files(f"{directory}/backup") == {}, "an old one would look new"

    def test_loaded_databases_and_crontab_are_as_they_were_packed(self, ground: Ground, made: AccountSpec) -> None:
        line = "5 5 * * * /bin/true mine"
        ground.write_database(made.user, "main", "first")
        ground.add_cron(made.user, line)
        before = seen(ground, made.user).cron
        self.suspend(ground, made)
        with pytest.raises(NotFound):
            self.load(ground, made)
        self.pack(ground, made)
        self.unsuspend(ground, made)
        ground.write_database(made.user, "main", "second")
        ground.take_cron(made.user)
        with pytest.raises(WrongState, match="suspend"):
            self.load(ground, made)
        assert ground.database_text(made.user, "main") == "second"
        self.suspend(ground, made)
        for _ in range(2):
            assert [each.name for each in self.load(ground, made)] == ["main"]
        with pytest.raises(NotFound):
            self.load(ground, made, "other")
        assert seen(ground, made.user).suspended
        assert self.unsuspend(ground, made) == ()
        assert ground.database_text(made.user, "main") == "first"
        assert seen(ground, made.user).cron == before

    def test_of_databases_that_are_named_nothing_else_comes_back(self, ground: Ground, made: AccountSpec) -> None:
        ground.write_database(made.user, "main", "first")
        ground.add_cron(made.user, "5 5 * * * /bin/true mine")
        self.suspend(ground, made)
        self.pack(ground, made)
        self.unsuspend(ground, made)
        ground.write_database(made.user, "main", "second")
        ground.take_cron(made.user)
        before = seen(ground, made.user).cron
        self.suspend(ground, made)
        self.load(ground, made, "main")
        assert self.unsuspend(ground, made) == ()
        assert (ground.database_text(made.user, "main"), seen(ground, made.user).cron) == ("first", before)

    def test_of_what_was_restored_aside_only_what_is_named_stays(self, ground: Ground, made: AccountSpec) -> None:
        who = {"service_id": made.service_id}
        assert ground.hosting.show_restored(made.user, keep=("b1",), deadline=LONG, **who) == ()
        for backup in ("b1", "b2"):
            ground.put_aside(made.user, backup, "home/index.html", backup)
        for _ in range(2):
            assert ground.hosting.show_restored(made.user, keep=("b2", "b3"), deadline=LONG, **who) == ("b2",)
        assert ground.files(f"/srv/h/{made.user}/restored/b1") == {}
        assert ground.files(f"/srv/h/{made.user}/restored/b2") == {"home/index.html": "b2"}
        assert ground.hosting.show_restored(made.user, keep=(), deadline=LONG, **who) == ()

    def test_a_wipe_takes_what_was_packed_and_restored_too(self, ground: Ground, made: AccountSpec) -> None:
        self.pack(ground, made)
        ground.put_aside(made.user, "b1", "home/index.html", "old")
        who = {"service_id": made.service_id}
        ground.hosting.wipe(made.user, job_id="job-4", deadline=LONG, **who)
        assert ground.files(f"/srv/h/{made.user}") == {}
        assert ground.hosting.residue(made.user, uid=made.uid, clean=False, deadline=LONG, **who).found == ()
        ground.hosting.residue(made.user, uid=made.uid, clean=True, deadline=LONG, **who)

    def test_another_services_account_is_neither_packed_nor_loaded(self, ground: Ground, made: AccountSpec) -> None:
        self.pack(ground, made)
        self.suspend(ground, made)
        stranger = replace(made, service_id="stranger")
        for act in (self.pack, self.load):
            with pytest.raises(WrongState):
                act(ground, stranger)
        with pytest.raises(WrongState):
            ground.hosting.unpack(made.user, service_id="stranger", deadline=LONG)
        with pytest.raises(WrongState):
            ground.hosting.show_restored(made.user, service_id="stranger", keep=(), deadline=LONG)
        assert "account.json" in ground.files(f"/srv/h/{made.user}/backup")

    def adoption(self, ground: Ground, name: str) -> Adoption:
        ground.make_by_hand(name)
        return Adoption(
            stranger=name,
            sites=(SiteFrom(name="main", root=f"/home/{name}/public_html"),),
            databases=(DatabaseFrom(name="main", source=name),),
        )

    def test_a_user_made_by_hand_is_looked_at_and_nobody_else_is(self, ground: Ground, made: AccountSpec) -> None:
        who: dict[str, Any] = {"service_id": made.service_id, "deadline": LONG}
        adoption = self.adoption(ground, "byhand")
        found = ground.hosting.look_at(made.user, adoption, **who)
        assert (found.name, found.home, found.obstacles, found.inodes > 0) == ("byhand", "/home/byhand", (), True)
        (site,) = found.sites
        assert (site.name, site.domains, len(found.cron), len(found.files)) == ("main", ("byhand.example",), 1, 1)
        assert [each[:2] for each in found.databases] == [("main", "byhand")]
        assert ground.in_force("byhand") == (True, True)
        for stranger, error in (("nobodyhere", NotFound), ("root", Refused), (made.user, Refused)):
            with pytest.raises(error):
                ground.hosting.look_at(made.user, replace(adoption, stranger=stranger), **who)
        missing = replace(adoption, databases=(DatabaseFrom(name="main", source="nothing"),))
        with pytest.raises(NotFound):
            ground.hosting.look_at(made.user, missing, **who)
        with pytest.raises(Refused):
            ground.hosting.look_at(made.user, replace(adoption, sites=(SiteFrom(name="main", root="/etc"),)), **who)
        ground.write_database(made.user, "main", "orders")
        assert ground.hosting.look_at(made.user, adoption, **who).obstacles
        ground.empty_database(made.user, "main")

    def test_what_serves_a_user_is_set_aside_and_put_back_by_the_job_that_did_it(self, ground: Ground, made: AccountSpec) -> None:
        adoption = self.adoption(ground, "byhand")
        who: dict[str, Any] = {"service_id": made.service_id, "deadline": LONG}
        for act in (ground.hosting.set_aside, ground.hosting.gather):
            with pytest.raises(WrongState):
                act(made.user, adoption, job_id="job-8", **who)
        self.suspend(ground, made)
        for _ in range(2):
            assert len(ground.hosting.set_aside(made.user, adoption, job_id="job-8", **who).files) == 2
        assert ground.in_force("byhand") == (False, False)
        assert ground.hosting.put_back(made.user, "byhand", job_id="job-9", **who) == ()
        assert ground.in_force("byhand") == (False, False)
        assert len(ground.hosting.put_back(made.user, "byhand", job_id="job-8", **who)) == 2
        assert ground.hosting.put_back(made.user, "byhand", job_id="job-8", **who) == ()
        assert ground.in_force("byhand") == (True, True)
        self.unsuspend(ground, made)

    def test_what_is_gathered_can_be_brought_in_and_is_taken_out_by_the_same_job(self, ground: Ground, made: AccountSpec) -> None:
        adoption = self.adoption(ground, "byhand")
        who: dict[str, Any] = {"service_id": made.service_id, "job_id": "job-8", "deadline": LONG}
        ground.empty_database(made.user, "main")
        self.suspend(ground, made)
        tarball = ground.hosting.gather(made.user, adoption, **who)
        assert tarball.databases == ("main",)
        (loaded,) = ground.hosting.bring_in(made.user, tarball, **who)
        assert (loaded.name, ground.database_text(made.user, "main")) == ("main", "old rows")
        assert ground.files(f"/srv/h/{made.user}/home/sites/main/public")["index.html"] == "by hand"
        ground.hosting.take_out(made.user, **{**who, "job_id": "job-9"})
        assert ground.database_text(made.user, "main") == "old rows", "another job's"
        for _ in range(2):
            ground.hosting.drop_gathered(made.user, **who)
            ground.hosting.take_out(made.user, **who)
        assert ground.database_text(made.user, "main") == ""
        with pytest.raises(NotFound):
            ground.hosting.look_into(tarball.file, most_bytes=1 << 40, most_inodes=1 << 20, deadline=LONG)
        self.unsuspend(ground, made)
        stranger = {**who, "service_id": "stranger"}
        for act in (ground.hosting.set_aside, ground.hosting.gather):
            with pytest.raises(WrongState):
                act(made.user, adoption, **stranger)
        with pytest.raises(WrongState):
            ground.hosting.drop_gathered(made.user, **stranger)

    def test_a_user_and_a_uid_that_are_not_each_others_are_refused(self, ground: Ground, made: AccountSpec) -> None:
        with pytest.raises(RequestError):
            ground.hosting.residue(made.user, service_id=made.service_id, uid=made.uid + 1, clean=False, deadline=LONG)

    def test_a_php_that_is_not_there_is_refused_and_nothing_is_made(self, ground: Ground) -> None:
        spec = spec_of(ground)
        site = replace(spec.sites[0], php="5.3")
        with pytest.raises(WrongState):
            ground.hosting.apply(replace(spec, sites=(site,)), job_id=JOB, deadline=LONG)
        assert not seen(ground, spec.user).exists

    def test_a_domain_that_another_account_serves_is_refused_and_nothing_is_made(self, ground: Ground, made: AccountSpec) -> None:
        spec = spec_of(ground)
        taken = made.sites[0].domains[1]
        site = replace(spec.sites[0], domains=(*spec.sites[0].domains, taken))
        with pytest.raises(WrongState, match=re.escape(f"served for another account already: {taken} ({made.user})")):
            ground.hosting.apply(replace(spec, sites=(site,)), job_id=JOB, deadline=LONG)
        assert not seen(ground, spec.user).exists
