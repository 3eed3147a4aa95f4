"""An account moves in on a real hosting node: by its own rights, as far as there is room, and nothing of what is hostile."""

from __future__ import annotations

import base64
import gzip
import http.client
import io
import json
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.domain.errors import OrchestratorError
from tests.hosting_server import HostingServer

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]

UID = 100_931
USER = f"h{UID}"
WHO = {"user": USER, "service_id": "web-import"}
IMPORTS = "/var/lib/orchestrator-agent/imports"
PAGE = """<?php
$d = new mysqli('localhost', get_current_user(), '', get_current_user().'_shop');
echo 'rows ', $d->query('select count(*) from t')->fetch_row()[0], ' as ', posix_getuid();
"""
DUMP = """CREATE TABLE `t` (`i` int) ENGINE=InnoDB;
INSERT INTO `t` VALUES (1),(2),(3);
"""
STEALS = "CREATE TABLE `t` (`i` int);\nINSERT INTO mysql.global_priv VALUES ('%','evil','{}');\n"


def spec() -> dict[str, Any]:
    return {
        "service_id": WHO["service_id"],
        "user": USER,
        "uid": UID,
        "limits": {"disk_bytes": 20 << 20, "inodes": 200, "cpu_percent": 100, "memory_bytes": 256 << 20, "tasks": 60},
        "sites": [{"name": "shop", "domains": ["moved.example"], "php": "8.2"}],
        "databases": [{"name": "shop"}, {"name": "other"}],
    }


@pytest.fixture
def ground(hosting_node: HostingServer) -> Iterator[HostingServer]:
    hosting_node.call("hosting-prepare", {})
    hosting_node.call("account-apply", {"account": spec(), "job_id": "j1"}, deadline=300)
    yield hosting_node
    hosting_node.call("account-wipe", {**WHO, "job_id": "j9"}, deadline=300)
    hosting_node.call("account-residue", {**WHO, "uid": UID, "clean": True})


def member(name: str, content: bytes = b"", **more: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    for key, value in more.items():
        setattr(info, key, value)
    return info, content


def packed(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(out.getvalue())


GOOD = (
    member("home/sites/shop/public/index.php", PAGE.encode(), mode=0o777, uid=0),
    member("home/www", type=tarfile.SYMTYPE, linkname="sites/shop/public"),
    member("home/again", type=tarfile.LNKTYPE, linkname="home/sites/shop/public/index.php"),
    member("account.json", json.dumps({"sites": []}).encode()),
)


# All of it is in tests/unit/test_hosting_tarball.py; here it is told to a real node.
HOSTILE = (
    member("../../etc/cron.d/evil", b"x"),
    member("home/x", type=tarfile.SYMTYPE, linkname="/etc"),
    member("home/su", b"x", mode=0o4755),
    member("home/dev", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    member("home/big", bytes(21 << 20)),
)


def lay(ground: HostingServer, data: bytes, name: str = "old.tar.gz") -> None:
    text = base64.b64encode(data).decode()
    ground.server.shell(f"umask 077; base64 -d >{IMPORTS}/{name} <<'END'\n{text}\nEND\n")


def look(ground: HostingServer) -> dict[str, Any]:
    request = {"file": "old.tar.gz", "most_bytes": 20 << 20, "most_inodes": 200}
    return ground.call("account-tarball", request, deadline=120)


def bring_in(ground: HostingServer, sha256: str, *, job_id: str = "j2") -> dict[str, Any]:
    return ground.call("account-import", {**WHO, "job_id": job_id, "file": "old.tar.gz", "sha256": sha256}, deadline=300)


def page(ground: HostingServer) -> str:
    client = http.client.HTTPConnection(ground.address, 80, timeout=60)
    try:
        client.request("GET", "/", headers={"Host": "moved.example"})
        return client.getresponse().read().decode()
    finally:
        client.close()


def test_what_moves_in_serves_and_belongs_to_its_account_and_what_is_hostile_stays_out(
    ground: HostingServer, whole_matrix: bool
) -> None:
    lay(ground, packed(*GOOD, member("databases/shop.sql", DUMP.encode())))
    found = look(ground)
    assert (found["inodes"], [each["name"] for each in found["databases"]], found["settings"]) == (4, ["shop"], {"sites": []})
    done = bring_in(ground, found["sha256"])
    assert [each["name"] for each in done["loaded"]] == ["shop"]
    assert page(ground) == f"rows 3 as {UID}"
    home = f"/srv/h/{USER}/home"
    there = ground.run("stat", "-c", "%U %G %a %h", f"{home}/sites/shop/public/index.php").split()
    assert there == [USER, USER, "755", "2"], "an umask, and no owner of the tarball's"
    assert ground.run("readlink", f"{home}/www").strip() == "sites/shop/public"
    assert ground.run("stat", "-c", "%a", home).strip() == "750"

    bring_in(ground, found["sha256"])  # its answer was lost
    with pytest.raises(OrchestratorError, match="holds something already"):
        bring_in(ground, found["sha256"], job_id="j3")

    before = ground.run("find", home, "/etc/passwd", "-printf", "%p %s %m\n")
    for hostile in HOSTILE if whole_matrix else HOSTILE[:1]:
        lay(ground, packed(member("home/first", b"x"), hostile))
        with pytest.raises(OrchestratorError):
            bring_in(ground, "0" * 64)
        with pytest.raises(OrchestratorError) as caught:
            look(ground)
        assert caught.value.code in ("refused", "no-capacity"), hostile[0].name
    assert ground.run("find", home, "/etc/passwd", "-printf", "%p %s %m\n") == before

    lay(ground, packed(member("databases/other.sql", STEALS.encode())))
    with pytest.raises(OrchestratorError, match="cannot be loaded"):
        bring_in(ground, look(ground)["sha256"], job_id="j4")
    taken = ground.call("account-import-undo", {**WHO, "job_id": "j4"}, deadline=120)
    assert (taken["removed"], taken["left"], taken["emptied"]) == (0, [], ["other"])
    assert ground.run("mariadb", "-N", "-e", f"show tables in {USER}_other").strip() == ""
    assert "evil" not in ground.run("mariadb", "-N", "-e", "select user from mysql.user")
    assert ground.run("find", "/var/lib/orchestrator-agent/accounts", "-name", "*.sql").strip() == ""


@pytest.mark.rare
def test_one_that_came_to_nothing_is_taken_out_again_and_what_was_there_stays(ground: HostingServer) -> None:
    home = f"/srv/h/{USER}/home"
    ground.run("runuser", "-u", USER, "--", "sh", "-c", f"echo his >{home}/his; echo old >{home}/www")
    # Without what applying the account makes, and the times of directories.
    look_at = ("find", home, "-type", "f", "-printf", "%p %U %m\n")
    before = ground.run(*look_at)
    bad = member("databases/other.sql", STEALS.encode())
    members = (*GOOD[:1], member("home/www", b"new"), *GOOD[2:], member("databases/shop.sql", DUMP.encode()), bad)
    lay(ground, packed(*members))
    with pytest.raises(OrchestratorError, match="cannot be loaded"):
        bring_in(ground, look(ground)["sha256"])
    assert ground.run(*look_at) != before
    taken = ground.call("account-import-undo", {**WHO, "job_id": "j2"}, deadline=120)
    assert (taken["removed"], taken["left"], sorted(taken["emptied"])) == (2, [], ["other", "shop"])
    assert ground.run(*look_at) == before
    assert ground.run("cat", f"{home}/www").strip() == "new", "it was written over, and is his"
    assert ground.run("mariadb", "-N", "-e", f"show tables in {USER}_shop").strip() == ""
    assert ground.call("account-import-undo", {**WHO, "job_id": "j2"}, deadline=120)["removed"] == 0
