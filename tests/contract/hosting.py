"""What every driver of HostingNode must do; a suite for one kind of node inherits this."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from orchestrator.domain.accounts import AccountLimits, AccountSpec, user_of
from orchestrator.domain.errors import NotFound, RequestError, WrongState
from tests.contract.hosting_ground import JOB, LIMITS, LONG, Ground, HostingSuite, seen, spec_of, still


class HostingContract(HostingSuite):
    """The node, and accounts from their making to their wipe."""

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

    def test_what_an_account_uses_is_told_of_those_that_are_there(self, ground: Ground, made: AccountSpec) -> None:
        (used,) = ground.hosting.usage((made.user, user_of(999_999)), deadline=LONG)
        assert (used.user, used.bytes >= 0, used.inodes >= 0) == (made.user, True, True)

    def test_residue_is_not_cleaned_under_an_account_that_is_there(self, ground: Ground, made: AccountSpec) -> None:
        with pytest.raises(WrongState):
            ground.hosting.residue(made.user, service_id=made.service_id, uid=made.uid, clean=True, deadline=LONG)
        assert seen(ground, made.user).exists
        assert made.user not in [each.user for each in ground.hosting.node_residue(deadline=LONG).accounts]

    def test_a_domain_that_another_account_serves_is_refused_and_nothing_is_made(self, ground: Ground, made: AccountSpec) -> None:
        spec = spec_of(ground)
        taken = made.sites[0].domains[1]
        site = replace(spec.sites[0], domains=(*spec.sites[0].domains, taken))
        with pytest.raises(WrongState, match=re.escape(f"served for another account already: {taken} ({made.user})")):
            ground.hosting.apply(replace(spec, sites=(site,)), job_id=JOB, deadline=LONG)
        assert not seen(ground, spec.user).exists

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


class HostingDetailsContract(HostingSuite):
    """What is asked for twice, or does not fit together, changes nothing; and what happens to an account that is suspended."""

    def test_made_again_nothing_changes(self, ground: Ground, made: AccountSpec) -> None:
        before = still(seen(ground, made.user))
        again = ground.hosting.apply(made, job_id="job-9", deadline=LONG)
        assert again.changed == ()
        assert still(seen(ground, made.user)) == before, "also who made it"

    def test_a_user_and_a_uid_that_are_not_each_others_are_refused(self, ground: Ground, made: AccountSpec) -> None:
        with pytest.raises(RequestError):
            ground.hosting.residue(made.user, service_id=made.service_id, uid=made.uid + 1, clean=False, deadline=LONG)

    def test_a_php_that_is_not_there_is_refused_and_nothing_is_made(self, ground: Ground) -> None:
        spec = spec_of(ground)
        site = replace(spec.sites[0], php="5.3")
        with pytest.raises(WrongState):
            ground.hosting.apply(replace(spec, sites=(site,)), job_id=JOB, deadline=LONG)
        assert not seen(ground, spec.user).exists

    def test_suspended_nothing_answers_whatever_is_changed_and_back_it_is_as_it_was(
        self, ground: Ground, made: AccountSpec
    ) -> None:
        before = still(seen(ground, made.user))
        for job_id in ("job-2", "job-5"):
            facts = self.suspend(ground, made, job_id)
            assert (facts.suspended, facts.suspended_by) == (True, "job-2"), "the first job is whose it is"
        wider = replace(LIMITS, inodes=5000)
        facts = ground.hosting.apply(replace(made, limits=wider), job_id="job-9", deadline=LONG).facts
        assert (facts.limits, facts.suspended) == (wider, True)
        ways = ground.hosting.probe(made.user, service_id=made.service_id, deadline=LONG)
        assert {"http", "https", "sftp-key", "cron", "database", "processes"} <= {way.way for way in ways}
        assert [way for way in ways if way.open] == []
        assert {site.serving for site in seen(ground, made.user).sites} == {"suspended"}
        assert self.unsuspend(ground, made) == ()
        assert (before.suspended_by, still(seen(ground, made.user))) == ("", replace(before, limits=wider))
        assert self.unsuspend(ground, made) == (), "it is not suspended: nothing is done"
