"""What stands beside an account's home, and what explains it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.domain.accounts import AccountFacts
from orchestrator.domain.asides import apart, underway
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import Job
from tests.unit.test_accounts import facts
from tests.unit.test_restoring import NOW

FACTS = AccountFacts.parse(facts())


def job(kind: IntentKind, job_id: str = "j1") -> Job:
    return Job(
        id=job_id,
        service_id="s1",
        intent=kind,
        playbook="p",
        state=JobState.NEEDS_OPERATOR,
        reason="",
        asked_by="anna",
        payments=0,
        created_at=NOW,
        arguments={},
    )


def test_what_the_record_or_a_job_that_is_not_over_explains_is_no_difference() -> None:
    there = replace(FACTS, restored=("drill-j2", "j1", "old"), packed="whole")
    known = underway([job(IntentKind.RESTORE, "j1"), job(IntentKind.DRILL, "j2")])
    assert known == {"asides": ["j1", "drill-j2"], "packing": True}
    assert apart(there, kept=("old",), asides=("j1", "drill-j2"), packing=True) == ()
    assert apart(FACTS, kept=(), asides=("j1",), packing=True) == (), "it has not come so far"


def test_what_nothing_explains_is_named_and_so_is_what_is_gone() -> None:
    there = replace(FACTS, restored=("drill-j2", "old"), packed="half")
    assert apart(there, kept=("newer",), asides=("drill-j9",), packing=False) == (
        "restored/drill-j2 stands aside, and no record and no job says why",
        "restored/old stands aside, and no record and no job says why",
        "restored/newer is gone, and was to be kept",
        "half a pack of it stands in its directory, and no job that is not over needs it",
    )
    assert "a pack of it stands" in apart(replace(FACTS, packed="whole"), kept=(), asides=(), packing=False)[0]


@pytest.mark.parametrize(
    ("kind", "packs"),
    [(IntentKind.BACKUP, True), (IntentKind.TERMINATE, True), (IntentKind.DRILL, False), (IntentKind.SUSPEND, False)],
)
def test_a_pack_is_explained_by_what_packs_or_loads_and_by_nothing_else(kind: IntentKind, packs: bool) -> None:
    assert underway([job(kind)])["packing"] is packs


def test_facts_say_what_is_packed_and_what_stands_aside() -> None:
    found = AccountFacts.parse({**facts(), "packed": "whole", "restored": ["b1", "b2"]})
    assert (found.packed, found.restored) == ("whole", ("b1", "b2"))
