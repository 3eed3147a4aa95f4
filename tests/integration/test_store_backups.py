"""Repositories, backups and restores as the store keeps them, on a real database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.domain.backups.allowance import Granted, Request, ask, used
from orchestrator.domain.backups.overwrite import Forget, Held, Prune, Settled, last_share, next_act
from orchestrator.domain.backups.words import Backup, BackupState, Generation, GenerationState, RestoreState, Share
from orchestrator.domain.errors import AlreadyExists, NotFound, WrongState
from orchestrator.domain.policies import SILENT, Restore
from orchestrator.domain.services import Lifecycle, Service, ServiceFacts
from orchestrator.domain.terms import Terms
from orchestrator.store import backups, charges, deadlines, services
from orchestrator.store.database import Connection, Database

NOW = datetime(2026, 11, 20, 3, tzinfo=UTC)
DAY = timedelta(days=1)
SERVICE = Service(id="s1", client_id="c", plan="small", state=Lifecycle.ACTIVE)
TERMS = Terms(policy=replace(SILENT, name="tnet", restore=Restore(clause="1", per_month=1, over_per_gb=100_000)))
S = BackupState


@pytest.fixture
def conn(db: Database) -> Iterator[Connection]:
    with db.write() as open_one:
        yield open_one


def generation(number: int = 1, service_id: str = "s1") -> Generation:
    key = f"key {number}".encode()
    return Generation(service_id=service_id, number=number, target="main", wrapped_key=key, made_at=NOW)


def backup(number: int, state: S = S.VERIFIED, *, service_id: str = "s1", of: int = 1) -> Backup:
    at = NOW + number * DAY
    snapshot = "" if state in (S.BEGUN, S.REFUSED) else f"x{number}"
    made = at if snapshot else None
    return Backup(
        id=f"b{number}",
        service_id=service_id,
        job_id=f"j{number}",
        generation=of,
        begun_at=at,
        made_at=made,
        verified_at=made if state == S.VERIFIED else None,
        state=state,
        snapshot_id=snapshot,
    )


def held(*numbers: int) -> tuple[Held, ...]:
    return tuple(held_in(1, n) for n in numbers)


def held_in(of: int, number: int) -> Held:
    return Held(generation=of, snapshot_id=f"x{number}", service="s1", job=f"j{number}")


def test_a_generation_is_kept_with_its_wrapped_key_until_it_is_destroyed(conn: Connection) -> None:
    backups.begin_generation(conn, generation(1))
    backups.begin_generation(conn, generation(2))
    with pytest.raises(AlreadyExists):
        backups.begin_generation(conn, generation(2))
    assert backups.generations(conn, "s1") == (generation(1), generation(2))
    damaged = backups.mark_damaged(conn, "s1", 1, why="a pack is gone", now=NOW)
    assert (damaged.state, damaged.why, damaged.damaged_at) == (GenerationState.DAMAGED, "a pack is gone", NOW)
    assert backups.mark_damaged(conn, "s1", 1, why="another", now=NOW + DAY) == damaged
    backups.rewrap(conn, "s1", 2, b"another key")
    assert [each.wrapped_key for each in backups.wrapped_keys(conn)] == [b"key 1", b"another key"]
    doomed = backups.mark_doomed(conn, "s1", 1, why="replaced")
    assert (doomed.state, doomed.wrapped_key, doomed.stands) == (GenerationState.DOOMED, b"key 1", True)
    assert backups.mark_damaged(conn, "s1", 1, why="late", now=NOW) == doomed
    gone = backups.mark_destroyed(conn, "s1", 1, why="replaced", now=NOW + DAY)
    assert (gone.state, gone.wrapped_key, gone.destroyed_at) == (GenerationState.DESTROYED, b"", NOW + DAY)
    assert backups.mark_damaged(conn, "s1", 1, why="late", now=NOW) == gone
    assert [each.number for each in backups.wrapped_keys(conn)] == [2]
    with pytest.raises(WrongState):
        backups.rewrap(conn, "s1", 1, b"x")
    with pytest.raises(NotFound):
        backups.generation(conn, "s1", 3)


def test_what_a_destroyed_repository_held_is_forgotten_and_nothing_else(conn: Connection) -> None:
    for number in (1, 2):
        backups.begin_generation(conn, generation(number))
    for row in (backup(1), backup(2, S.PARTIAL), backup(3, S.BEGUN), backup(4, of=2)):
        backups.put(conn, row)
    backups.mark_destroyed(conn, "s1", 1, why="", now=NOW)
    found = {each.id: each for each in backups.of_service(conn, "s1")}
    assert [found[f"b{number}"].state for number in (1, 2, 3, 4)] == [S.FORGOTTEN, S.PARTIAL, S.BEGUN, S.VERIFIED]
    assert {(found[each].forgotten_at, found[each].pruned_at) for each in ("b1", "b2")} == {(NOW, NOW)}
    assert {(found[each].forgotten_at, found[each].pruned_at) for each in ("b3", "b4")} == {(None, None)}


@pytest.mark.parametrize("state", [S.PARTIAL, S.FAILED, S.REFUSED, S.SKIPPED])
def test_an_attempt_that_came_to_nothing_stays_counted_when_what_it_left_is_taken_away(conn: Connection, state: S) -> None:
    for number in (1, 2):
        backups.begin_generation(conn, generation(number))
    left = [replace(backup(n, state, of=1 + (n > 2)), snapshot_id=f"x{n}") for n in (1, 2, 3)]
    for row in (*left, backup(4, S.MADE, of=2), backup(5, of=2)):
        backups.put(conn, row)
    assert backups.mark_forgotten(conn, "s1", 2, ["x3", "x4"], now=NOW) == ("x3", "x4")
    assert backups.mark_forgotten(conn, "s1", 2, ["x3", "x4"], now=NOW + DAY) == ("x3", "x4")
    backups.mark_pruned(conn, "s1", 2, now=NOW + DAY)
    backups.mark_destroyed(conn, "s1", 1, why="", now=NOW)
    counted = backups.counts(conn)
    assert (counted[state], counted[S.FORGOTTEN], counted[S.VERIFIED]) == (3, 1, 1)
    gone = {each.id: (each.forgotten_at, each.pruned_at) for each in backups.of_service(conn, "s1") if each.id != "b5"}
    assert gone == {"b1": (NOW, NOW), "b2": (NOW, NOW), "b3": (NOW, NOW + DAY), "b4": (NOW, NOW + DAY)}
    assert isinstance(next_act(backups.standing(conn, "s1", held=(held_in(2, 5),), keep=1)), Settled)


def test_a_backup_comes_back_as_it_was_put(conn: Connection) -> None:
    whole = replace(
        backup(1),
        slot=NOW,
        share=Share(number=3, of=8),
        size_bytes=10**13,
        inodes=250_000,
        read_bytes=5,
        stored_bytes=7,
        consistency="frozen",
        problem="none",
        left_out=("a\udcff", "b"),
    )
    backups.put(conn, whole)
    backups.put(conn, backup(2, S.BEGUN))
    assert backups.get(conn, "b1") == replace(whole, number=1)
    backups.put(conn, backup(2, S.MADE))
    assert [each.state for each in backups.of_service(conn, "s1")] == [S.VERIFIED, S.MADE]
    assert [each.id for each in backups.of_job(conn, "j2")] == ["b2"]
    page, following = backups.list_page(conn, limit=1, service_id="s1")
    assert ([each.id for each in page], following) == (["b2"], "b2")
    assert [each.id for each in backups.list_page(conn, state="verified")[0]] == ["b1"]
    with pytest.raises(NotFound):
        backups.get(conn, "b3")


def test_the_newest_is_the_one_that_was_begun_last_whatever_the_clock_said(conn: Connection) -> None:
    """The clock was three days ahead when the first was made, and was put right since."""
    backups.begin_generation(conn, generation())
    late = NOW + 3 * DAY
    ahead = replace(backup(1), begun_at=late, made_at=late, verified_at=late, share=Share(number=4, of=13))
    after = replace(backup(2), share=Share(number=5, of=13))
    for row in (ahead, after, ahead):
        backups.put(conn, row)
    assert backups.last_good(conn)["s1"].id == "b2"
    assert last_share(backups.of_service(conn, "s1"), 1) == Share(number=5, of=13)
    assert next_act(backups.standing(conn, "s1", held=held(1, 2), keep=1)) == Forget(1, ("x1",))
    backups.put(conn, replace(backup(3, S.REFUSED), problem="too large"))
    assert backups.refused(conn) == {"s1": "too large"}


def test_an_overwrite_is_decided_and_written_down_act_by_act(conn: Connection) -> None:
    backups.begin_generation(conn, generation())
    for row in (backup(1), backup(2), backup(3, S.VERIFIED, service_id="s2")):
        backups.put(conn, row)
    act = next_act(backups.standing(conn, "s1", held=held(1, 2), keep=1))
    assert act == Forget(1, ("x1",))
    assert backups.mark_forgotten(conn, "s1", 1, ["x1", "x3", "unknown"], now=NOW) == ("x1",)
    assert backups.get(conn, "b3").state == S.VERIFIED  # another service's
    assert next_act(backups.standing(conn, "s1", held=held(1, 2), keep=1)) == act  # it was broken off here
    assert backups.mark_forgotten(conn, "s1", 1, ["x1"], now=NOW + DAY) == ("x1",)
    assert backups.get(conn, "b1").forgotten_at == NOW
    assert next_act(backups.standing(conn, "s1", held=held(2), keep=1)) == Prune(1)
    backups.mark_pruned(conn, "s1", 1, now=NOW)
    assert backups.get(conn, "b1").pruned_at == NOW
    assert isinstance(next_act(backups.standing(conn, "s1", held=held(2), keep=1)), Settled)


def test_what_was_not_recorded_is_never_forgotten_by_an_empty_id(conn: Connection) -> None:
    backups.put(conn, backup(1, S.BEGUN))
    assert backups.mark_forgotten(conn, "s1", 1, [""], now=NOW) == ()
    assert backups.get(conn, "b1").state == S.BEGUN


def test_the_share_that_was_read_last_is_the_one_of_the_last_check_that_ended(conn: Connection) -> None:
    assert last_share(backups.of_service(conn, "s1"), 1) is None
    backups.put(conn, replace(backup(1), share=Share(number=1, of=8)))
    backups.put(conn, replace(backup(2, S.FORGOTTEN), verified_at=NOW + 2 * DAY, share=Share(number=2, of=8)))
    backups.put(conn, replace(backup(3, S.FAILED), share=Share(number=3, of=8)))
    backups.put(conn, replace(backup(4, of=2), share=Share(number=7, of=8)))
    assert last_share(backups.of_service(conn, "s1"), 1) == Share(number=2, of=8)


def test_the_last_good_one_of_each_service_is_the_newest_that_is_verified(conn: Connection) -> None:
    rows = (backup(1), backup(2), backup(3, S.PARTIAL), backup(4, S.FORGOTTEN), backup(5, service_id="s2"))
    for row in rows:
        backups.put(conn, row)
    assert {key: each.id for key, each in backups.last_good(conn).items()} == {"s1": "b2", "s2": "b5"}
    assert set(backups.last_good(conn, ["s2", "s3"])) == {"s2"}


def test_a_service_is_over_its_cap_as_long_as_its_last_attempt_was_refused(conn: Connection) -> None:
    backups.put(conn, backup(1))
    backups.put(conn, replace(backup(2, S.REFUSED), problem="it has too much"))
    backups.put(conn, backup(3, S.REFUSED, service_id="s2"))
    backups.put(conn, backup(4, service_id="s2"))
    assert backups.refused(conn) == {"s1": "it has too much"}


# -- restores ------------------------------------------------------------


def counted(conn: Connection, number: int, *, pay: bool = False, job: str = "", at: datetime = NOW) -> Granted:
    asked = Request(id=f"r{number}", snapshot_id="x1", size_bytes=2 * 10**9 + 1, asked_by="anna", pay=pay)
    found = ask(SERVICE, asked, backups.restores_of(conn, "s1"), terms=TERMS, now=at)
    assert isinstance(found, Granted)
    backups.count_restore(conn, found.restore, found.charge, job_id=job or f"j{number}", now=at)
    return found


def left(conn: Connection) -> int:
    return used(backups.restores_of(conn, "s1"), TERMS.calendar, NOW)


def test_restores_are_counted_from_rows_and_what_is_beyond_them_is_charged(conn: Connection) -> None:
    services.put(conn, SERVICE, now=NOW)
    counted(conn, 1)
    paid = counted(conn, 2, pay=True)
    assert left(conn) == 2
    assert paid.charge is not None
    charge = charges.get(conn, paid.charge.id)
    assert (charge.amount, charge.open, charge.job_id) == (300_000, True, "j2")


def test_a_failed_restore_gives_both_back_and_a_retry_that_goes_well_counts_once(conn: Connection) -> None:
    services.put(conn, SERVICE, now=NOW)
    counted(conn, 1)
    charge = counted(conn, 2, pay=True).charge
    assert charge is not None
    charges.operation_failed(conn, "j2", why="the disk is full", now=NOW)
    backups.restore_failed(conn, "j2", why="the disk is full", now=NOW)
    assert (left(conn), charges.get(conn, charge.id).open) == (1, False)
    backups.restore_done(conn, "j2", now=NOW)  # the same job was tried again
    assert (left(conn), charges.get(conn, charge.id).open) == (2, True)
    backups.restore_done(conn, "j2", now=NOW)
    assert (left(conn), charges.get(conn, charge.id).times) == (2, 2)
    backups.restore_failed(conn, "j2", why="late", now=NOW)
    assert left(conn) == 2


def test_what_failed_may_be_asked_again_under_its_id_by_another_job(conn: Connection) -> None:
    services.put(conn, SERVICE, now=NOW)
    counted(conn, 1)
    charge = counted(conn, 2, pay=True).charge
    assert charge is not None
    charges.operation_failed(conn, "j2", why="no", now=NOW)
    backups.restore_failed(conn, "j2", why="no", now=NOW)
    again = counted(conn, 2, pay=True, job="j3")
    assert again.charge is not None
    assert again.charge.id == charge.id
    found = charges.get(conn, charge.id)
    assert (found.open, found.times, found.job_id) == (True, 2, "j3")
    assert [each.job_id for each in backups.restores_of(conn, "s1")] == ["j1", "j3"]
    assert left(conn) == 2


def test_of_one_service_the_restores_of_another_say_nothing(conn: Connection) -> None:
    services.put(conn, SERVICE, now=NOW)
    granted = counted(conn, 1)
    other = replace(granted.restore, service_id="s2")
    backups.count_restore(conn, other, None, job_id="j9", now=NOW)
    backups.restore_failed(conn, "j9", why="no", now=NOW)
    assert [each.state for each in backups.restores_of(conn, "s1")] == [RestoreState.COUNTED]
    assert [each.state for each in backups.restores_of(conn, "s2")] == [RestoreState.GIVEN_BACK]


# -- the record ------------------------------------------------------------


def test_a_record_knows_where_its_service_is_and_never_writes_it(conn: Connection) -> None:
    record = replace(SERVICE, backups_seen_to=NOW, backup_asked_at=NOW + DAY)
    services.put(conn, record, now=NOW)
    services.set_facts(conn, "s1", ServiceFacts(node="n1"), now=NOW)
    found = services.get(conn, "s1")
    assert found is not None
    assert (found.node, found.backups_seen_to, found.backup_asked_at) == ("n1", NOW, NOW + DAY)
    services.put(conn, replace(found, node="another"), now=NOW)
    assert services.facts(conn, "s1").node == "n1"


def test_a_service_that_has_moved_is_looked_at_at_once(conn: Connection) -> None:
    services.put(conn, SERVICE, now=NOW)
    deadlines.look_again(conn, "s1", NOW + DAY)
    services.set_facts(conn, "s1", ServiceFacts(node="n1"), now=NOW)
    assert deadlines.next_looks(conn)["s1"] == services.AT_ONCE
    deadlines.look_again(conn, "s1", NOW + DAY)
    services.set_facts(conn, "s1", ServiceFacts(node="n1", values={"a": 1}), now=NOW)
    assert deadlines.next_looks(conn)["s1"] == NOW + DAY


def test_those_that_wait_for_a_node_are_looked_at_when_it_has_a_place(conn: Connection) -> None:
    looks = {"s1": NOW + timedelta(minutes=5), "s2": NOW + DAY, "s3": NOW + timedelta(minutes=5), "s4": None}
    for service_id, at in looks.items():
        services.put(conn, replace(SERVICE, id=service_id), now=NOW)
        services.set_facts(conn, service_id, ServiceFacts(node="n2" if service_id == "s3" else "n1"), now=NOW)
        deadlines.look_again(conn, service_id, at)
    assert deadlines.look_sooner(conn, "n1", now=NOW, within=timedelta(minutes=10)) == 1
    assert deadlines.next_looks(conn) == looks | {"s1": NOW}
