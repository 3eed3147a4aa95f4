"""An account's backup on real servers: restored in place, and brought back on another server when the first holds nothing of it.

restic runs on the nodes and writes to a real rest-server; what comes back is looked at as its customer and his visitors see it.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.billing import Billing
from tests.e2e.hosted import SMALL, Hosting
from tests.e2e.site import POLICIES, SECRET, Site
from tests.e2e.tenant import Tenant
from tests.lab import hosting
from tests.lab.environment import Lab
from tests.lab.hosting import HostingNode
from tests.rest_server import rest_servers, target_of

# Two servers more, and six long jobs on them: with the whole matrix (`make fault`).
pytestmark = [pytest.mark.guest, pytest.mark.rare, pytest.mark.timeout(1800)]

NAMES = ("web1", "web2")
FIRST = 3  # among the lab's hosting nodes: the others are other tests'
GATEWAY = "10.77.0.1"
TARGET = "main"
PLAN = SMALL | {"policy": "default"}
ARCHIVE = "archive:\n  keep: {hosting: 5 days}\n  clause: kept"
LETTER = b"what nobody else has"
CRON = "0 4 * * * echo mine\n"


@dataclass
class Two:
    """An installation with two nodes. ``servers`` by their names."""

    hosting: Hosting
    servers: dict[str, HostingNode]

    @property
    def site(self) -> Site:
        return self.hosting.site

    def act(self, service: str, what: str, **said: Any) -> dict[str, Any]:
        """An operator's act; its job, once it is done."""
        answer = self.site.http(
            "POST", f"/v1/services/{service}/{what}", json={"reason": "a test", **said}, key=f"{what}-{service}"
        )
        assert answer.status_code == 202, answer.text
        return self.hosting.done(str(answer.json()["job_id"]), seconds=900)

    def backups(self, service: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.site.http("GET", f"/v1/backups?service_id={service}").json()["items"]
        return found

    def close_for_new(self, *closed: str) -> None:
        """Declare that no new account is placed on these nodes; a controller reads that when it starts."""
        assert self.site.stop() == 0
        self.site.nodes = tuple({**entry, "maintenance": entry["name"] in closed} for entry in self.site.nodes)
        declare(self.site)
        self.site.start()
        for name in NAMES:
            self.site.wait_for_node(name)


def declare(site: Site) -> None:
    """The configuration, with a default policy that keeps accounts for a while."""
    site.configure()
    text = (POLICIES / "default.yaml").read_text()
    assert "archive: null" in text
    (site.config / "policies" / "default.yaml").write_text(text.replace("archive: null", ARCHIVE))


@pytest.fixture(scope="module")
def two(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    directory = tmp_path_factory.mktemp("copies")
    with ExitStack() as held:
        servers = {name: held.enter_context(hosting.running(lab, FIRST + number)) for number, name in enumerate(NAMES)}
        kept = held.enter_context(rest_servers(directory, host=GATEWAY))
        entry = {"zone": "lab", "kind": "hosting", "memory_ratio": 4, "backups": TARGET}
        target = target_of(TARGET, kept.append_only, kept.keeper, directory)
        site = Site(
            lab=lab,
            directory=directory,
            templates=(),
            plans=(),
            billing=held.enter_context(Billing(SECRET)),
            nodes=tuple({"name": name, "address": server.address, **entry} for name, server in servers.items()),
            hosting=(PLAN,),
            settings={"backups": {"targets": [target], "drills": 0}},
        )
        held.callback(site.kill)
        declare(site)
        site.cli("init")
        site.start()
        for name, server in servers.items():
            server.write("/usr/bin/restic", Path(str(shutil.which("restic"))).read_bytes(), mode=0o755)
            assert site.enrol(name)["complete"]
            site.wait_for_node(name)
        yield Two(Hosting(site, servers[NAMES[0]], directory), servers)


def test_an_account_is_backed_up_restored_wiped_and_back_on_another_server(two: Two) -> None:
    two.close_for_new(NAMES[1])
    (anna,) = two.hosting.ordered("anna")
    first = anna.node
    assert [anna.visit(), anna.visit()] == [1, 2]
    with anna.sftp() as files:
        files.putfo(io.BytesIO(LETTER), "/home/letter")
    first.run("crontab", "-u", anna.user, "-", stdin=CRON.encode())
    two.act("anna", "backup")
    (made,) = two.backups("anna")
    assert (made["state"], made["consistency"]) == ("verified", "files")
    assert first.run("ls", f"/srv/h/{anna.user}").split() == ["home"], "nothing that was packed stays"

    first.run("rm", f"{anna.home}/letter", f"{anna.home}/sites/main/public/index.php")
    anna.database(f"DROP TABLE {anna.user}_main.visits")
    two.hosting.done(str(two.site.ask("restore", "anna", "--delete", "--reason", "he broke it")["job_id"]), seconds=900)
    assert anna.visit() == 3
    assert letter(anna) == LETTER
    assert first.run("crontab", "-u", anna.user, "-l") == CRON

    assert anna.visit() == 4
    two.act("anna", "terminate")
    assert two.hosting.service(anna)["state"] == "archived"
    named = ("(", "-uid", str(anna.uid), "-o", "-gid", str(anna.uid), "-o", "-name", f"*{anna.user}*", ")")
    assert first.run("find", "/", "-xdev", *named) == ""
    copies = two.site.ask("certificate", "show", "anna")["copies"]
    assert any("archive" in str(each) for each in copies), copies

    two.close_for_new(NAMES[0])
    two.act("anna", "reactivate")
    assert two.hosting.service(anna)["node"] == NAMES[1]
    anna.node = two.servers[NAMES[1]]
    assert anna.visit() == 5
    assert letter(anna) == LETTER
    assert anna.node.run("crontab", "-u", anna.user, "-l") == CRON
    assert (anna.gets_in(by_password=True), anna.database().stdout.split()) == (True, [b"42"])
    assert first.run("find", "/", "-xdev", *named) == ""


def letter(tenant: Tenant) -> bytes:
    with tenant.sftp() as files, files.open("/home/letter", "rb") as file:
        return bytes(file.read())
