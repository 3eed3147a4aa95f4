"""What holds for deadlines whatever billing says, in whatever order, and however long the controller sleeps.

The controller is the simulated one, which decides by the pure functions of the domain alone; hypothesis plays the world.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.config.policies import load_policies
from orchestrator.domain.brakes import BrakeLimits
from orchestrator.domain.calendar import Calendar
from orchestrator.domain.deadlines import Action
from orchestrator.domain.events import Event, EventType
from orchestrator.domain.guards import AWAY
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.simulation.billing import SAY_PAID
from orchestrator.domain.simulation.controller import Controller
from orchestrator.domain.simulation.kept import Kept
from orchestrator.domain.simulation.punctuality import Key
from orchestrator.domain.simulation.report import Act, Report
from orchestrator.domain.simulation.scenario import DAY, HOUR, Outage, Scenario
from orchestrator.domain.simulation.timeline import Timeline

POLICIES = load_policies(Path(__file__).parents[2] / "configs" / "policies")
CALENDAR = Calendar(ZoneInfo("Asia/Jakarta"))
START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MONTH = 30 * DAY
ONE = "s1"
quick = settings(max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow])

Fate = tuple[timedelta, ...]
"""How long each copy of a message is under way; none: it is lost."""
PROMPT: Fate = (timedelta(0),)


@dataclass(frozen=True)
class Move:
    """So long after the last one billing notes something, and says it. ``dated``: a payment that says until when it pays."""

    after: timedelta
    kind: EventType
    fate: Fate = PROMPT
    dated: bool = True


@dataclass(frozen=True, kw_only=True)
class Life:
    """One service under a policy. ``answers``: what becomes of billing's answers, in turns; ``dates``: its refusals say until
    when it is paid. ``regrets``: so long after billing's word the customer pays, once; what is heard of that before the act has
    to stop it.
    """

    policy: str
    moves: tuple[Move, ...]
    answers: tuple[Fate, ...] = (PROMPT,)
    dates: bool = True
    regrets: timedelta | None = None
    scenario: Scenario = field(default_factory=lambda: Scenario(services=1, start=START, days=240))


class World:
    """Plays a life: billing, its books, and whoever looks into them."""

    def __init__(self, life: Life, *, sweeps: Sequence[datetime] = ()) -> None:
        self.timeline = Timeline()
        self.acts: list[Act] = []
        self.report = Report(CALENDAR, self.acts.append)
        self._life = life
        self._scenario = life.scenario
        self._controller = Controller(self.timeline, life.scenario, POLICIES[life.policy], CALENDAR, self.report, outside=self)
        self.paid_until = START
        self.paid_at = START
        self.heard = False
        self.words: dict[str, datetime] = {}
        self.wipes: list[tuple[str, datetime]] = []
        self.wrong: list[tuple[str, datetime]] = []
        self._sent = self._answered = 0
        self._play(life.moves)
        for moment in sweeps:
            self.timeline.at(life.scenario.up(moment), self._controller.sweep)
        for outage in life.scenario.outages:
            if outage.end - outage.start > AWAY:
                self.timeline.at(outage.end + life.scenario.reconcile_after, self._controller.release)
        self.timeline.run(life.scenario.end)
        self._controller.close(life.scenario.end)

    @property
    def kept(self) -> Kept:
        return self._controller.kept[ONE]

    @property
    def service(self) -> Service:
        assert self.kept.service is not None
        return self.kept.service

    # -- billing ----------------------------------------

    def _play(self, moves: Sequence[Move]) -> None:
        self.timeline.at(START, lambda now: self._pay(EventType.ORDER_PAID, PROMPT, now, dated=True))
        at = START
        for move in moves:
            at += move.after
            self.timeline.at(at, partial(self._move, move))

    def _move(self, move: Move, now: datetime) -> None:
        if move.kind == EventType.INVOICE_PAID:
            self._pay(move.kind, move.fate, now, dated=move.dated)
        elif move.kind == EventType.INVOICE_REFUNDED:
            self.paid_until = max(START, self.paid_until - MONTH)
            self._send(move.kind, move.fate, now, invoice_id=f"i{self._sent}", paid_until=self.paid_until)
        else:
            self._send(move.kind, move.fate, now, due_at=min(now, self.paid_until))

    def _pay(self, kind: EventType, fate: Fate, now: datetime, *, dated: bool) -> None:
        self.paid_at, self.paid_until, self.heard = now, max(self.paid_until, now) + MONTH, False
        until = self.paid_until if dated else None
        self._send(kind, fate, now, client_id="c1", plan="p", invoice_id=f"i{self._sent + 1}", paid_until=until)

    def _send(self, kind: EventType, fate: Fate, now: datetime, **told: Any) -> None:
        self._sent += 1
        event = Event(source="b", id=str(self._sent), type=kind, service_id=ONE, sent_at=now, **told)
        for delay in fate:
            self.timeline.at(self._scenario.up(now + delay), partial(self._arrive, event))

    def _arrive(self, event: Event, now: datetime) -> None:
        self.heard = self.heard or (event.type in SAY_PAID and event.sent_at >= self.paid_at)
        self._controller.receive(event, now)

    # -- whom the controller has to do with ----------------------------------------

    def asked(self, service_id: str, job_id: str, now: datetime) -> None:
        fate = self._life.answers[self._answered % len(self._life.answers)]
        self._answered += 1
        if self.look_up(self.service, job_id, now):
            self._send(EventType.TERMINATION_CONFIRMED, fate, now, job_id=job_id)
        else:
            until = self.paid_until if self._life.dates else None
            self._send(EventType.TERMINATION_REFUSED, fate, now, job_id=job_id, paid_until=until)

    def look_up(self, service: Service, job_id: str, now: datetime) -> bool:
        if self.paid_until > now:
            return False
        if self._life.regrets is not None and not self.words:
            pays = partial(self._pay, EventType.INVOICE_PAID, PROMPT, dated=True)
            self.timeline.at(now + self._life.regrets, pays)
        self.words[job_id] = now
        return True

    def wiped(self, service: Service, job_id: str, now: datetime) -> None:
        """Wrong where the books speak against it, unless by a payment that came only after somebody had looked into them, and of
        which the controller has not heard."""
        self.wipes.append((job_id, now))
        word = self.words.get(job_id)
        if self.paid_until > now and (word is None or self.paid_at < word or self.heard):
            self.wrong.append((job_id, now))

    def cancelled(self, service: Service) -> None:
        raise AssertionError("its order was paid")


def hours(most: int) -> st.SearchStrategy[timedelta]:
    return st.integers(0, most).map(lambda number: number * HOUR)


fates: st.SearchStrategy[Fate] = st.lists(hours(10 * 24), max_size=2).map(tuple) | st.just(PROMPT)
kinds = st.sampled_from(
    [EventType.INVOICE_PAID, EventType.INVOICE_OVERDUE, EventType.INVOICE_OVERDUE, EventType.INVOICE_REFUNDED]
)
outages = hours(24 * 150).flatmap(
    lambda start: st.integers(1, 24 * 20).map(lambda length: Outage(START + start + HOUR, START + start + HOUR + length * HOUR))
)
limits = st.sampled_from([0, 100]).map(lambda most: BrakeLimits(suspensions_per_hour=most, terminations_per_hour=most))


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """Anything may be said, lost, doubled and late; billing's answers too; and both may be away."""
    moves = st.builds(Move, hours(24 * 25), kinds, fates, st.booleans())
    scenario = Scenario(
        services=1,
        start=START,
        days=240,
        limits=draw(limits),
        confirm_wait=draw(st.sampled_from([None, HOUR, 3 * DAY])),
        approve_after=draw(hours(24)),
        outages=tuple(draw(st.lists(outages, max_size=1))),
        billing_outages=tuple(draw(st.lists(outages, max_size=1))),
    )
    return Life(
        policy=draw(st.sampled_from(sorted(POLICIES))),
        moves=tuple(draw(st.lists(moves, max_size=8))),
        dates=draw(st.booleans()),
        regrets=draw(st.none() | st.integers(0, 200).map(lambda number: timedelta(seconds=number))),
        answers=tuple(draw(st.lists(fates, min_size=1, max_size=3))),
        scenario=scenario,
    )


@quick
@given(lives())
def test_nothing_that_billing_says_is_paid_is_wiped_and_nothing_is_missed(life: Life) -> None:
    world = World(life)
    assert world.wrong == []
    assert world.report.missed == []
    assert len(world.wipes) == (world.service.state == Lifecycle.ERASED)


moments = st.integers(0, 240 * 24 * 60).map(lambda number: START + number * MINUTE)


@quick
@given(lives(), st.lists(moments, max_size=12), st.integers(1, 3))
def test_each_deadline_acts_once_however_often_it_is_looked_at(life: Life, sweeps: list[datetime], times: int) -> None:
    world = World(life, sweeps=sweeps * times)
    assert all(seen.times == 1 for seen in world.kept.seen.values())
    done = Counter(act.what for act in world.acts)
    for action in Action:
        assert done[action.value] == sum(key[0] == action for key in world.kept.seen)


def test_the_world_of_these_tests_wipes_suspends_and_is_refused() -> None:
    """They would hold in a world in which nothing happens, too."""
    silent = World(Life(policy="enterpage", moves=()))
    assert (silent.service.state, len(silent.wipes), silent.wrong) == (Lifecycle.ERASED, 1, [])
    lost = World(Life(policy="enterpage", moves=(Move(29 * DAY, EventType.INVOICE_PAID, ()),) * 8))
    words = {act.what for act in lost.acts}
    assert {"suspend done", "billing refused", "unsuspend done"} <= words
    assert (lost.service.state, lost.wipes) == (Lifecycle.ACTIVE, [])
    undated = Life(policy="enterpage", moves=(Move(29 * DAY, EventType.INVOICE_PAID, ()),) * 8, dates=False)
    assert World(undated).wipes == []


# -- a controller that sleeps ----------------------------------------


def payments(gaps: Sequence[timedelta]) -> tuple[Move, ...]:
    """Payments, each so long after the last."""
    return tuple(Move(gap, EventType.INVOICE_PAID) for gap in gaps)


def both(life: Life, gap: Outage) -> tuple[World, World]:
    """The same life with a controller that never slept, and with one that did."""
    return World(life), World(replace(life, scenario=replace(life.scenario, outages=(gap,))))


def first_seen(world: World) -> dict[Key, datetime]:
    return {key: seen.last for key, seen in world.kept.seen.items() if seen.last is not None}


@quick
@given(
    st.sampled_from(sorted(POLICIES)),
    st.lists(hours(24 * 30), max_size=3),
    hours(24 * 60),
    st.integers(1, 24 * 30 * 60).map(lambda number: number * MINUTE),
)
def test_who_slept_passes_over_no_suspension_and_no_notice_and_ends_the_same(
    policy: str, gaps: list[timedelta], since: timedelta, slept: timedelta
) -> None:
    """The customer has paid for the last time before the sleep; from then on only deadlines act."""
    begin = START + sum(gaps, timedelta(0)) + since + HOUR
    life = Life(policy=policy, moves=payments(gaps))
    awake, drowsy = both(life, Outage(begin, begin + slept))
    known, late = first_seen(awake), first_seen(drowsy)
    assert set(late) == set(known)
    assert (drowsy.service.state, drowsy.service.stop_reasons) == (awake.service.state, awake.service.stop_reasons)
    assert all(late[key] >= known[key] for key in known)
    assert all(not begin <= act.at < begin + slept for act in drowsy.acts)
    rule = POLICIES[policy].overdue.terminate
    for world in (awake, drowsy):
        told = [at for (action, _), at in first_seen(world).items() if action == Action.NOTICE_TERMINATE]
        for _, wiped in world.wipes:
            assert rule is not None
            assert rule.notice is None or wiped >= CALENDAR.add(min(told), rule.notice)


@quick
@given(
    st.sampled_from(sorted(POLICIES)),
    st.lists(hours(24 * 45), max_size=5),
    hours(24 * 150),
    st.integers(1, 24 * 30 * 60).map(lambda number: number * MINUTE),
)
def test_who_slept_destroys_nothing_that_who_was_awake_kept(
    policy: str, gaps: list[timedelta], since: timedelta, slept: timedelta
) -> None:
    """Payments may come before, during and after the sleep."""
    begin = START + since + HOUR
    awake, drowsy = both(Life(policy=policy, moves=payments(gaps)), Outage(begin, begin + slept))
    assert len(drowsy.wipes) <= len(awake.wipes)
    assert all(wiped >= awake.wipes[0][1] for _, wiped in drowsy.wipes)
    if len(drowsy.wipes) == len(awake.wipes):
        assert (drowsy.service.state, drowsy.service.stop_reasons) == (awake.service.state, awake.service.stop_reasons)
