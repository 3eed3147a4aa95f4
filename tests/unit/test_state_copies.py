"""The copies of the controller's own state, as they are decided on: when one is due, when one goes, and where they may lie."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.domain.backups.state import (
    Manifest,
    StateBackups,
    due,
    held,
    location_of,
    manifest_of,
    on_own_machine,
    refuses_to_give_up,
    standing,
)
from orchestrator.domain.backups.targets import Target, Way
from orchestrator.domain.backups.words import Backup, BackupState, Generation, GenerationState

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RULE = StateBackups(target="main", key_file=Path("/k"), keep=2)


def copy(ago: timedelta, state: BackupState = BackupState.VERIFIED, *, pruned: bool = False, snapshot: str = "s") -> Backup:
    at = NOW - ago
    return Backup(
        id=at.isoformat(),
        service_id="controller",
        job_id="j",
        generation=1,
        begun_at=at,
        made_at=at,
        state=state,
        snapshot_id=snapshot,
        pruned_at=at if pruned else None,
    )


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        ((), True),
        ((copy(DAY - HOUR),), False),
        ((copy(DAY),), True),
        ((copy(2 * DAY), copy(HOUR / 2, BackupState.FAILED)), False),
        ((copy(2 * DAY), copy(HOUR, BackupState.FAILED)), True),
        ((copy(HOUR, BackupState.MADE),), True),
        ((copy(HOUR / 2, BackupState.BEGUN),), False),
        ((copy(HOUR, BackupState.PARTIAL),), True),
        ((copy(-DAY),), True),
    ],
)
def test_one_is_due_when_the_last_verified_one_is_old_enough_and_no_attempt_was_made_just_now(
    known: tuple[Backup, ...], wanted: bool
) -> None:
    assert due(known, DAY, NOW, sound={1}) is wanted


def test_one_is_due_where_all_verified_ones_lie_in_a_damaged_repository() -> None:
    assert due([copy(HOUR)], DAY, NOW, sound={2}) is True
    assert standing([copy(HOUR)], sound={2}) == ()


@pytest.mark.parametrize(
    ("states", "copies", "last", "says"),
    [
        ({1: "damaged", 2: "made"}, (1, 2), False, None),
        ({1: "damaged", 2: "made"}, (1,), False, "no other repository has a verified copy than _controller.1"),
        ({1: "damaged", 2: "damaged"}, (1, 2), False, "no other repository"),
        ({1: "damaged"}, (1,), True, None),
        ({1: "made"}, (1,), False, "no other repository"),
        ({1: "given-up", 2: "made"}, (2,), True, "_controller.1 is given-up already"),
        ({1: "destroyed", 2: "made"}, (2,), False, "_controller.1 is destroyed already"),
    ],
)
def test_the_last_verified_copy_is_not_given_up_by_the_way(
    states: dict[int, str], copies: tuple[int, ...], last: bool, says: str | None
) -> None:
    known = [
        Generation(service_id="controller", number=n, target="main", wrapped_key=b"", made_at=NOW, state=GenerationState(state))
        for n, state in states.items()
    ]
    refusal = refuses_to_give_up(1, known, [replace(copy(HOUR), generation=n) for n in copies], last=last)
    assert (refusal is None) == (says is None)
    assert refusal is None or says is None or says in refusal.reason


def test_only_what_was_verified_and_not_forgotten_stands_and_the_newest_is_first() -> None:
    old, new = copy(2 * DAY), copy(DAY)
    rest = [copy(HOUR, state) for state in BackupState if state != BackupState.VERIFIED]
    assert standing([old, *rest, new], sound={1}) == (new, old)


def test_a_copy_goes_with_the_last_of_so_many_newer_ones_as_are_kept() -> None:
    known = [copy(3 * DAY, BackupState.FORGOTTEN, pruned=True), copy(2 * DAY), copy(DAY)]
    told = held(known, {1: ("main", "/srv")}, RULE, now=NOW)
    assert [(each.taken_at, each.expires_at) for each in told] == [(NOW - 2 * DAY, NOW), (NOW - DAY, NOW + DAY)]
    assert {(each.target, each.location) for each in told} == {("main", "/srv")}


def test_what_was_forgotten_is_held_until_its_room_was_given_back_and_so_is_what_never_counted() -> None:
    known = [copy(3 * DAY, BackupState.FORGOTTEN), copy(2 * DAY, BackupState.PARTIAL), copy(DAY, BackupState.FAILED, snapshot="")]
    assert len(held(known, {}, RULE, now=NOW)) == 2


def test_where_no_copies_are_made_any_more_nobody_can_say_when_one_goes() -> None:
    assert [each.expires_at for each in held([copy(DAY)], {}, None, now=NOW)] == [None]


@pytest.mark.parametrize(
    ("location", "keeper", "why"),
    [
        ("/srv/backups", "", "a directory of the controller's own machine"),
        ("sftp:backup@vault.example.com:/srv", "", ""),
        ("rest:http://127.0.0.1:8000/", "", "127.0.0.1, the controller's own machine"),
        ("rest:https://backup.example.com:8000/", "rest:http://localhost:8001/", "localhost, the controller's own machine"),
    ],
)
def test_the_controllers_own_machine_is_known_as_such(location: str, keeper: str, why: str) -> None:
    target = Target(name="main", way=Way(location=location), keeper=Way(location=keeper) if keeper else None)
    assert on_own_machine(target) == why


def test_a_repository_is_reached_by_the_keepers_way_under_a_name_that_no_service_has() -> None:
    way, keeper = Way(location="rest:https://a.example.com/"), Way(location="rest:https://b.example.com/")
    assert location_of(Target(name="main", way=way, keeper=keeper), 1) == "rest:https://b.example.com/_controller.1/"
    assert location_of(Target(name="main", way=way), 2) == "rest:https://a.example.com/_controller.2/"


def test_a_manifest_reads_again_as_it_was_and_another_file_is_none() -> None:
    made = Manifest(
        provider="Example",
        taken_at=NOW,
        version="1",
        config_dir="/etc/o",
        state_dir="/var/lib/o",
        database="orchestrator.sqlite",
        database_url="sqlite:////var/lib/o/x",
        audit_rows=3,
        audit_head="ab",
        files={"b": "2", "a": "1"},
    )
    assert manifest_of(made.text()) == made
    for text in ("{}", "[]", "", '{"form": "orchestrator-state-1"}', made.text().replace("state-1", "state-9")):
        with pytest.raises(ValueError, match=r".+"):
            manifest_of(text)
