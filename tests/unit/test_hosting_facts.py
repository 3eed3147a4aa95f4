"""What an account is, as its node's own files tell it, and whose it is by its mark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.node.hosting import facts, marks, web
from agents.node.hosting.databases import Seen
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.manifest import Manifest
from agents.node.hosting.marks import Mark
from agents.node.place import Place
from agents.node.protocol import AgentError
from tests.unit.account_files import MINE, SITES, account, login, look, put


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return account(tmp_path)


def test_facts_are_what_the_system_says(home: Home) -> None:
    found = facts.of(home, look(home, seen=Seen(logins=(login("h100001", locked=False),), databases=("h100001_shop",))))
    assert (found["service_id"], found["exists"], found["locked"], found["expired"]) == ("web-1", True, False, False)
    limits = {"cpu_percent": 50, "memory_bytes": 268435456, "tasks": 40, "io_bytes_per_second": 1048576, "iops": 0}
    assert {name: found["limits"][name] for name in limits} == limits
    assert [(s["name"], s["php"], s["serving"]) for s in found["sites"]] == [("shop", "8.2", "php"), ("plain", "", "static")]
    assert (found["access"], found["cron"], found["processes"], found["fpm"]) == ({"keys": 1, "password": True}, 1, 3, "active")
    assert [(d["name"], d["users"]) for d in found["databases"]] == [("shop", [{"name": "h100001", "locked": False}])]
    assert found["suspended"] is False


SHUT: dict[str, Any] = {
    "the password is not locked": ("etc/shadow", "h100001:$6$a$b:1:0:99999:7::1:\n"),
    "the user is not expired": ("etc/shadow", "h100001:!$6$a$b:1:0:99999:7:::\n"),
    "a site serves": ("etc/nginx/orchestrator/h100001.conf", web.vhosts("h100001", SITES)),
    "keys are there": ("etc/orchestrator/keys/h100001", ""),
    "a crontab is there": ("var/spool/cron/crontabs/h100001", "# nothing\n"),
    "PHP runs": ("sys/fs/cgroup/orch.slice/orch-h100001.slice/orch-fpm-h100001-8.2.service/cgroup.procs", "12\n"),
}


def shut(home: Home) -> None:
    root = home.node.place.root
    put(root, "etc/shadow", "h100001:!$6$a$b:1:0:99999:7::1:\n")
    home.vhost.write_text(web.vhosts("h100001", SITES, suspended=True))
    home.keys.unlink()
    home.crontab.unlink()
    (home.cgroup / "orch-fpm-h100001-8.2.service/cgroup.procs").write_text("")


def test_suspended_is_what_is_shut_in_every_way(home: Home) -> None:
    shut(home)
    assert facts.of(home, look(home))["suspended"] is True
    assert facts.of(home, look(home, seen=Seen(logins=(login("h100001", locked=True),))))["suspended"] is True


@pytest.mark.parametrize("why", sorted(SHUT))
def test_one_way_that_is_open_is_enough_not_to_be_suspended(home: Home, why: str) -> None:
    shut(home)
    put(home.node.place.root, *SHUT[why])
    assert facts.of(home, look(home))["suspended"] is False


@pytest.mark.parametrize("seen", [Seen(logins=(login("h100001_a", locked=False),)), Seen(away="ERROR 2002")])
def test_a_login_that_is_open_or_cannot_be_seen_is_not_suspended(home: Home, seen: Seen) -> None:
    shut(home)
    found = facts.of(home, look(home, seen=seen))
    assert found["suspended"] is False
    assert found["unknown"] == (["databases: ERROR 2002"] if seen.away else [])


def test_an_account_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    put(tmp_path, "etc/passwd", "root:x:0:0:root:/root:/bin/bash\n")
    home = Home(Node(Place(tmp_path)), "h100007")
    found = facts.of(home, look(home))
    assert (found["exists"], found["service_id"], found["fpm"], found["sites"], found["suspended"]) == (
        False,
        "",
        "none",
        [],
        False,
    )


def test_a_site_that_was_put_aside_serves_nothing(home: Home) -> None:
    home.quarantined.parent.mkdir(parents=True)
    home.vhost.replace(home.quarantined)
    assert {site["serving"] for site in facts.of(home, look(home))["sites"]} == {"none"}


def test_a_difference_is_told_by_its_place() -> None:
    before = {"cron": 1, "databases": {"h1": False, "h1_a": True}, "login": {"locked": False}}
    assert facts.difference(before, before) == []
    now = {"cron": 0, "databases": {"h1": False, "h1_a": False}, "login": {"locked": False}}
    assert facts.difference(before, now) == ["cron: was 1, is 0", "databases.h1_a: was True, is False"]


def test_an_account_of_another_service_is_never_taken(home: Home) -> None:
    with pytest.raises(AgentError, match="belongs to the service web-1") as caught:
        marks.require_ours(home, "web-2")
    assert caught.value.code == "wrong-state"
    with pytest.raises(AgentError, match="belongs to the service web-1"):
        marks.claim(home, Mark(service_id="web-2", uid=100001, job_id="j2"))


def test_the_mark_goes_on_naming_the_job_that_made_the_account(home: Home) -> None:
    assert marks.claim(home, Mark(service_id="web-1", uid=100001, job_id="j2")) == MINE
    Manifest(service_id="web-1", job_id="j3", suspended_at="now", before={}).save(home)
    found = facts.of(home, look(home))
    assert (found["job_id"], found["suspended_by"], found["wiping"]) == ("j1", "j3", False)


def test_nothing_is_made_of_an_account_that_is_wiped_unless_its_own_job_takes_it_back(home: Home) -> None:
    marks.require_no_wipe(home)
    begun = {"job_id": "j2", "made_by": "j1"}
    put(home.node.place.root, str(home.wiping.relative_to(home.node.place.root)), json.dumps(begun))
    with pytest.raises(AgentError, match="is being wiped"):
        marks.require_no_wipe(home)
    home.wiping.write_text(json.dumps(begun | {"job_id": "j1"}))
    marks.require_no_wipe(home)
    assert not home.wiping.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"service_id": "web-1"}'])
def test_a_user_without_a_mark_that_can_be_read_is_left_alone(home: Home, text: str) -> None:
    home.mark.write_text(text)
    with pytest.raises(AgentError) as required:
        marks.require_ours(home, "web-1")
    with pytest.raises(AgentError) as claimed:
        marks.claim(home, MINE)
    assert (required.value.code, claimed.value.code) == ("wrong-state", "wrong-state")


@pytest.mark.parametrize("there", ["srv/h/h100001/home/a", "etc/passwd"])
def test_a_name_uid_or_directory_that_is_somebody_elses_is_not_claimed(tmp_path: Path, there: str) -> None:
    put(tmp_path, "etc/passwd", "root:x:0:0::/root:/bin/sh\n")
    put(tmp_path, there, "other:x:100001:100::/home/other:/bin/sh\n")
    (tmp_path / "etc/orchestrator/accounts").mkdir(parents=True)
    home = Home(Node(Place(tmp_path)), "h100001")
    with pytest.raises(AgentError, match="left alone"):
        marks.claim(home, MINE)
    assert not home.mark.exists()


def test_an_account_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    put(tmp_path, "etc/passwd", "")
    with pytest.raises(AgentError) as caught:
        marks.require_ours(Home(Node(Place(tmp_path)), "h100001"), "web-1")
    assert caught.value.code == "not-found"
