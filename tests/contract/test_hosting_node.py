"""The contract of HostingNode, on the simulated node and on a real server with the real agent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.domain.accounts import AccountSpec
from orchestrator.drivers.fake import FakeHostingNode, FakeWorld
from orchestrator.drivers.fake.directories import put_file, texts
from orchestrator.drivers.fake.hosting import PHP
from orchestrator.drivers.fake.hosting_copies import add_cron, aside, break_database, database_text, write_database
from orchestrator.drivers.fake.hosting_strangers import settle, stranger
from orchestrator.drivers.hosting import AgentHostingNode
from orchestrator.ports.hosting_node import HostingNode
from tests.contract.hosting import HostingContract, HostingDetailsContract
from tests.contract.hosting_copies import HostingCopiesContract
from tests.contract.hosting_ground import JOB, LONG, HostingSuite, seen, spec_of
from tests.hosting_server import HostingServer

NODE = "h1"
FILES = """
import json, os, sys
top = sys.argv[1]
found = {}
for directory, _, names in os.walk(top):
    for name in names:
        path = os.path.join(directory, name)
        found[os.path.relpath(path, top)] = open(path, errors="replace").read()
print(json.dumps(found))
"""
"""Prints all files below a directory with their texts."""
BY_HAND = """
id NAME >/dev/null 2>&1 || useradd --create-home NAME
mkdir -p /home/NAME/public_html
printf 'by hand' >/home/NAME/public_html/index.html
chown -R NAME:NAME /home/NAME
mariadb -e "CREATE DATABASE IF NOT EXISTS NAME; CREATE OR REPLACE TABLE NAME.notes SELECT 'old rows' AS said"
echo 'server { listen 80; server_name NAME.example; root /home/NAME/public_html; }' >/etc/nginx/sites-enabled/NAME
echo '0 3 * * * true' | crontab -u NAME -
systemctl reload nginx
"""
"""Makes a user with a site, a database and a crontab, or what of them is lacking."""


@dataclass(frozen=True)
class Simulated:
    world: FakeWorld
    hosting: HostingNode
    php: str = PHP[0]

    def write_log(self, user: str) -> None:
        with self.world.change() as state:
            state["nodes"][NODE]["files"].append(f"/var/log/orchestrator/{user}/main.access.log")

    def write_database(self, user: str, database: str, text: str) -> None:
        write_database(self.world, NODE, user, database, text)

    def database_text(self, user: str, database: str) -> str:
        return database_text(self.world, NODE, user, database)

    def empty_database(self, user: str, database: str) -> None:
        write_database(self.world, NODE, user, database, "")

    def make_by_hand(self, name: str) -> None:
        files, line = {"public_html/index.html": "by hand"}, {"schedule": "0 3 * * *", "command": "true"}
        settle(self.world, NODE, name, files=files, databases={name: "old rows"}, crontab=[line])

    def in_force(self, name: str) -> tuple[bool, bool]:
        there = stranger(self.world, NODE, name)
        return bool(there["vhosts"]), bool(there["crontab"])

    def break_database(self, user: str, database: str) -> None:
        break_database(self.world, NODE, user, database)

    def add_cron(self, user: str, line: str) -> None:
        add_cron(self.world, NODE, user, line)

    def take_cron(self, user: str) -> None:
        with self.world.change() as state:
            state["nodes"][NODE]["accounts"][user]["own_cron"] = []

    def files(self, directory: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for top in self.world.node(NODE).get("directories", {}):
            for path, text in texts(self.world, NODE, top).items():
                if f"{top}/{path}".startswith(f"{directory}/"):
                    found[f"{top}/{path}".removeprefix(f"{directory}/")] = text
        return found

    def put_aside(self, user: str, backup: str, path: str, text: str) -> None:
        put_file(self.world, NODE, aside(user, backup), path, text)


class TestSimulatedHostingNode(HostingContract, HostingDetailsContract, HostingCopiesContract):
    """The simulated node."""

    @pytest.fixture
    def ground(self, tmp_path: Path) -> Simulated:
        world = FakeWorld(tmp_path / "world.json")
        world.add_node(NODE)
        return Simulated(world, FakeHostingNode(world, NODE))


@dataclass(frozen=True)
class Real:
    server: HostingServer
    hosting: HostingNode
    php: str

    def write_log(self, user: str) -> None:
        logs = f"/var/log/orchestrator/{user}"
        self.server.server.shell(f"mkdir -p {logs}; echo a line >>{logs}/main.access.log")

    def write_database(self, user: str, database: str, text: str) -> None:
        self._ask(f"{user}_{database}", f"DROP VIEW IF EXISTS broken; CREATE OR REPLACE TABLE notes SELECT '{text}' AS said")

    def database_text(self, user: str, database: str) -> str:
        of_it = f"table_schema = '{user}_{database}' AND table_name = 'notes'"
        there = self._ask("information_schema", f"SELECT 1 FROM tables WHERE {of_it}")
        return self._ask(f"{user}_{database}", "SELECT said FROM notes").strip() if there else ""

    def empty_database(self, user: str, database: str) -> None:
        self._ask(f"{user}_{database}", "DROP VIEW IF EXISTS broken; DROP TABLE IF EXISTS notes, gone")

    def make_by_hand(self, name: str) -> None:
        self.server.server.shell(BY_HAND.replace("NAME", name))

    def in_force(self, name: str) -> tuple[bool, bool]:
        served = f"server_name {name}.example" in self.server.run("nginx", "-T", "-q")
        return served, self.server.server.attempt("crontab", "-u", name, "-l").returncode == 0

    def break_database(self, user: str, database: str) -> None:
        """A view of a table that is gone."""
        self._ask(f"{user}_{database}", "CREATE TABLE gone (i INT); CREATE VIEW broken AS SELECT i FROM gone; DROP TABLE gone")

    def mend_database(self, user: str, database: str) -> None:
        self._ask(f"{user}_{database}", "DROP VIEW IF EXISTS broken")

    def add_cron(self, user: str, line: str) -> None:
        self.server.server.shell(f"{{ crontab -u {user} -l || true; echo '{line}'; }} 2>/dev/null | crontab -u {user} -")

    def take_cron(self, user: str) -> None:
        self.server.server.attempt("crontab", "-u", user, "-r")

    def files(self, directory: str) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.server.run("python3", "-c", FILES, directory))
        return found

    def put_aside(self, user: str, backup: str, path: str, text: str) -> None:
        """As a restore does: with the owner that the file had in the home."""
        place = f"/srv/h/{user}/restored"
        self.server.run("install", "-d", "-m", "700", place, f"{place}/{backup}")
        self.server.server.write(f"{place}/{backup}/{path}", text)
        self.server.run("chown", "-R", f"{user}:{user}", f"{place}/{backup}/{path.partition('/')[0]}")

    def _ask(self, database: str, script: str) -> str:
        return self.server.run("mariadb", "--batch", "--skip-column-names", database, "-e", script)


@pytest.fixture(scope="module")
def real(hosting_node: HostingServer) -> Iterator[Real]:
    transport = hosting_node.transport()
    hosting = AgentHostingNode(transport, name=hosting_node.node.name)
    yield Real(hosting_node, hosting, hosting.doctor(deadline=LONG).php[0])
    hosting_node.server.shell(
        "id byhand >/dev/null 2>&1 || exit 0; rm -f /etc/nginx/sites-enabled/byhand; systemctl reload nginx;"
        " crontab -u byhand -r || true; userdel --remove byhand; mariadb -e 'DROP DATABASE IF EXISTS byhand'"
    )
    transport.close()


@pytest.fixture(scope="module")
def standing(real: Real) -> Iterator[AccountSpec]:
    """The account that all tests on the real node have: its processor is emulated, and a new one takes its time."""
    spec = spec_of(real)
    yield spec
    if seen(real, spec.user).service_id == spec.service_id:
        real.hosting.wipe(spec.user, service_id=spec.service_id, job_id="job-end", deadline=LONG)
    real.hosting.residue(spec.user, service_id=spec.service_id, uid=spec.uid, clean=True, deadline=LONG)


class _OnAServer(HostingSuite):
    """A Debian server of the lab."""

    @pytest.fixture
    def ground(self, real: Real) -> Real:
        return real

    @pytest.fixture
    def sold(self, ground: Real, standing: AccountSpec) -> AccountSpec:
        """As it is sold, whatever the test before did to it."""
        if ground.hosting.apply(standing, job_id=JOB, deadline=LONG).facts.suspended_by:
            self.unsuspend(ground, standing)
        return standing

    @pytest.fixture
    def made(self, sold: AccountSpec) -> AccountSpec:
        return sold


@pytest.mark.guest
@pytest.mark.timeout(900)
class TestRealHostingNode(_OnAServer, HostingContract):
    """The node, and accounts from their making to their wipe."""


@pytest.mark.rare
@pytest.mark.guest
@pytest.mark.timeout(900)
class TestDetailsOfARealHostingNode(_OnAServer, HostingDetailsContract):
    """``make test`` has the simulated node's, and a suspension of a real account in tests/e2e/test_hosting.py."""


@pytest.mark.rare
@pytest.mark.guest
@pytest.mark.timeout(900)
class TestCopiesOnARealHostingNode(_OnAServer, HostingCopiesContract):
    """``make test`` packs and loads on a real node in test_hosting_packs and test_hosting_restores."""

    @pytest.fixture
    def made(self, ground: Real, sold: AccountSpec) -> AccountSpec:
        """Without what these tests do to it."""
        ground.mend_database(sold.user, "main")
        ground.take_cron(sold.user)
        ground.hosting.unpack(sold.user, service_id=sold.service_id, deadline=LONG)
        return sold
