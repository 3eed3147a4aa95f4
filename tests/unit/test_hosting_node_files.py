"""Facts, marks, residue and traffic as they are read from a node's own files."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agents.node.hosting import (
    certificates,
    closing,
    databases,
    dumps,
    facts,
    ipc,
    loading,
    manifest,
    marks,
    nginx,
    orphans,
    people,
    processes,
    residue,
    sweep,
    usage,
    web,
)
from agents.node.hosting.databases import Login, Seen
from agents.node.hosting.facts import Look
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.manifest import Manifest
from agents.node.hosting.marks import Mark
from agents.node.hosting.people import Secret, User
from agents.node.hosting.spec import Site
from agents.node.place import Place
from agents.node.protocol import AgentError

MINE = Mark(service_id="web-1", uid=100001, job_id="j1")
SITES = (
    Site(name="shop", domains=("shop.example", "www.shop.example"), php="8.2"),
    Site(name="plain", domains=("plain.example",)),
)
PASSWD = "root:x:0:0:root:/root:/bin/bash\nh100001:x:100001:100001::/srv/h/h100001/home:/usr/sbin/nologin\n"


def put(root: Path, name: str, text: str = "x") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An account as it is when all is well."""
    put(tmp_path, "etc/passwd", PASSWD)
    put(tmp_path, "etc/group", "orch-sftp:x:997:h100001,h100002\nh100001:x:100001:\n")
    put(tmp_path, "etc/shadow", "root:*:1:0:99999:7:::\nh100001:$6$a$b:1:0:99999:7:::\n")
    put(tmp_path, "etc/orchestrator/accounts/h100001.json", MINE.text())
    put(tmp_path, "etc/orchestrator/keys/h100001", "ssh-ed25519 AAAA\n")
    put(tmp_path, "etc/orchestrator/fpm/h100001-8.2.conf", "[global]\n\n[h100001-shop]\nuser = h100001\n")
    put(tmp_path, "etc/systemd/system/orch-fpm-h100001-8.2.service")
    put(tmp_path, "etc/nginx/orchestrator/h100001.conf", web.vhosts("h100001", SITES))
    put(tmp_path, "var/spool/cron/crontabs/h100001", "* * * * * true\n")
    group = "sys/fs/cgroup/orch.slice/orch-h100001.slice"
    put(tmp_path, f"{group}/cpu.max", "50000 100000\n")
    put(tmp_path, f"{group}/memory.max", "268435456\n")
    put(tmp_path, f"{group}/pids.max", "40\n")
    put(tmp_path, f"{group}/io.max", "254:0 rbps=1048576 wbps=1048576 riops=max wiops=max\n")
    put(tmp_path, f"{group}/orch-fpm-h100001-8.2.service/cgroup.procs", "12\n")
    return Home(Node(Place(tmp_path)), "h100001")


def look(home: Home, *, seen: Seen | None = None) -> Look:
    return Look(
        node=home.node,
        users=people.passwd(home.node),
        secrets=people.shadow(home.node),
        processes=Counter({100001: 3}),
        databases=seen or Seen(),
        today=20_000,
        masters=facts.masters(home.node),
    )


def login(name: str, *, locked: bool) -> Login:
    return Login(name=name, host="localhost", locked=locked, plugin="unix_socket", secret="", doubled=False)


# -- facts -----------------------------------------------------------------------------------------------------------------


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


# -- marks -----------------------------------------------------------------------------------------------------------------


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


# -- users -----------------------------------------------------------------------------------------------------------------


def test_a_user_is_made_with_no_shell_no_lastlog_and_no_further_ids() -> None:
    group, user = people.making("h100001", 100001, "/srv/h/h100001/home")
    assert group == ["groupadd", "--gid", "100001", "h100001"]
    assert user[user.index("--shell") + 1] == "/usr/sbin/nologin"
    assert "--no-log-init" in user
    assert "SUB_UID_COUNT=0" in user
    assert "--no-create-home" in user


def test_only_what_is_wrong_of_a_user_is_mended() -> None:
    right = User("h100001", 100001, 100001, "/srv/h/h100001/home", "/usr/sbin/nologin")
    assert people.mending("h100001", right, ("h100001",), right.home) == []
    other = User("h100001", 100001, 100001, right.home, "/bin/bash")
    assert people.mending("h100001", other, (), right.home) == [
        ["usermod", "--shell", "/usr/sbin/nologin", "--append", "--groups", "orch-sftp", "h100001"]
    ]


@pytest.mark.parametrize(
    ("ordered", "present", "suspended", "wanted"),
    [
        ("$6$new", "$6$old", False, "$6$new"),
        ("$6$new", "$6$new", False, None),
        ("$6$new", "!$6$old", True, "!$6$new"),
        ("$6$new", "!$6$new", True, None),
        ("", "!", False, None),
        ("", "$6$old", False, "!"),
        ("", "!", True, None),
    ],
)
def test_a_new_password_does_not_open_what_is_locked(ordered: str, present: str, suspended: bool, wanted: str | None) -> None:
    assert people.wanted_hash(ordered, Secret(present, -1), suspended=suspended) == wanted


def test_the_copies_of_what_was_before_forget_the_account_and_nobody_else() -> None:
    text = "root:*:1::::::\nh100001:$6$secret:1::::::\nh1000010:$6$x:1::::::\n"
    assert people.without("h100001", text) == "root:*:1::::::\nh1000010:$6$x:1::::::\n"
    assert people.without("h100001", "orch-sftp:x:997:h100001,h100002\n") == "orch-sftp:x:997:h100002\n"
    assert people.without("h100001", "orch-sftp:!::h100001\nadm:x:4:syslog\n") == "orch-sftp:!::\nadm:x:4:syslog\n"


@pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_no_character_in_his_own_field_hides_a_user_or_makes_another(home: Home, end: str) -> None:
    line = f"h100001:x:100001:100001:,a{end}b,,:/srv/h/h100001/home:/usr/sbin/nologin\n"  # what chfn(1) takes from himself
    put(home.node.place.root, "etc/passwd", "root:x:0:0:root:/root:/bin/bash\n" + line)
    assert list(people.passwd(home.node)) == ["root", "h100001"]
    assert [row for row in residue.found(home, look(home)) if "passwd" in row] == ["/etc/passwd: h100001"]
    assert people.without("h100001", "a:x:1:1::/:/x\n" + line) == "a:x:1:1::/:/x\n"


def test_processes_are_counted_by_their_user_and_found_by_any_of_their_uids(tmp_path: Path) -> None:
    put(tmp_path, "proc/12/status", "Name:\tphp\nState:\tS (sleeping)\nUid:\t0\t0\t100001\t0\nThreads:\t1\n")
    put(tmp_path, "proc/13/status", "Name:\tphp\nState:\tZ (zombie)\nUid:\t100001\t100001\t100001\t100001\nThreads:\t1\n")
    put(tmp_path, "proc/14/status", "Name:\tphp\nState:\tS (sleeping)\nUid:\t1000010\t1000010\t1000010\t1000010\nThreads:\t1\n")
    put(tmp_path, "proc/15/status", "Name:\tphp\nState:\tZ (zombie)\nUid:\t100001\t100001\t100001\t100001\nThreads:\t2\n")
    put(tmp_path, "proc/self/status", "")
    node = Node(Place(tmp_path))
    assert sorted(processes.of(node, 100001)) == [12, 15]  # the first thread of 15 has ended, another runs on
    # Whose the directory is says nothing: it is root's where a process keeps its memory to itself.
    assert processes.by_uid(node) == {0: 1, 100001: 2, 1000010: 1}


CHURN = """
import os
while True:
    for number in range(20):
        os.close(os.open(f"#sql-{number}.ibd", os.O_CREAT))
    for number in range(20):
        os.unlink(f"#sql-{number}.ibd")
"""


def test_what_one_customer_makes_and_removes_all_the_time_holds_up_nobody(home: Home) -> None:
    """Tables of a database, and jobs of at, in directories that are looked through for others, too."""
    database, jobs = home.node.place.root / "mysql/h100001_a", home.node.at_jobs
    for directory in (database, jobs):
        directory.mkdir(parents=True, exist_ok=True)
    churning = [subprocess.Popen([sys.executable, "-c", CHURN], cwd=directory) for directory in (database, jobs)]
    try:
        for _ in range(3000):
            databases.size(Seen(directory=database.parent), database.name)
            closing.at_jobs(home)
    finally:
        for each in churning:
            each.kill()
            each.wait()


def test_a_dump_that_does_not_grow_any_more_is_ended(tmp_path: Path) -> None:
    with (tmp_path / "a.sql").open("wb") as file:
        look = dumps.growing(file.fileno(), lambda: None, database="h100001_a", seconds=0.2)
        look()
        for _ in range(3):
            time.sleep(0.1)
            os.write(file.fileno(), b"x")
            look()
        time.sleep(0.3)
        with pytest.raises(AgentError, match="h100001_a has not grown") as caught:
            look()
    assert caught.value.code == "driver-transient"


def test_shared_memory_is_found_by_its_maker(tmp_path: Path) -> None:
    put(
        tmp_path,
        "proc/sysvipc/shm",
        "key shmid perms size cpid lpid nattch uid gid cuid\n1 7 600 1 1 1 0 0 1 100001\n2 8 600 1 1 1 0 100001 0 100002\n",
    )
    node = Node(Place(tmp_path))
    assert (ipc.of(node, 100001), ipc.of(node, 100002)) == ([("shm", 7)], [("shm", 8)])  # a neighbour can give it to him


# -- residue ---------------------------------------------------------------------------------------------------------------

LEFT = (
    "etc/nginx/orchestrator/h100001.conf",
    "etc/nginx/orchestrator.bad/h100001.conf",
    "etc/nginx/orchestrator/.h100001.conf.new",
    "etc/orchestrator/accounts/h100001.json",
    "etc/orchestrator/accounts/.h100001.json.new",
    "etc/orchestrator/keys/.h100001.new",
    "var/lib/orchestrator-agent/accounts/.h100001.wiping.json.new",
    "var/spool/cron/crontabs/.h100001.new",
    "etc/orchestrator/fpm/h100001-8.2.conf",
    "etc/orchestrator/fpm/h100001-8.2.conf.trial",
    "etc/orchestrator/keys/h100001",
    "etc/orchestrator/tls/h100001",
    "etc/systemd/system/orch-fpm-h100001-8.2.service",
    "etc/systemd/system/orch-h100001.slice",
    "etc/systemd/system/multi-user.target.wants/orch-h100001.slice",
    "etc/systemd/system/user-100001.slice.d/orchestrator.conf",
    "run/orchestrator/fpm/h100001-shop-8.2.sock",
    "run/orchestrator/pending/orch-h100001.slice",
    "srv/h/.wiping/h100001.4",
    "var/lib/orchestrator-agent/accounts/h100001",
    "var/lib/orchestrator-agent/accounts/h100001.probe.json",
    "var/lib/systemd/linger/h100001",
    "var/log/orchestrator/h100001",
    "var/mail/h100001",
    "var/spool/cron/crontabs/h100001",
)


def test_a_name_is_of_one_account_and_never_of_one_whose_number_begins_so(tmp_path: Path) -> None:
    home = Home(Node(Place(tmp_path)), "h100001")
    names = ("h100001", "orch-h100001.slice", "orch-fpm-h100001-8.2.service.unit", ".h100001.conf.new")
    assert all(home.owns(name) and not home.owns(name.replace("100001", "1000010")) for name in names)


@pytest.mark.parametrize("name", LEFT)
def test_a_thing_that_is_left_is_found_in_its_store_and_no_neighbours(tmp_path: Path, name: str) -> None:
    put(tmp_path, name)
    put(tmp_path, name.replace("100001", "1000010"))
    home = Home(Node(Place(tmp_path)), "h100001")
    assert residue.found(home, look(home)) == [str(tmp_path / name)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("etc/passwd", "h100001:x:100001:100001::/:/bin/sh\n"),
        ("etc/shadow-", "h100001:$6$secret:1::::::\n"),
        ("etc/group", "orch-sftp:x:997:h100002,h100001\n"),
        ("etc/subuid", "h100001:1:65536\n"),
        ("etc/subgid", "100001:1:65536\n"),
    ],
)
def test_a_line_that_is_left_is_found(tmp_path: Path, name: str, text: str) -> None:
    put(tmp_path, name, text + text.replace("100001", "1000010"))
    home = Home(Node(Place(tmp_path)), "h100001")
    assert [row.partition(":")[0] for row in residue.found(home, look(home))] == [f"/{name}"]


def test_logins_and_databases_that_are_left_are_found(tmp_path: Path) -> None:
    home = Home(Node(Place(tmp_path)), "h100001")
    seen = Seen(logins=(login("h100001_a", locked=True), login("h1000010", locked=True)), databases=("h100001_a", "h1000010_a"))
    assert residue.found(home, look(home, seen=seen)) == ["mariadb database h100001_a", "mariadb login h100001_a@localhost"]


# -- probes ----------------------------------------------------------------------------------------------------------------


def test_what_a_killed_probe_left_is_taken_away_and_the_customers_lines_stay(home: Home) -> None:
    home.keys.write_text(f"ssh-ed25519 AAAA\nssh-ed25519 BBBB {sweep.TAG}\n")
    home.crontab.write_text(f"* * * * * touch x # {sweep.TAG}\n")
    sweep.note(home)
    sweep.probes(home)
    assert home.keys.read_text() == "ssh-ed25519 AAAA\n"
    assert not home.crontab.exists()
    assert not sweep.record(home).exists()


def test_a_manifest_that_cannot_be_read_asks_for_an_operator(home: Home) -> None:
    Manifest(service_id="web-1", job_id="j1", suspended_at="now", before={"cron": 1}).save(home)
    found = manifest.load(home)
    assert found is not None
    assert found.before == {"cron": 1}
    (home.records / "manifest.json").write_text("{")
    with pytest.raises(AgentError) as caught:
        manifest.load(home)
    assert caught.value.code == "in-doubt"


# -- traffic ---------------------------------------------------------------------------------------------------------------


def line(size: int, month: str = "2026-11") -> str:
    visitor = '"GET / HTTP/1.1" 200 5 "-" "a \\x22 7 7 2020-01"'
    return f"127.0.0.1 - - [27/Nov/2026:11:34:25 +0000] {visitor} {size} 10 {month}-27T11:34:25+00:00\n"


def test_every_line_is_counted_once(home: Home) -> None:
    log = home.logs / "shop.access.log"
    put(home.node.place.root, "var/log/orchestrator/h100001/shop.access.log", line(100) + line(50, "2026-10"))
    assert usage.count(home) == {"2026-10": 60, "2026-11": 110}
    assert usage.count(home) == {"2026-10": 60, "2026-11": 110}
    with log.open("a") as stream:
        stream.write(line(1) + line(2)[:-20])
    assert usage.count(home) == {"2026-10": 60, "2026-11": 121}
    with log.open("a") as stream:
        stream.write(line(2)[-20:])
    assert usage.count(home) == {"2026-10": 60, "2026-11": 133}


def test_a_log_that_was_rotated_is_read_to_its_end_first(home: Home) -> None:
    log = home.logs / "shop.access.log"
    put(home.node.place.root, "var/log/orchestrator/h100001/shop.access.log", line(100))
    usage.count(home)
    with log.open("a") as stream:
        stream.write(line(1))
    log.rename(home.logs / "shop.access.log.1")
    log.write_text(line(2))
    assert usage.count(home) == {"2026-11": 110 + 11 + 12}


def test_a_log_that_was_rotated_more_than_once_is_found_again_whatever_its_name(home: Home) -> None:
    log = home.logs / "shop.access.log"
    put(home.node.place.root, "var/log/orchestrator/h100001/shop.access.log", line(100))
    for number in (6, 5):
        with gzip.open(f"{log}.{number}.gz", "wt") as stream:
            stream.write(line(10_000 * number))
    first = usage.count(home)
    rest = line(100) + line(1)
    log.write_text("")
    for number, text in ((4, rest), (3, line(2))):
        with gzip.open(f"{log}.{number}.gz", "wt") as stream:
            stream.write(text)
    (home.logs / "shop.access.log.1").write_text(line(3))
    counted = {"2026-11": first["2026-11"] + 11 + 12 + 13}
    assert usage.count(home) == counted
    assert usage.count(home) == counted, "there is an empty log in front of what was read"
    log.write_text(line(4))
    assert usage.count(home) == {"2026-11": counted["2026-11"] + 14}


def test_a_log_that_was_cut_is_read_from_its_beginning(home: Home) -> None:
    log = home.logs / "shop.access.log"
    put(home.node.place.root, "var/log/orchestrator/h100001/shop.access.log", line(100) * 3)
    usage.count(home)
    (home.logs / "shop.access.log.1").write_text(line(100) * 3)
    log.write_text(line(1))
    assert usage.count(home) == {"2026-11": 330 + 11}


@pytest.mark.parametrize("text", ["", "a b c d", "x 1 2 2026", "x -1 2 2026-11-27", 'x "1" 2 2026-11', "\xff 1 2 20\xff6-11-1"])
def test_a_line_that_is_none_of_ours_counts_nothing(text: str) -> None:
    assert usage.traffic(text.encode("latin-1")) == ("", 0)


def test_counters_that_cannot_be_read_begin_anew(home: Home) -> None:
    put(home.node.place.root, "var/lib/orchestrator-agent/accounts/h100001/traffic.json", json.dumps([1]))
    assert usage.count(home) == {}


# -- certificates ----------------------------------------------------------------------------------------------------------

# Signs itself, P-256, serial number 7, from 2026-01-01 to 2036-01-01.
CERTIFICATE = """-----BEGIN CERTIFICATE-----
MIIBAzCBq6ADAgECAgEHMAoGCCqGSM49BAMCMAwxCjAIBgNVBAMMAWEwHhcNMjYw
MTAxMDAwMDAwWhcNMzYwMTAxMDAwMDAwWjAMMQowCAYDVQQDDAFhMFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEy+cQ+H4ho+HqnkbSvbvBRe5oZj2CnXYAw8CdVmMa
HNnhTF7EBp0PPIaqREjFUKdYsvJsi1nvEDKh2PYvgEanATAKBggqhkjOPQQDAgNH
ADBEAiA9GiMCYCdebi5eE146kiVCJ3ty8J0nZpYR1gt5JmKswwIgTodWBlNT2EqW
+WibwjGtV1bpf0DsCYzYggAMDKWqEa8=
-----END CERTIFICATE-----
"""


def test_the_end_of_a_certificate_is_read() -> None:
    assert certificates.valid_until(CERTIFICATE) == datetime(2036, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        CERTIFICATE[:200],
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    ],
)
def test_what_is_no_certificate_has_no_end(text: str) -> None:
    assert certificates.valid_until(text) is None


LATER, OURS = datetime(2027, 1, 1, tzinfo=UTC), "-----BEGIN CERTIFICATE-----\nc2VsZi1zaWduZWQ=\n-----END CERTIFICATE-----\n"
PACKED = {"name": "shop", "domains": ["shop.example", "www.shop.example"], "certificate": CERTIFICATE, "key": "the key"}


def shown(home: Home) -> tuple[str, str]:
    return (home.tls / "shop.crt").read_text(), (home.tls / "shop.key").read_text()


def test_a_packed_certificate_comes_back_in_place_of_one_that_signs_itself_and_that_can_be_undone(home: Home) -> None:
    put(home.tls, "shop.crt", OURS)
    put(home.tls, "shop.key", "another key")
    before = certificates.bring_back(home, PACKED, ["shop.example"], LATER)
    assert shown(home) == (CERTIFICATE, "the key")
    assert certificates.bring_back(home, PACKED, ["shop.example"], LATER) == {}
    certificates.put_back(before)
    assert shown(home) == (OURS, "another key")


@pytest.mark.parametrize(
    ("packed", "domains", "now"),
    [
        (PACKED, ["shop.example", "new.example"], LATER),
        (PACKED, ["shop.example"], datetime(2036, 1, 2, tzinfo=UTC)),
        ({**PACKED, "key": ""}, ["shop.example"], LATER),
        ({**PACKED, "certificate": OURS}, ["shop.example"], LATER),
    ],
    ids=["not of all domains", "no more valid", "no key", "signs itself"],
)
def test_a_packed_certificate_that_is_of_no_use_does_not_come_back(
    home: Home, packed: dict[str, Any], domains: list[str], now: datetime
) -> None:
    put(home.tls, "shop.crt", OURS)
    put(home.tls, "shop.key", "another key")
    assert certificates.bring_back(home, packed, domains, now) == {}
    assert shown(home) == (OURS, "another key")


def test_a_certificate_that_was_given_since_stays(home: Home) -> None:
    given = CERTIFICATE.replace("MIIBAzCB", "MIIBAzCC")
    put(home.tls, "shop.crt", given)
    put(home.tls, "shop.key", "the newer key")
    assert certificates.bring_back(home, PACKED, ["shop.example"], LATER) == {}
    assert shown(home) == (given, "the newer key")


# -- what comes back with databases ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("named", "lines"), [((), "5 5 * * * mine\n"), (("shop",), "* * * * * true\n")])
def test_with_databases_that_are_named_no_line_of_the_crontab_comes_back(home: Home, named: tuple[str, ...], lines: str) -> None:
    held = Manifest(service_id="web-1", job_id="j1", suspended_at="", before={"cron": 1})
    closing.put_away(home.crontab, manifest.crontab(home))
    loading.bring_back_settings(home, held, {"crontab": "5 5 * * * mine\n"}, named=named)
    assert manifest.crontab(home).read_text() == lines


# -- shutting --------------------------------------------------------------------------------------------------------------


def test_what_is_put_away_is_kept_once_and_what_came_after_it_goes(home: Home) -> None:
    closing.put_away(home.keys, manifest.keys(home))
    assert (home.keys.exists(), manifest.keys(home).read_text()) == (False, "ssh-ed25519 AAAA\n")
    home.keys.write_text("ssh-ed25519 INTRUDER\n")
    closing.put_away(home.keys, manifest.keys(home))
    closing.put_away(home.keys, manifest.keys(home))
    assert (home.keys.exists(), manifest.keys(home).read_text()) == (False, "ssh-ed25519 AAAA\n")


def test_what_is_of_users_that_are_gone_is_found_by_its_names(home: Home) -> None:
    root = home.node.place.root
    pools, sites = "etc/php/8.2/fpm/pool.d", "etc/nginx/sites-enabled"
    put(root, f"{pools}/www.conf", "[www]\nuser = root\ngroup = orch-sftp\n;user = nobody-at-all\n")
    put(root, f"{pools}/gone.conf", "[gone]\nuser = gone\ngroup = gone\n")
    put(root, f"{pools}/number.conf", "[number]\nuser = 1234\n")
    put(root, "srv/here/index.html")
    put(root, f"{sites}/here", "server {\n  root /srv/here;\n  location / { }\n}\n")
    put(root, f"{sites}/variable", "server {\n  root /srv/$host/public;\n}\n")
    put(root, f"{sites}/gone", 'server {\n  root "/srv/gone";\n  ssl_certificate /etc/gone.crt;\n}\n')
    (root / sites / "broken").symlink_to("/etc/nginx/sites-available/nothing")
    put(root, "var/spool/cron/crontabs/root")
    put(root, "var/spool/cron/crontabs/gone")
    put(root, "var/spool/cron/crontabs/h100777")  # an account's: node-residue tells all of it
    put(root, "var/lib/systemd/linger/gone")
    found = [(each.kind, each.what.removeprefix(f"{root}/"), each.says) for each in orphans.look(home.node, look(home))]
    assert [(kind, what) for kind, what, _ in found] == [
        ("pool", f"{pools}/gone.conf"),
        ("vhost", f"{sites}/broken"),
        ("vhost", f"{sites}/gone"),
        ("vhost", f"{sites}/gone"),
        ("crontab", "var/spool/cron/crontabs/gone"),
        ("linger", "var/lib/systemd/linger/gone"),
    ]
    assert [says for _, what, says in found if what == f"{sites}/gone"] == [
        "names the root /srv/gone, which is not there: it serves nothing",
        "names the ssl_certificate /etc/gone.crt, which is not there: nginx does not start with it",
    ]


@pytest.mark.parametrize(
    ("said", "whose"),
    [
        ('nginx: [emerg] unknown directive "serv" in /etc/nginx/orchestrator/h100001.conf:3\n', "h100001"),
        (
            '[warn] h100002 is odd\n[emerg] open() "/var/log/orchestrator/h100001/a.access.log" failed (2: No such file)',
            "h100001",
        ),
        (
            '[emerg] cannot load certificate "/etc/orchestrator/tls/h100001/h100002.crt": PEM_read_bio_X509_AUX() failed',
            "h100001",
        ),
        ('[emerg] open() "/var/log/orchestrator/h100001/h100002.error.log" failed (2: No such file)', "h100001"),
        ('[emerg] "server_name" h100002.example is odd in /etc/nginx/orchestrator/h100001.conf:3', "h100001"),
        ('[emerg] unknown directive "serv" in /etc/nginx/sites-enabled/shop:3', None),
        ('[emerg] unknown directive "serv" in /etc/nginx/orchestrator/h100009.conf:3', None),
    ],
)
def test_what_nginx_refuses_is_the_accounts_whose_file_it_names(tmp_path: Path, said: str, whose: str | None) -> None:
    put(tmp_path, "etc/nginx/orchestrator/h100001.conf")
    put(tmp_path, "etc/nginx/orchestrator/h100002.conf")
    found = nginx.culprit(Node(Place(tmp_path)), said)
    assert (found.user if found else None) == whose


def test_every_kind_of_what_is_shared_is_found_as_the_kernel_tells_it(tmp_path: Path) -> None:
    rows = {
        "shm": "key shmid perms size cpid lpid nattch uid gid cuid cgid\n 0 7 600 1 1 1 0 100001 1 100001 1\n",
        "sem": "key semid perms nsems uid gid cuid cgid otime ctime\n 0 8 600 1 0 0 100001 1 0 0\n",
        "msg": "key msqid perms cbytes qnum lspid lrpid uid gid cuid cgid\n 0 9 644 0 0 0 0 1 1 100001 1\n",
    }
    for kind, text in rows.items():
        put(tmp_path, f"proc/sysvipc/{kind}", text)
    assert sorted(ipc.of(Node(Place(tmp_path)), 100001)) == [("msg", 9), ("sem", 8), ("shm", 7)]
    for kind in rows:  # on the kernel that runs the tests, too
        assert (Path("/proc/sysvipc") / kind).read_text().split()[1] in rows[kind].split()


def test_only_a_former_worker_that_still_sends_a_file_of_the_account_is_ended(home: Home) -> None:
    root = home.node.place.root
    workers = [subprocess.Popen(["sleep", "60"]) for _ in range(3)]
    titles = ("nginx: worker process is shutting down", "nginx: worker process is shutting down", "nginx: worker process")
    files = (home.chroot / "home/a (deleted)", home.chroot.with_name("h1000010") / "home/a", home.chroot / "home/a")
    put(root, "run/nginx.pid", "1\n")
    put(root, "proc/1/task/1/children", " ".join(str(each.pid) for each in workers))
    for worker, title, file in zip(workers, titles, files, strict=True):
        put(root, f"proc/{worker.pid}/cmdline", title)
        (root / f"proc/{worker.pid}/fd").mkdir()
        (root / f"proc/{worker.pid}/fd/7").symlink_to(file)
    try:
        nginx.let_go(home)
        assert workers[0].wait(10) == -signal.SIGTERM
        assert [each.poll() for each in workers[1:]] == [None, None]
    finally:
        for each in workers:
            each.kill()
            each.wait()
