"""What becomes of a service's backups and restores by its policy: for the tests that ask whether each rule has an outcome."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from orchestrator.domain.backups import allowance, asking, caps, overwrite
from orchestrator.domain.backups.offer import NodeBackups, Offer
from orchestrator.domain.backups.words import Backup, BackupState, Generation, Measured, Restore
from orchestrator.domain.charges import Charge
from orchestrator.domain.deadlines import Deadline, deadlines
from orchestrator.domain.intents import Intent, Refusal
from orchestrator.domain.permissions import Ask, besides
from orchestrator.domain.received import Received
from orchestrator.domain.terms import Terms
from tests.unit.test_deadlines import SERVICE

DAY = timedelta(days=1)
ACTIVE_SINCE = datetime(2026, 2, 12, 5, tzinfo=UTC)
BACKED_UP = replace(SERVICE, due_at=None, activated_at=ACTIVE_SINCE, node="n1")
ONE = Generation(service_id=SERVICE.id, number=1, target="main", wrapped_key=b"k", made_at=ACTIVE_SINCE)
MEASURED = (
    Measured(size_bytes=10**10 + 1),
    Measured(size_bytes=0, inodes=250_001),
    Measured(size_bytes=10**12, inodes=10**7),
)


def outcomes(terms: Terms, *, words: bool) -> Iterator[object]:
    """``words``: with the sentences that people are told."""
    for bought in (False, True):
        by = replace(terms, backups=Offer(node=NodeBackups(target="main"), plan="small", bought=bought))
        yield [_deadline(each, words) for each in deadlines(BACKED_UP, by, told={})]
        for day in range(12):
            last = replace(BACKED_UP, backup_asked_at=ACTIVE_SINCE)
            found = asking.requested(last, who="anna", why="x", terms=by, now=ACTIVE_SINCE + day * DAY)
            yield _decision(found, words)
        yield [_refusal(caps.refuses(each, caps.caps(by)), words) for each in MEASURED]
        yield overwrite.next_act(_verified(overwrite.keeps(by)))
        yield overwrite.told(by) if words else ""
        yield [besides(ask, by) for ask in (Ask.BACKUP, Ask.RESTORE)]
        yield from _restored(by, words)


def _restored(by: Terms, words: bool) -> Iterator[object]:
    known: list[Restore] = []
    for number in range(3):
        asked = allowance.Request(id=f"r{number}", snapshot_id="x", size_bytes=3 * 10**9, asked_by="anna", pay=number == 2)
        found = allowance.ask(BACKED_UP, asked, known, terms=by, now=ACTIVE_SINCE)
        if isinstance(found, Refusal):
            yield _refusal(found, words)
        else:
            known.append(found.restore)
            yield found.restore, _charge(found.charge, words)


def _verified(keep: int) -> overwrite.Standing:
    ids = [f"x{number}" for number in range(5)]
    rows = tuple(
        Backup(
            id=snapshot,
            service_id=SERVICE.id,
            job_id="j",
            generation=1,
            begun_at=ACTIVE_SINCE + number * DAY,
            state=BackupState.VERIFIED,
            snapshot_id=snapshot,
        )
        for number, snapshot in enumerate(ids)
    )
    held = tuple(overwrite.Held(generation=1, snapshot_id=snapshot, service=SERVICE.id, job="j") for snapshot in ids)
    return overwrite.Standing(service_id=SERVICE.id, generations=(ONE,), held=held, backups=rows, keep=keep)


def _deadline(deadline: Deadline, words: bool) -> Deadline:
    return deadline if words else replace(deadline, reason="")


def _decision(received: Received, words: bool) -> object:
    decision = received.decision
    return decision if words or not isinstance(decision, Intent | Refusal) else replace(decision, reason="")


def _refusal(refusal: Refusal | None, words: bool) -> Refusal | None:
    return refusal if words or refusal is None else replace(refusal, reason="")


def _charge(charge: Charge | None, words: bool) -> Charge | None:
    return charge if words or charge is None else replace(charge, reason="")
