"""The Repositories suite: on the simulated repositories, and with restic in a local directory, on sshd and on rest-server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.domain.errors import NotFound, PermanentDriverError, Refused, TransientDriverError
from orchestrator.drivers.fake import FakeRepositories, FakeWorld, directories
from orchestrator.drivers.fake import repositories as fake
from orchestrator.drivers.fake.repository_state import name_of
from orchestrator.drivers.restic import ResticRepositories
from orchestrator.ports.repositories import RepositoryAccess
from tests.contract.repositories import FILES, LONG, RepositoriesContract, RepositoryTroubleContract, Site
from tests.lab.environment import Lab
from tests.local_agent import LocalAgent
from tests.rest_server import SECRET, USER, RestServer, free_port, rest_servers
from tests.restic_keys import plant
from tests.restic_runs import flip, leave_lock

PASSWORD = "the service's own key"


class FakeNode:
    def __init__(self, world: FakeWorld) -> None:
        self.world = world

    def put(self, directory: str, path: str, text: str) -> None:
        directories.put_file(self.world, "n1", directory, path, text)

    def drop(self, directory: str, path: str) -> None:
        directories.drop_file(self.world, "n1", directory, path)

    def texts(self, directory: str) -> dict[str, str]:
        return directories.texts(self.world, "n1", directory)

    def damage(self, access: RepositoryAccess, snapshot: str) -> None:
        fake.damage(self.world, access.location, snapshot)

    def leave_lock(self, access: RepositoryAccess, *, ours: bool) -> None:
        fake.leave_lock(self.world, access.location, node="n1" if ours else "")


class RealNode:
    """This machine. ``kept``: where the repositories of the test lie on it, whichever way they are reached."""

    def __init__(self, agent: LocalAgent, kept: Path, scratch: Path) -> None:
        self._agent, self._kept, self._scratch = agent, kept, scratch

    def put(self, directory: str, path: str, text: str) -> None:
        place = Path(directory) / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def drop(self, directory: str, path: str) -> None:
        (Path(directory) / path).unlink()

    def texts(self, directory: str) -> dict[str, str]:
        top = Path(directory)
        return {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()}

    def damage(self, access: RepositoryAccess, snapshot: str) -> None:
        for pack in (self._kept / name_of(access.location)).glob("data/*/*"):
            flip(pack)

    def leave_lock(self, access: RepositoryAccess, *, ours: bool) -> None:
        leave_lock(self._agent if ours else None, access, self._kept / name_of(access.location), self._scratch)


class TestFakeRepositories(RepositoriesContract, RepositoryTroubleContract):
    @pytest.fixture
    def site(self, tmp_path: Path) -> Site:
        world = FakeWorld(tmp_path / "world.json")
        world.add_node("n1")
        node = FakeNode(world)
        for path, text in FILES.items():
            node.put("/home/s1", path, text)
        access = RepositoryAccess(location="/srv/backup/s1.1", password=PASSWORD)
        return Site(
            repositories=FakeRepositories(world, "n1"),
            node=node,
            access=access,
            keeper=access,
            home="/home/s1",
            aside="/home/s1.restored",
        )

    def test_what_cannot_be_read_makes_a_backup_partial_and_is_named(self, site: Site) -> None:
        site.make()
        assert isinstance(site.node, FakeNode)
        directories.put_file(site.node.world, "n1", site.home, "index.html", "mine", unreadable=True)
        facts = site.backup("j1")
        assert (facts.whole, facts.failed_count, [each.item for each in facts.failed]) == (False, 1, ["/index.html"])

    def test_an_append_only_endpoint_adds_and_does_not_delete(self, site: Site) -> None:
        site.make()
        refuses_to_delete(replace(site, access=replace(site.access, location="rest:http://append-only.test/s1.1/")))


@pytest.mark.lab
class OnThisMachine:
    """With restic, through the agent of the source tree on this machine."""

    @pytest.fixture
    def kept(self, tmp_path: Path) -> Path:
        """Where the repositories lie."""
        kept = tmp_path / "kept"
        kept.mkdir(exist_ok=True)
        return kept

    @pytest.fixture
    def site(self, tmp_path: Path, kept: Path, accesses: tuple[RepositoryAccess, RepositoryAccess]) -> Site:
        agent = LocalAgent(tmp_path / "node", [])
        node = RealNode(agent, kept, tmp_path)
        home = tmp_path / "home"
        for path, text in FILES.items():
            node.put(str(home), path, text)
        access, keeper = accesses
        return Site(
            repositories=ResticRepositories(agent),
            node=node,
            access=access,
            keeper=keeper,
            home=str(home),
            aside=str(tmp_path / "aside"),
            plant=lambda: plant(kept / "s1.1", PASSWORD),
        )


class TestResticInADirectory(OnThisMachine, RepositoriesContract, RepositoryTroubleContract):
    @pytest.fixture
    def accesses(self, kept: Path) -> tuple[RepositoryAccess, RepositoryAccess]:
        access = RepositoryAccess(location=f"{kept}/s1.1", password=PASSWORD)
        return access, access

    def test_nothing_is_made_or_missed_while_its_target_is_not_there(self, site: Site, kept: Path) -> None:
        waits_for_its_target(site, kept)


class OverSftp(OnThisMachine):
    @pytest.fixture
    def accesses(self, lab: Lab, kept: Path) -> tuple[RepositoryAccess, RepositoryAccess]:
        access = RepositoryAccess(
            location=f"sftp://root@{lab.ssh_address}:{lab.ssh_port}/{kept}/s1.1",
            password=PASSWORD,
            ssh_key=lab.ssh_identity.read_text(),
            ssh_known_hosts=lab.ssh_known_hosts.read_text(),
        )
        return access, access


class TestResticOverSftp(OverSftp, RepositoriesContract):
    def test_nothing_is_made_or_missed_while_its_target_is_not_there(self, site: Site, kept: Path) -> None:
        waits_for_its_target(site, kept)

    def test_a_server_that_presents_another_key_is_not_talked_to(self, site: Site) -> None:
        changed = site.access.ssh_known_hosts.replace("ssh-ed25519 AAAA", "ssh-ed25519 AAAB")
        with pytest.raises(PermanentDriverError):
            site.repositories.create(replace(site.access, ssh_known_hosts=changed), deadline=LONG)
        with pytest.raises(PermanentDriverError):
            site.repositories.create(replace(site.access, ssh_known_hosts=""), deadline=LONG)


@pytest.mark.rare
class TestTroubleOverSftp(OverSftp, RepositoryTroubleContract):
    """``make test`` has it in a directory."""


class OnRestServer(OnThisMachine):
    @pytest.fixture
    def kept(self, servers: RestServer) -> Path:
        return servers.directory

    @pytest.fixture
    def servers(self, tmp_path: Path) -> Iterator[RestServer]:
        with rest_servers(tmp_path) as servers:
            yield servers

    @pytest.fixture
    def accesses(self, servers: RestServer) -> tuple[RepositoryAccess, RepositoryAccess]:
        access = RepositoryAccess(location=f"{servers.append_only}s1.1/", password=PASSWORD, user=USER, secret=SECRET)
        return access, replace(access, location=f"{servers.keeper}s1.1/")


class TestResticOnRestServer(OnRestServer, RepositoriesContract):
    def test_an_append_only_endpoint_adds_and_does_not_delete(self, site: Site) -> None:
        site.make()
        refuses_to_delete(site)

    def test_a_wrong_secret_is_not_tried_again_and_stands_in_no_message(self, site: Site) -> None:
        wrong = replace(site.access, secret="not the node's secret")
        with pytest.raises(PermanentDriverError) as caught:
            site.repositories.create(wrong, deadline=LONG)
        assert wrong.secret not in f"{caught.value} {caught.value.details}"

    def test_a_server_that_is_away_may_come_back(self, site: Site) -> None:
        away = replace(site.access, location=f"rest:http://127.0.0.1:{free_port()}/s1.1/")
        for call in (site.repositories.create, site.repositories.destroy):
            with pytest.raises(TransientDriverError, match="not reached"):
                call(away, deadline=LONG)


@pytest.mark.rare
class TestTroubleOnRestServer(OnRestServer, RepositoryTroubleContract):
    """``make test`` has it in a directory."""


def waits_for_its_target(site: Site, kept: Path) -> None:
    """As when a disk is not mounted: what is there afterwards is what was there before, and no new repository beside it."""
    site.make()
    snapshot = site.backup("j1").snapshot
    kept.rename(kept.with_name("away"))
    calls = (
        lambda: site.repositories.create(site.access, deadline=LONG),
        lambda: site.repositories.snapshots(site.access, deadline=LONG),
        lambda: site.backup("j2"),
    )
    for call in calls:
        with pytest.raises(TransientDriverError, match=rf"the target {kept} is not there: is it mounted\?") as caught:
            call()
        assert f"mkdir -p {kept}" in caught.value.hint
    assert not kept.exists()
    kept.with_name("away").rename(kept)
    assert site.ids() == [snapshot]
    shutil.rmtree(kept / "s1.1")
    with pytest.raises(NotFound, match="no repository"):
        site.repositories.snapshots(site.access, deadline=LONG)


def refuses_to_delete(site: Site) -> None:
    """Neither a snapshot nor the repository; both stay."""
    snapshot = site.backup("j1").snapshot
    with pytest.raises(Refused, match="append-only"):
        site.repositories.forget(site.access, (snapshot,), prune=False, deadline=LONG)
    with pytest.raises(Refused, match="append-only"):
        site.repositories.destroy(site.access, deadline=LONG)
    assert site.ids() == [snapshot]
