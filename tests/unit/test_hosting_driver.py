"""The agent's answers on accounts, as the driver reads them, and what it asks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.domain import accounts
from orchestrator.domain.accounts import AccountSpec
from orchestrator.domain.adopting import Adoption, DatabaseFrom, SiteFrom, SiteSeen
from orchestrator.domain.errors import PermanentDriverError
from orchestrator.domain.moving_in import Tarball
from orchestrator.drivers.hosting import AgentHostingNode
from orchestrator.drivers.ssh import hosting_ready
from orchestrator.drivers.ssh.connection import Deadline
from orchestrator.ports.hosting_node import (
    AccountUsage,
    AccountWipe,
    DatabaseDump,
    Need,
    NodeResidue,
    Orphan,
    Packed,
    Residue,
    SetAside,
    Stray,
    TakenOut,
    WayIn,
)
from orchestrator.ports.node_transport import Progress
from tests.hosting_ground import HOST, SMALL
from tests.unit.test_accounts import ORDERED, facts

WHO = {"service_id": "s1"}
ANSWERS: dict[str, dict[str, Any]] = {
    "hosting-doctor": {
        "needs": [{"name": "quota", "ok": False, "says": "off", "hint": "tune2fs", "package": ""}],
        "hostname": "h1",
        "cpus": 4,
        "memory_bytes": 8,
        "disk_bytes": 16,
        "disk_free_bytes": 15,
        "accounts": 3,
        "php": ["8.2"],
        "controllers": ["cpu"],
    },
    "node-residue": {
        "accounts": [{"user": "h100009", "marked": True, "found": ["/srv/h/h100009"]}],
        "orphans": [{"kind": "files", "what": "uid 4242", "says": "1 file"}],
        "unknown": ["databases: away"],
    },
    "account-apply": {"facts": facts(), "changed": ["user"], "notes": []},
    "account-facts": {"accounts": [facts()]},
    "account-suspend": {"facts": facts(suspended=True, suspended_by="j2"), "ended": 2, "aside": []},
    "account-probe": {"ways": [{"way": "http", "open": False, "says": "503"}, {"way": "cron", "open": True, "says": "it ran"}]},
    "account-unsuspend": {"facts": facts(), "difference": ["cron: was 1, is 0"]},
    "account-usage": {
        "accounts": [
            {
                "user": "h100001",
                "bytes": 1,
                "inodes": 2,
                "database_bytes": 3,
                "traffic_bytes": {"2026-11": 4},
                "cpu_seconds": 5.5,
                "processes": 0,
                "boot_id": "x",
            }
        ],
        "unknown": [],
    },
    "account-tarball": {
        "sha256": "ab",
        "bytes": 4096,
        "inodes": 1,
        "databases": [{"name": "main", "bytes": 3}],
        "settings": {"sites": []},
    },
    "account-import-undo": {"removed": 2, "left": ["a"], "left_count": 1, "emptied": ["main"]},
    "account-adopt-look": {
        "stranger": "shop",
        "uid": 1001,
        "home": "/home/shop",
        "bytes": 4096,
        "inodes": 1,
        "sites": [{"name": "main", "root": "/home/shop/www", "domains": ["a.example"], "php": "8.2", "runs_php": True}],
        "databases": [{"name": "main", "from": "Shop", "bytes": 3}],
        "cron": [{"schedule": "@daily", "command": "true"}],
        "files": ["/etc/nginx/sites-enabled/shop"],
        "certificates": [{"site": "main", "until": "", "fits": False, "says": "/a.crt has expired"}],
        "roots": ["/home/shop/www"],
        "obstacles": ["one"],
        "not_taken": ["two"],
        "left": ["three"],
    },
    "account-adopt": {"aside": ["/etc/nginx/sites-enabled/shop"], "certificates": ["main"], "kept": "/var/lib/x"},
    "account-adopt-back": {"back": ["/etc/nginx/sites-enabled/shop"]},
    "account-gather": {
        "file": "adopt.h100001.tar",
        "sha256": "ab",
        "bytes": 4096,
        "inodes": 1,
        "databases": [{"name": "main", "bytes": 3}],
        "settings": {},
    },
    "account-gathered": {},
    "account-import": {"loaded": [{"name": "main", "bytes": 3}]},
    "account-wipe": {
        "report": {
            "service_id": "s1",
            "user": "h100001",
            "started_at": "2026-11-20T12:00:00Z",
            "ended_at": "2026-11-20T12:00:09Z",
            "files": 7,
            "bytes": 8,
            "databases": ["h100001_main"],
            "limits": ["Files were removed, not overwritten."],
        }
    },
    "account-pack": {"directory": "/srv/h/h100001", "databases": [{"name": "main", "bytes": 9}], "bytes": 9},
    "account-load": {"loaded": [{"name": "main", "bytes": 9}]},
    "account-unpack": {},
    "account-restored": {"restored": ["b1"]},
    "account-residue": {"found": ["/a"], "removed": ["/b"], "kept": ["/c"], "unknown": ["databases: away"]},
}


class Agent:
    """NodeTransport: answers as written down, and keeps what it was asked."""

    def __init__(self, **changed: Any) -> None:
        self.answers: dict[str, dict[str, Any]] = ANSWERS | {name.replace("_", "-"): answer for name, answer in changed.items()}
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def call(
        self, command: str, request: Mapping[str, Any], *, deadline: float, progress: Progress | None = None
    ) -> dict[str, Any]:
        self.asked.append((command, json.loads(json.dumps(request))))
        return self.answers[command]

    def close(self) -> None: ...


def spec() -> AccountSpec:
    return accounts.spec(accounts.wanted(ORDERED, SMALL), accounts.access_of(ORDERED), service_id="s1", uid=100_001)


def test_what_the_agent_answers_becomes_values_of_ours() -> None:
    node = AgentHostingNode(Agent(), name="h1")
    report = node.doctor(deadline=1)
    assert report.needs == (Need(name="quota", ok=False, says="off", hint="tune2fs"),)
    assert (report.cpus, report.disk_free_bytes, report.php, report.details) == (4, 15, ("8.2",), {"controllers": ["cpu"]})
    assert node.apply(spec(), job_id="j1", deadline=1).changed == ("user",)
    (found,) = node.accounts((), deadline=1)
    assert (found.user, found.job_id, found.limits) == ("h100001", "j1", accounts.limits_of(SMALL))
    assert node.suspend("h100001", job_id="j2", deadline=1, **WHO).suspended_by == "j2"
    assert node.probe("h100001", deadline=1, **WHO) == (
        WayIn(way="http", open=False, says="503"),
        WayIn(way="cron", open=True, says="it ran"),
    )
    assert node.unsuspend("h100001", job_id="j3", deadline=1, **WHO).difference == ("cron: was 1, is 0",)
    assert node.usage((), deadline=1) == (
        AccountUsage(user="h100001", bytes=1, inodes=2, database_bytes=3, traffic={"2026-11": 4}, cpu_seconds=5.5),
    )
    away = AgentHostingNode(Agent(account_usage=ANSWERS["account-usage"] | {"unknown": ["databases: away"]}), name="h1")
    assert [each.database_bytes for each in away.usage((), deadline=1)] == [None]
    assert node.wipe("h100001", job_id="j4", deadline=1, **WHO) == AccountWipe(
        user="h100001",
        files=7,
        bytes=8,
        databases=("h100001_main",),
        method="unlink",
        limits=("Files were removed, not overwritten.",),
        started_at="2026-11-20T12:00:00Z",
        finished_at="2026-11-20T12:00:09Z",
    )
    assert node.residue("h100001", uid=100_001, clean=False, deadline=1, **WHO) == Residue(
        found=("/a",), removed=("/b",), kept=("/c",), unknown=("databases: away",)
    )
    dump = DatabaseDump(name="main", bytes=9)
    packed = Packed(directory="/srv/h/h100001", databases=(dump,), bytes=9)
    assert node.pack("h100001", job_id="j6", deadline=1, **WHO) == packed
    assert node.load("h100001", job_id="j7", databases=(), deadline=1, **WHO) == (dump,)
    assert node.show_restored("h100001", keep=("b1", "b2"), deadline=1, **WHO) == ("b1",)
    assert node.node_residue(deadline=1) == NodeResidue(
        accounts=(Stray(user="h100009", marked=True, found=("/srv/h/h100009",)),),
        orphans=(Orphan(kind="files", what="uid 4242", says="1 file"),),
        unknown=("databases: away",),
    )


@pytest.mark.parametrize(("target", "asked"), [("", {}), ("main", {"backups": True})])
def test_a_node_whose_accounts_are_backed_up_is_asked_for_what_that_needs_too(target: str, asked: dict[str, Any]) -> None:
    agent = Agent(hosting_prepare={"changed": [], "doctor": {"needs": []}})
    AgentHostingNode(agent, name="h1", backups=bool(target)).doctor(deadline=1)
    node, limit = replace(HOST, backups=target), Deadline(5)
    hosting_ready.requirements(agent, node, limit)
    hosting_ready.prepare(agent, node, (), say=lambda _sentence: None, limit=limit)
    assert agent.asked == [("hosting-doctor", asked), ("hosting-doctor", asked), ("hosting-prepare", asked)]


def test_what_enrolment_brings_about_itself_is_nothing_that_it_waits_for() -> None:
    rows = [
        {"name": name, "ok": False, "says": "no", "hint": "enrol again", "package": ""}
        for name in ("prepared", "MariaDB tables", "quota")
    ]
    for lacking, prepared in ((rows[:2], True), (rows, False)):
        agent = Agent(hosting_doctor={"needs": lacking}, hosting_prepare={"changed": [], "doctor": {"needs": []}})
        found = hosting_ready.requirements(agent, HOST, Deadline(5))
        hosting_ready.prepare(agent, HOST, found, say=lambda _sentence: None, limit=Deadline(5))
        assert ("hosting-prepare" in {command for command, _ in agent.asked}) is prepared


def test_the_agent_is_asked_in_its_own_words() -> None:
    agent = Agent()
    node = AgentHostingNode(agent, name="h1")
    node.apply(spec(), job_id="j1", deadline=1)
    node.residue("h100001", uid=100_001, clean=True, deadline=1, **WHO)
    node.unpack("h100001", deadline=1, **WHO)
    node.load("h100001", job_id="j7", databases=("main",), deadline=1, **WHO)
    node.show_restored("h100001", keep=("b1",), deadline=1, **WHO)
    node.doctor(deadline=1)
    node.doctor(deadline=1, quick=True)
    (_, applied), residue, unpack, load, shown, *doctors = agent.asked
    assert doctors == [("hosting-doctor", {}), ("hosting-doctor", {"quick": True})]
    assert applied == {"account": spec().dump(), "job_id": "j1"}
    assert residue == ("account-residue", {"service_id": "s1", "user": "h100001", "uid": 100_001, "clean": True})
    who = {"user": "h100001", "service_id": "s1"}
    assert unpack == ("account-unpack", who)
    assert load == ("account-load", {**who, "job_id": "j7", "databases": ["main"]})
    assert shown == ("account-restored", {**who, "keep": ["b1"]})


@pytest.mark.parametrize("answer", [{}, {"accounts": None}, {"accounts": [{}]}, {"accounts": [{**facts(), "uid": "x"}]}])
def test_an_answer_that_is_none_is_said_and_never_taken_for_one(answer: dict[str, Any]) -> None:
    with pytest.raises(PermanentDriverError, match="h1 answered account-facts with what is no answer"):
        AgentHostingNode(Agent(account_facts=answer), name="h1").accounts((), deadline=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"user": "root"},
        {"user": "h" + "9" * 40},
        {"bytes": 10**30},
        {"bytes": float("inf")},
        {"inodes": -1},
        {"database_bytes": -1},
        {"cpu_seconds": float("nan")},
        {"cpu_seconds": float("inf")},
        {"traffic_bytes": {"2026-11": 10**30}},
        {"traffic_bytes": {"2026-11": -1}},
        {"traffic_bytes": {"2026-13": 1}},
    ],
)
def test_a_use_that_nobody_can_have_is_no_answer(wrong: dict[str, Any]) -> None:
    (row,) = ANSWERS["account-usage"]["accounts"]
    answer = {"accounts": [{**row, **wrong}]}
    with pytest.raises(PermanentDriverError, match="h1 answered account-usage with what is no answer"):
        AgentHostingNode(Agent(account_usage=answer), name="h1").usage((), deadline=1)


def test_a_node_that_tells_of_what_no_node_has_or_of_users_that_are_none_is_not_believed() -> None:
    with pytest.raises(PermanentDriverError, match="hosting-doctor"):
        AgentHostingNode(Agent(hosting_doctor=ANSWERS["hosting-doctor"] | {"disk_bytes": 10**30}), name="h1").doctor(deadline=1)
    liar = AgentHostingNode(Agent(account_tarball=ANSWERS["account-tarball"] | {"bytes": -1}), name="h1")
    with pytest.raises(PermanentDriverError, match="account-tarball"):
        liar.look_into("t.tar.gz", most_bytes=1, most_inodes=1, deadline=1)
    strays = [{"user": "root", "marked": False, "found": []}]
    with pytest.raises(PermanentDriverError, match="node-residue"):
        AgentHostingNode(Agent(node_residue=ANSWERS["node-residue"] | {"accounts": strays}), name="h1").node_residue(deadline=1)


def test_a_user_made_by_hand_is_asked_for_by_what_of_him_moves() -> None:
    agent = Agent()
    node = AgentHostingNode(agent, name="h1")
    adoption = Adoption(
        stranger="shop",
        sites=(SiteFrom(name="main", root="/home/shop/www"),),
        databases=(DatabaseFrom(name="main", source="Shop"),),
        cron=False,
    )
    found = node.look_at("h100001", adoption, deadline=1, **WHO)
    site = SiteSeen(name="main", root="/home/shop/www", domains=("a.example",), php="8.2")
    assert (found.name, found.sites, found.databases) == ("shop", (site,), (("main", "Shop", 3),))
    assert (found.obstacles, found.not_taken, found.left) == (("one",), ("two",), ("three",))
    assert [(each.site, each.fits) for each in found.certificates] == [("main", False)]
    files = ("/etc/nginx/sites-enabled/shop",)
    aside = node.set_aside("h100001", adoption, job_id="j1", deadline=1, **WHO)
    assert aside == SetAside(files=files, certificates=("main",), kept="/var/lib/x")
    assert node.put_back("h100001", "shop", job_id="j1", deadline=1, **WHO) == files
    assert node.gather("h100001", adoption, job_id="j1", deadline=1, **WHO).file == "adopt.h100001.tar"
    node.drop_gathered("h100001", job_id="j1", deadline=1, **WHO)
    who = {"user": "h100001", "service_id": "s1"}
    asked = {
        "stranger": "shop",
        "sites": [{"name": "main", "root": "/home/shop/www"}],
        "databases": [{"name": "main", "from": "Shop"}],
        "cron": False,
    }
    assert agent.asked == [
        ("account-adopt-look", {**who, "adoption": asked}),
        ("account-adopt", {**who, "job_id": "j1", "adoption": asked}),
        ("account-adopt-back", {**who, "job_id": "j1", "stranger": "shop"}),
        ("account-gather", {**who, "job_id": "j1", "adoption": asked}),
        ("account-gathered", {**who, "job_id": "j1"}),
    ]


def test_a_tarball_is_looked_into_and_then_brought_in_by_its_digest() -> None:
    agent = Agent()
    node = AgentHostingNode(agent, name="h1")
    found = node.look_into("old.tar", most_bytes=9, most_inodes=8, deadline=1)
    assert found == Tarball(file="old.tar", sha256="ab", bytes=4096, inodes=1, databases=("main",), settings={"sites": []})
    assert node.bring_in("h100001", found, job_id="j1", deadline=1, **WHO) == (DatabaseDump(name="main", bytes=3),)
    taken = node.take_out("h100001", job_id="j1", deadline=1, **WHO)
    assert taken == TakenOut(removed=2, left=("a",), left_count=1, emptied=("main",))
    assert agent.asked == [
        ("account-tarball", {"file": "old.tar", "most_bytes": 9, "most_inodes": 8}),
        ("account-import", {"user": "h100001", "service_id": "s1", "job_id": "j1", "file": "old.tar", "sha256": "ab"}),
        ("account-import-undo", {"user": "h100001", "service_id": "s1", "job_id": "j1"}),
    ]
