"""When a person may give up a repository of backups."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from orchestrator.domain.backups.giving_up import refuses
from orchestrator.domain.backups.words import Backup, BackupState, Generation, GenerationState
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SERVICE = Service(id="s1", client_id="c1", plan="small", state=Lifecycle.ACTIVE)
ONE = Generation(service_id="s1", number=1, target="main", wrapped_key=b"k", made_at=NOW, state=GenerationState.DAMAGED)
TWO = replace(ONE, number=2, state=GenerationState.MADE)


def row(generation: int, state: BackupState = BackupState.VERIFIED) -> Backup:
    return Backup(id=f"b{generation}", service_id="s1", job_id="j1", generation=generation, begun_at=NOW, state=state)


def why(
    *rows: Backup,
    generation: Generation = ONE,
    others: tuple[Generation, ...] = (TWO,),
    last: bool = False,
    service: Service = SERVICE,
) -> str:
    found = refuses(service, generation, others=others, backups=rows, last=last)
    return "" if found is None else found.reason


def test_an_older_one_may_go_while_another_has_a_verified_backup() -> None:
    assert why(row(1), row(2)) == ""


@pytest.mark.parametrize(
    "rows",
    [(row(1),), (row(1), row(2, BackupState.MADE)), (row(1), row(2, BackupState.PARTIAL))],
    ids=["none", "made", "partial"],
)
def test_the_only_verified_one_goes_by_its_own_word_only(rows: tuple[Backup, ...]) -> None:
    assert "the only verified backup" in why(*rows)
    assert why(*rows, last=True) == ""


def test_what_is_verified_in_one_that_is_gone_counts_for_nothing() -> None:
    gone = replace(TWO, state=GenerationState.GIVEN_UP)
    assert "the only verified backup" in why(row(1), row(2), others=(gone,))


def test_one_that_never_had_a_verified_backup_may_go() -> None:
    assert why(row(1, BackupState.FAILED), others=()) == ""


@pytest.mark.parametrize("state", [GenerationState.DESTROYED, GenerationState.GIVEN_UP])
def test_what_is_gone_is_not_given_up_again(state: GenerationState) -> None:
    assert f"is {state} already" in why(generation=replace(ONE, state=state), last=True)


def test_what_a_court_holds_is_not_given_up() -> None:
    legal = Hold(reason=HoldReason.LEGAL, effect=HoldEffect.NO_ERASE, by="anna", why="a court", since=NOW)
    assert "a hold forbids" in why(row(1), row(2), service=SERVICE.with_hold(legal), last=True)
