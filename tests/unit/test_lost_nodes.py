"""What an operator states of a node that is lost, and which of its guests may come up elsewhere."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from orchestrator.domain import certificates, lost_nodes, recovering
from orchestrator.domain.backups.words import Backup, BackupState
from orchestrator.domain.decisions import command
from orchestrator.domain.intents import Intent, IntentKind, Refusal
from orchestrator.domain.lost_nodes import Lost, Released, Statement
from orchestrator.domain.placement import NodeState, closed
from orchestrator.domain.plans import Node, PlanKind
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.domain.terms import Terms
from orchestrator.drivers.local.certificates import signature_holds

NOW = datetime(2026, 11, 28, 3, 20, tzinfo=UTC)
NODE = Node(name="hv1", zone="z1", address="192.0.2.11")
LOST = Lost(at=NOW, by="anna", why="fire", statement="lost-hv1-20261128T032000Z")
SERVICE = Service(id="s1", client_id="c1", plan="small", state=Lifecycle.ACTIVE, node="hv1")
BACKUP = Backup(
    id="b1",
    service_id="s1",
    job_id="j1",
    generation=1,
    begun_at=NOW - timedelta(hours=8),
    made_at=NOW - timedelta(hours=7, minutes=30),
    state=BackupState.VERIFIED,
    snapshot_id="a" * 64,
)
NONE = Refusal(reason="restore refused: no verified backup of it stands", rule="only verified backups are restored")
VPS = Terms()


def document() -> dict[str, object]:
    key = Ed25519PrivateKey.generate()
    stated = Statement(
        id=lost_nodes.statement_id("hv1", NOW),
        provider="Example Hosting",
        node=NODE,
        host_key="ssh-ed25519 AAAA",
        facts={"hostname": "hv1.example", "pool_path": "/srv/pool"},
        last_seen_at=NOW - timedelta(minutes=30),
        by="anna",
        why="fire",
        said="I pulled its cords",
        services=[Released(service_id="s1", state="active", guest="orch.s1", disk="/srv/pool/orch.s1.disk.j1.qcow2")],
        at=NOW,
    )
    unsigned = lost_nodes.build(stated, public_key=key.public_key().public_bytes_raw())
    value = base64.b64encode(key.sign(certificates.payload(unsigned))).decode()
    return certificates.signed(unsigned, key_id=str(unsigned["key"]["id"]), value=value)


def test_a_statement_holds_as_a_certificate_does_and_says_who_stated_what_and_released_which() -> None:
    found = document()
    assert found["id"] == "lost-hv1-20261128T032000Z"
    verdict = certificates.verify(found, signature_holds)
    assert verdict.ok, verdict
    assert verdict.sentences[1:3] == (
        "anna stated at 2026-11-28T03:20:00Z that node hv1 is lost: I pulled its cords",
        "released by that: s1",
    )


def test_what_is_stated_twice_in_one_second_has_two_ids() -> None:
    first = lost_nodes.statement_id("hv1", NOW)
    second = lost_nodes.statement_id("hv1", NOW, [first])
    assert len({first, second, lost_nodes.statement_id("hv1", NOW, [second, first])}) == 3


@pytest.mark.parametrize(
    ("member", "value"), [("statement", "its disks are wiped"), ("services", []), ("stated_by", "bob"), ("limits", [])]
)
def test_nothing_of_it_can_be_changed(member: str, value: object) -> None:
    assert not certificates.verify(document() | {member: value}, signature_holds).ok


@pytest.mark.parametrize(("change", "says"), [({"node": {}}, "the node has no name"), ({"services": [{}]}, "service 0 has no")])
def test_one_that_does_not_look_like_a_statement_is_none(change: dict[str, object], says: str) -> None:
    assert says in "; ".join(certificates.verify(document() | change, signature_holds).sentences)


def test_a_lost_node_takes_nothing_whatever_else_there_is_of_it() -> None:
    state = NodeState(
        node=NODE,
        enrolled=True,
        up=True,
        cpus=8,
        memory_bytes=1 << 40,
        disk_bytes=1 << 40,
        promised_vcpus=0,
        promised_memory_bytes=0,
        promised_disk_bytes=0,
        guests=0,
        drained="new disks",
        lost=LOST,
    )
    assert closed(state) == ("it is lost since 2026-11-28T03:20:00Z by anna (fire)",)


def test_what_is_on_a_lost_node_comes_up_from_the_backup_and_what_is_lost_with_it_is_said() -> None:
    received = recovering.decide(SERVICE, BACKUP, LOST, to="hv2", who="bob", why="fire", terms=VPS, now=NOW)
    assert isinstance(received.decision, Intent)
    assert (received.decision.kind, received.decision.arguments) == (
        IntentKind.RECOVER,
        {"to": "hv2", "backup": "b1", "limited": False, "limits": []},
    )
    assert received.note == "backup b1 of 2026-11-27 19:50 UTC: what was written in the 7 hours since is lost"
    again = command(
        IntentKind.RECOVER, SERVICE, who="bob", why="again", now=NOW, arguments=received.decision.arguments, terms=VPS
    )
    assert isinstance(again.decision, Intent)
    assert again.decision.arguments == received.decision.arguments


def test_a_hold_that_stops_it_does_not_keep_it_from_coming_up_held() -> None:
    held = replace(SERVICE, holds=(Hold(reason=HoldReason.ABUSE, effect=HoldEffect.STOP, by="x", why="x", since=NOW),))
    assert isinstance(recovering.decide(held, BACKUP, LOST, to="", who="b", why="f", terms=VPS, now=NOW).decision, Intent)


@pytest.mark.parametrize(
    ("service", "backup", "lost", "terms", "says"),
    [
        (SERVICE, BACKUP, None, VPS, "it is on hv1, which is not lost; service move"),
        (replace(SERVICE, node=""), BACKUP, None, VPS, "it is on no node"),
        (SERVICE, NONE, LOST, VPS, "no verified backup of it stands; left is: service terminate s1"),
        (replace(SERVICE, state=Lifecycle.ARCHIVED), BACKUP, LOST, VPS, "it is archived"),
        (SERVICE, BACKUP, LOST, replace(VPS, kind=PlanKind.HOSTING), "only a guest can be"),
    ],
    ids=["not-lost", "on-none", "no-backup", "ended", "an-account"],
)
def test_what_cannot_come_up_elsewhere_is_refused_with_what_is_left_to_do(
    service: Service, backup: Backup | Refusal, lost: Lost | None, terms: Terms, says: str
) -> None:
    decision = recovering.decide(service, backup, lost, to="", who="bob", why="fire", terms=terms, now=NOW).decision
    assert isinstance(decision, Refusal)
    assert says in decision.reason


def test_without_its_arguments_a_command_makes_no_job() -> None:
    found = command(IntentKind.RECOVER, SERVICE, who="bob", why="fire", now=NOW, arguments={}, terms=VPS)
    assert isinstance(found.decision, Refusal)


@pytest.mark.parametrize(
    ("age", "words"),
    [(timedelta(minutes=5), "5 minutes"), (timedelta(hours=26), "26 hours"), (timedelta(days=9), "9 days")],
    ids=["minutes", "hours", "days"],
)
def test_how_much_is_lost_is_said_in_words(age: timedelta, words: str) -> None:
    assert f"in the {words} since" in recovering.loses(replace(BACKUP, made_at=NOW - age), NOW)


def test_a_certificate_with_a_node_that_was_not_reached_is_not_clean_and_says_which() -> None:
    away = certificates.ResidueCheck(node="hv1", checked_at=NOW, unreached=lost_nodes.unreached("hv1", LOST))
    whole = certificates.residue([certificates.ResidueCheck(node="hv2", checked_at=NOW)])
    assert (whole["clean"], "unreached" in whole["checks"][0]) == (True, False)
    found = certificates.residue([away])
    assert found["clean"] is False
    assert "hv1 was not reached, and nothing on it was wiped" in found["checks"][0]["unreached"]
