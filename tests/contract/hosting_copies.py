"""What every driver of HostingNode must do with copies of accounts, and with what was there before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.domain.accounts import AccountSpec
from orchestrator.domain.adopting import Adoption, DatabaseFrom, SiteFrom
from orchestrator.domain.errors import NotFound, PermanentDriverError, Refused, WrongState
from tests.contract.hosting_ground import LONG, Ground, HostingSuite, seen


class HostingCopiesContract(HostingSuite):
    """Packing, loading, showing what was restored, taking over what somebody made by hand."""

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
