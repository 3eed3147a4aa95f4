"""What the command line says of a service's state: what is in force, and what is only on paper yet."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.cli.remote.made import MADE
from orchestrator.cli.remote.service import _CARD, _LIST

STATE = next(column.field for column in _LIST if column.heading == "STATE")
MOMENT = "2026-11-20T12:00:00Z"
STOP, LIMIT = {"reason": "nonpayment", "effect": "stop"}, {"reason": "abuse", "effect": "limit"}


@pytest.mark.parametrize(
    ("holds", "suspended", "limited", "words"),
    [
        ([], "", "", "active"),
        ([STOP], "", "", "active, to be suspended"),
        ([STOP], MOMENT, "", "active, suspended"),
        ([], MOMENT, "", "active, to be resumed"),
        ([LIMIT], "", "", "active, to be limited (abuse)"),
        ([LIMIT], "", MOMENT, "active, limited (abuse)"),
        ([], "", MOMENT, "active, to be unlimited"),
        ([LIMIT, STOP], MOMENT, MOMENT, "active, suspended"),
        ([LIMIT], MOMENT, "", "active, to be resumed"),
    ],
)
def test_what_is_in_force_is_told_apart_from_what_is_to_be(
    holds: list[dict[str, str]], suspended: str, limited: str, words: str
) -> None:
    row: dict[str, Any] = {
        "state": "active",
        "holds": holds,
        "suspended": STOP in holds,
        "limited": LIMIT in holds,
        "suspension_proven_at": suspended or None,
        "limited_proven_at": limited or None,
    }
    assert callable(STATE)
    assert STATE(row) == words
    assert STATE(row | {"state": "erased"}) == "erased"


def test_a_field_of_a_service_is_shown_once() -> None:
    names = [name for name, _ in _CARD]
    assert sorted(set(names)) == sorted(names)


STEPS = {
    "place": {"node": "n1", "verdicts": [{"node": "n1", "fits": True}]},
    "net": {"addresses": ["10.9.0.10", "fd09::1"], "lease": {"mac": "52:54:00:00:00:01"}, "mac": "52:54:00:00:00:01"},
    "disk": {"volume": {"path": "/pool/orch.a.disk.qcow2", "capacity_bytes": 10 * 2**30, "secret_uuid": "1a64"}},
    "seed": {"volume": {"path": "/pool/orch.a.seed.iso", "capacity_bytes": 69632, "secret_uuid": ""}},
    "define": {"guest": "orch.a", "uuid": "a8edfd97", "boot": {}},
    "verify": {"verified": {"addresses": ["10.9.0.10"]}},
}
KEPT = {"id": "orch.a.archive.j1", "node": "n1", "volumes": [], "bytes": 2**30, "kept_at": MOMENT, "until": None}


def made(facts: dict[str, Any]) -> dict[str, str]:
    return {name: field({"facts": facts}) for name, field in MADE if callable(field)}


def test_what_jobs_made_is_told_in_a_few_lines_whatever_a_playbook_calls_its_steps() -> None:
    assert made(STEPS) == {
        "in rescue": "",
        "guest": "orch.a (UUID a8edfd97)",
        "account": "",
        "addresses": "10.9.0.10, fd09::1 (MAC 52:54:00:00:00:01)",
        "volumes": "/pool/orch.a.disk.qcow2: 10 GiB, encrypted\n/pool/orch.a.seed.iso: 68 KiB",
        "archive": "",
    }


def test_of_a_rescue_system_it_is_told_how_to_log_in_and_what_it_has_to_show() -> None:
    rescue = {"login": ["root@10.9.0.10", "root@fd09::1"], "fingerprint": "SHA256:abc", "since": MOMENT, "keys": 1}
    told = made({"rescue": rescue})["in rescue"]
    assert told == "since 2026-11-20 12:00:00Z: root@10.9.0.10, root@fd09::1, host key SHA256:abc"


def test_of_an_account_that_is_on_a_node_its_user_is_told() -> None:
    account = dict(MADE)["account"]
    assert callable(account)
    facts = {"identity": {"user": "h100001", "uid": 100001}, "ready": {"user": "h100001"}}
    assert account({"facts": facts, "node": "h1"}) == "h100001 (uid 100001, /srv/h/h100001/home)"
    assert account({"facts": facts, "node": ""}) == ""


def test_of_an_archived_service_its_archive_is_told_and_of_a_new_one_nothing() -> None:
    assert made({"archive": KEPT})["archive"] == "orch.a.archive.j1 on n1, 1 GiB, kept 2026-11-20 12:00:00Z"
    assert made({"archive": KEPT | {"until": MOMENT}})["archive"].endswith(", until 2026-11-20 12:00:00Z")
    machine = {"id": "archive-j1", "node": "m1", "disks": ["A1", "B2"], "kept_at": MOMENT, "until": None}
    assert made({"archive": machine})["archive"] == "archive-j1 on m1, its disks A1, B2, kept 2026-11-20 12:00:00Z"
    assert set(made({}).values()) == {""}
