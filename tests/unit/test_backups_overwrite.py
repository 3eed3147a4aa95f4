"""The overwrite rule, in a world in which anything breaks off: there is always something to restore from."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.backups import overwrite as rule
from orchestrator.domain.backups.overwrite import Held, Standing, foreign, next_act, next_share
from orchestrator.domain.backups.words import Backup, BackupState, Generation, GenerationState, Share

NOW = datetime(2026, 11, 20, 3, tzinfo=UTC)
S = BackupState


class Killed(Exception):
    """The controller, the agent or restic was ended here."""


@dataclass
class World:
    """Repositories, the store, and who acts by the rule. ``left``: so many moments until it is ended; None: it is not."""

    keep: int
    left: int | None = None
    generations: dict[int, Generation] = field(default_factory=dict)
    rows: dict[str, Backup] = field(default_factory=dict)
    held: dict[tuple[int, str], Held] = field(default_factory=dict)
    rotten: set[tuple[int, str]] = field(default_factory=set)
    good: set[tuple[int, str]] = field(default_factory=set)
    fall: str = "whole"
    jobs: int = 0
    made: int = 0
    once: bool = False
    acts: list[str] = field(default_factory=list)

    def standing(self) -> Standing:
        standing = {number for number, each in self.generations.items() if each.stands}
        held = tuple(each for each in self.held.values() if each.generation in standing)
        generations = tuple(self.generations.values())
        return Standing(service_id="s1", generations=generations, held=held, backups=tuple(self.rows.values()), keep=self.keep)

    def moment(self) -> None:
        """Whatever has happened so far, something verified stands where it once did; and something may be ended now."""
        verified = self.standing().verified()
        assert verified or not self.once, self.acts
        self.once = self.once or bool(verified)
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed

    # -- what happens ------------------------------------------------------------

    def run(self, fall: str) -> None:
        """A job makes a backup, as the schedule wants it, and then does what the rule says until nothing is left."""
        self.fall = fall
        self.jobs += 1
        job = f"j{self.jobs}"
        for _ in range(100):
            act = next_act(self.standing())
            if isinstance(act, rule.Note | rule.MarkDamaged | rule.Begin):
                self.do(act, job)
            else:
                break
        newest = self.standing().newest
        assert newest is not None
        self.back_up(newest.number, job)
        self.settle(job)

    def settle(self, job: str) -> None:
        for _ in range(200):
            act = next_act(self.standing())
            if isinstance(act, rule.Settled):
                return
            if isinstance(act, rule.MakeBackup) and self.fall != "whole":
                return  # it would be tried again at another time
            self.do(act, job)
        raise AssertionError(f"it comes to no end: {self.acts[-20:]}")

    def back_up(self, generation: int, job: str) -> None:
        self.made += 1
        row = Backup(
            id=f"b{self.made}",
            service_id="s1",
            job_id=job,
            generation=generation,
            begun_at=NOW + timedelta(minutes=self.made),
        )
        self.rows[row.id] = row
        self.moment()
        if self.fall == "nothing":
            self.rows[row.id] = replace(row, state=S.FAILED)
            return
        key = (generation, f"x{self.made}")
        self.held[key] = Held(generation=generation, snapshot_id=key[1], service="s1", job=job)
        if self.fall == "wrong" or any(each[0] == generation for each in self.rotten):
            self.rotten.add(key)  # it shares the packs of what is rotten
        self.moment()
        state = S.PARTIAL if self.fall == "partial" else S.MADE
        self.rows[row.id] = replace(row, state=state, snapshot_id=key[1], made_at=row.begun_at)
        self.moment()

    def do(self, act: rule.Act, job: str) -> None:
        self.acts.append(str(act))
        match act:
            case rule.Note(held):
                self.note(held)
            case rule.MarkDamaged(of, why):
                self.damaged(of, why)
            case rule.Begin(number):
                assert number not in self.generations
                self.generations[number] = generation(number)
            case rule.MakeBackup(of):
                self.back_up(of, job)
            case rule.Verify(of, backup_id, snapshot_id):
                self.verify(of, backup_id, snapshot_id)
            case _:
                self.take_away(act)
        self.moment()

    def note(self, held: Held) -> None:
        self.made += 1
        self.rows[f"b{self.made}"] = Backup(
            id=f"b{self.made}",
            service_id="s1",
            job_id=held.job,
            generation=held.generation,
            begun_at=NOW + timedelta(minutes=self.made),
            state=S.MADE if held.whole else S.PARTIAL,
            snapshot_id=held.snapshot_id,
        )

    def take_away(self, act: rule.Act) -> None:
        match act:
            case rule.Forget(generation, snapshot_ids):
                self.forget(generation, snapshot_ids)
            case rule.Prune(generation):
                for row in list(self.rows.values()):
                    if row.generation == generation and row.forgotten_at is not None:
                        self.rows[row.id] = replace(row, pruned_at=NOW)
            case rule.Destroy(generation):
                for key in sorted(self.held):
                    if key[0] == generation:
                        del self.held[key]
                        self.moment()
                self.generations[generation] = replace(self.generations[generation], state=GenerationState.DESTROYED)
            case _:
                raise AssertionError(f"not to be done: {act}")

    def verify(self, generation: int, backup_id: str, snapshot_id: str) -> None:
        row = self.rows[backup_id]
        assert (row.generation, row.snapshot_id) == (generation, snapshot_id)
        if (generation, snapshot_id) not in self.rotten:
            self.rows[backup_id] = replace(row, state=S.VERIFIED, verified_at=NOW)
            self.good.add((generation, snapshot_id))
            return
        self.rows[backup_id] = replace(row, state=S.FAILED, problem="a byte differs")
        self.moment()
        if any(key != (generation, snapshot_id) for key in self.rotten if key[0] == generation):
            self.damaged(generation, "a pack is broken")

    def forget(self, generation: int, snapshot_ids: tuple[str, ...]) -> None:
        rows = {(row.generation, row.snapshot_id): row for row in self.rows.values()}
        for snapshot_id in snapshot_ids:
            row = rows[generation, snapshot_id]  # only what the store knows
            self.rows[row.id] = replace(row, state=row.state.forgotten, forgotten_at=NOW)
        self.moment()
        for snapshot_id in snapshot_ids:
            assert self.held[generation, snapshot_id].service == "s1"
            del self.held[generation, snapshot_id]
            self.moment()

    def damaged(self, generation: int, why: str) -> None:
        self.generations[generation] = replace(
            self.generations[generation], state=GenerationState.DAMAGED, why=why, damaged_at=NOW
        )

    def rot(self, number: int) -> None:
        """Packs of one of the repositories break; nobody knows of it yet."""
        there = sorted(key for key in self.held)
        if there:
            generation = there[number % len(there)][0]
            self.rotten |= {key for key in there if key[0] == generation}

    def find_damage(self) -> None:
        """A check of the newest finds it."""
        newest = self.standing().newest
        if newest is not None and newest.state == GenerationState.MADE:
            self.damaged(newest.number, "found by a check")

    def strange(self, number: int) -> None:
        """Somebody else leaves a snapshot in a repository of ours: untagged, tagged by another job, or another service's."""
        newest = self.standing().newest
        if newest is not None:
            service, job = (("", ""), ("s1", "nobody"), ("s2", "j1"))[number % 3]
            held = Held(generation=newest.number, snapshot_id=f"f{len(self.held)}-{number}", service=service, job=job)
            self.held[held.generation, held.snapshot_id] = held

    def steal(self, number: int) -> None:
        """Somebody takes a snapshot out of a repository; never the last one that was verified, for that nobody can help."""
        verified = {(each.generation, each.snapshot_id) for each in self.standing().verified()}
        there = sorted(key for key in self.held if key not in verified or len(verified) > 1)
        if there:
            del self.held[there[number % len(there)]]


FALLS = st.sampled_from(["whole", "whole", "whole", "partial", "nothing", "wrong"])
MOMENTS = st.one_of(st.none(), st.integers(0, 14))
HAPPENINGS = st.lists(
    st.one_of(
        st.tuples(st.just("run"), FALLS, MOMENTS),
        st.tuples(st.just("rot"), st.just(""), st.integers(0, 20)),
        st.tuples(st.just("find"), st.just(""), st.just(0)),
        st.tuples(st.just("strange"), st.just(""), st.integers(0, 20)),
        st.tuples(st.just("steal"), st.just(""), st.integers(0, 20)),
    ),
    max_size=14,
)


def happen(world: World, what: str, fall: str, number: int | None) -> None:
    match what:
        case "run":
            world.left = number
            with contextlib.suppress(Killed):
                world.run(fall)
            world.left = None
        case "rot":
            world.rot(number or 0)
        case "find":
            world.find_damage()
        case "strange":
            world.strange(number or 0)
        case _:
            world.steal(number or 0)


Happening = tuple[str, str, int | None]


@settings(max_examples=150, deadline=None)
@given(HAPPENINGS, st.integers(1, 3))
def test_whatever_breaks_off_something_verified_stands_once_something_did(happenings: list[Happening], keep: int) -> None:
    world = World(keep=keep)
    for what, fall, number in happenings:
        happen(world, what, fall, number)
        world.moment()


@settings(max_examples=150, deadline=None)
@given(HAPPENINGS, st.integers(1, 3))
def test_after_all_of_it_the_repository_holds_what_the_policy_keeps_and_what_is_not_ours(
    happenings: list[Happening], keep: int
) -> None:
    world = World(keep=keep)
    for what, fall, number in happenings:
        happen(world, what, fall, number)
    strange = set(world.held) & {(each.generation, each.snapshot_id) for each in foreign(world.standing())}
    for _ in range(keep + 1):
        world.run("whole")
    standing = world.standing()
    newest = standing.newest
    assert newest is not None
    verified = [(each.generation, each.snapshot_id) for each in standing.verified() if each.generation == newest.number]
    assert len(verified) == keep
    assert set(verified) <= world.good
    ours = {key for key in world.held if key not in strange}
    with_strange = {generation for generation, _ in strange}
    assert {key for key in ours if key[0] not in with_strange or key[0] == newest.number} == set(verified)
    assert strange <= set(world.held)
    stand = {number for number, each in world.generations.items() if each.stands}
    assert stand <= {newest.number} | with_strange


def test_the_world_of_these_tests_forgets_destroys_and_is_killed() -> None:
    """They would hold in a world in which nothing happens, too."""
    world = World(keep=1)
    world.run("whole")
    world.run("whole")
    assert [act.partition("(")[0] for act in world.acts] == ["Begin", "Verify", "Verify", "Forget", "Prune"]
    world.rot(0)
    world.run("whole")
    done = [act.partition("(")[0] for act in world.acts[5:]]
    assert done == ["Verify", "Begin", "MakeBackup", "Verify", "Destroy"]
    assert [each.state for each in world.generations.values()] == [GenerationState.DESTROYED, GenerationState.MADE]
    world.left = 3
    with pytest.raises(Killed):
        world.run("whole")


# -- the rule, act by act ------------------------------------------------------------


def generation(number: int = 1, state: GenerationState = GenerationState.MADE) -> Generation:
    return Generation(service_id="s1", number=number, target="main", wrapped_key=b"k", made_at=NOW, state=state)


def backup(number: int, state: S, of: int = 1) -> Backup:
    at = NOW + timedelta(days=number)
    snapshot = "" if state in (S.BEGUN,) else f"x{number}"
    return Backup(
        id=f"b{number}",
        service_id="s1",
        job_id=f"j{number}",
        generation=of,
        begun_at=at,
        made_at=at,
        state=state,
        snapshot_id=snapshot,
    )


def held(number: int, of: int = 1, service: str = "s1", job: str | None = None) -> Held:
    return Held(generation=of, snapshot_id=f"x{number}", service=service, job=f"j{number}" if job is None else job)


def act(
    *rows: Backup,
    holds: tuple[Held, ...],
    generations: tuple[Generation, ...] = (generation(),),
    keep: int = 1,
    absent: frozenset[int] = frozenset(),
) -> rule.Act:
    return next_act(Standing(service_id="s1", generations=generations, held=holds, absent=absent, backups=rows, keep=keep))


def test_a_service_without_a_repository_is_given_its_first_generation_and_a_backup_at_once() -> None:
    assert act(holds=(), generations=()) == rule.Begin(1)
    assert act(holds=()) == rule.MakeBackup(1)


def test_the_old_one_is_forgotten_only_when_the_new_one_is_verified() -> None:
    both = (held(1), held(2))
    assert act(backup(1, S.VERIFIED), backup(2, S.MADE), holds=both) == rule.Verify(1, "b2", "x2")
    assert act(backup(1, S.VERIFIED), backup(2, S.VERIFIED), holds=both) == rule.Forget(1, ("x1",))


def test_a_partial_one_keeps_the_old_one_and_goes_itself() -> None:
    assert act(backup(1, S.VERIFIED), backup(2, S.PARTIAL), holds=(held(1), held(2))) == rule.Forget(1, ("x2",))


def test_a_partial_one_is_kept_while_there_is_nothing_better() -> None:
    assert act(backup(1, S.PARTIAL), holds=(held(1),)) == rule.MakeBackup(1)
    rows = (backup(1, S.PARTIAL), backup(2, S.MADE))
    assert act(*rows, holds=(held(1), held(2))) == rule.Verify(1, "b2", "x2")


def test_what_a_killed_job_has_left_is_found_by_its_tags_and_counts_only_where_its_end_was_seen() -> None:
    rows = (backup(1, S.VERIFIED), backup(2, S.BEGUN))
    assert act(*rows, holds=(held(1), held(2))) == rule.Note(held(2))


@pytest.mark.parametrize(("service", "job"), [("s2", "j1"), ("s1", "another"), ("", "")])
def test_what_is_not_ours_is_never_forgotten_and_is_told(service: str, job: str) -> None:
    strange = held(9, service=service, job=job)
    assert isinstance(act(backup(1, S.VERIFIED), holds=(held(1), strange)), rule.Settled)
    standing = Standing(service_id="s1", generations=(generation(),), held=(held(1), strange), backups=(backup(1, S.VERIFIED),))
    assert foreign(standing) == (strange,)
    old = (generation(1, GenerationState.DAMAGED), generation(2))
    in_the_old = act(backup(2, S.VERIFIED, of=2), holds=(held(2, of=2), strange), generations=old)
    assert in_the_old == rule.Settled("generation 1 holds what is not ours: a person decides")


@pytest.mark.parametrize("state", [S.FORGOTTEN, S.PARTIAL, S.FAILED, S.REFUSED])
def test_what_was_broken_off_between_its_mark_and_its_end_is_carried_to_it(state: S) -> None:
    rows = (replace(backup(1, state), snapshot_id="x1", forgotten_at=NOW), backup(2, S.VERIFIED))
    assert act(*rows, holds=(held(1), held(2))) == rule.Forget(1, ("x1",))
    assert act(*rows, holds=(held(2),)) == rule.Prune(1)
    pruned = replace(rows[0], pruned_at=NOW)
    assert act(pruned, rows[1], holds=(held(2),)) == rule.Settled("1 of 1 to be kept, verified")


def test_a_verified_one_that_is_gone_is_damage() -> None:
    found = act(backup(1, S.VERIFIED), holds=())
    assert isinstance(found, rule.MarkDamaged)
    assert "x1" in found.why


def test_damage_begins_a_new_generation_and_the_old_one_stays_until_the_new_one_is_verified() -> None:
    old = generation(1, GenerationState.DAMAGED)
    first = backup(1, S.VERIFIED)
    assert act(first, holds=(held(1),), generations=(old,)) == rule.Begin(2)
    both = (old, generation(2))
    assert act(first, holds=(held(1),), generations=both) == rule.MakeBackup(2)
    holds = (held(1), held(2, of=2))
    assert act(first, backup(2, S.MADE, of=2), holds=holds, generations=both) == rule.Verify(2, "b2", "x2")
    assert act(first, backup(2, S.VERIFIED, of=2), holds=holds, generations=both) == rule.Destroy(1)


def test_a_repository_that_is_not_there_keeps_its_key_unless_its_destruction_had_begun() -> None:
    """Its disk may only not be mounted: with the key everything in it would be lost."""
    rows = (backup(1, S.VERIFIED), backup(2, S.VERIFIED, of=2))
    holds, gone = (held(2, of=2),), frozenset({1})
    damaged = (generation(1, GenerationState.DAMAGED), generation(2))
    assert act(*rows, holds=holds, generations=damaged, absent=gone) == rule.Settled(
        "generation 1 is not there, and its key is kept: a person decides"
    )
    doomed = (generation(1, GenerationState.DOOMED), generation(2))
    assert act(*rows, holds=holds, generations=doomed, absent=gone) == rule.Destroy(1)


def test_of_several_to_be_kept_the_old_generation_stays_until_the_new_one_has_as_many() -> None:
    both = (generation(1, GenerationState.DAMAGED), generation(2))
    rows = (backup(1, S.VERIFIED), backup(2, S.VERIFIED, of=2))
    assert isinstance(act(*rows, holds=(held(1), held(2, of=2)), generations=both, keep=2), rule.Settled)


def test_nothing_is_taken_from_a_damaged_repository() -> None:
    rows = (backup(1, S.VERIFIED), backup(2, S.VERIFIED), backup(3, S.VERIFIED, of=2))
    both = (generation(1, GenerationState.DAMAGED), generation(2))
    found = act(*rows, holds=(held(1), held(2), held(3, of=2)), generations=both, keep=2)
    assert found == rule.Settled("generation 1 stays until 2 in generation 2 are verified")


def test_so_many_are_kept_as_the_policy_says_the_latest() -> None:
    rows = [backup(number, S.VERIFIED) for number in (1, 2, 3, 4)]
    holds = tuple(held(number) for number in (1, 2, 3, 4))
    assert act(*rows, holds=holds, keep=3) == rule.Forget(1, ("x1",))
    assert isinstance(act(*rows, holds=holds, keep=4), rule.Settled)


@given(st.integers(1, 255), st.integers(0, 600), st.sampled_from([None, Share(number=3, of=7)]))
def test_within_the_stated_number_of_runs_every_share_is_read(within: int, before: int, last: Share | None) -> None:
    for _ in range(before):
        last = next_share(last, within=within)
    read = set()
    for _ in range(within):
        last = next_share(last, within=within)
        read.add(str(last))
    assert read == {f"{number}/{within}" for number in range(1, within + 1)}


def test_no_more_shares_than_restic_knows() -> None:
    with pytest.raises(ValueError, match="at most 255"):
        next_share(None, within=256)
