"""What every Fence must do; a suite for one implementation inherits this and says how to arrange the world behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest

from orchestrator.domain.errors import FenceClosed, Frozen, OrchestratorError
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.drivers.fake.outside import FakeClock
from orchestrator.ports.fence import Fence

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WIPE = "wipe of the volume"
STOPPED = Hold(reason=HoldReason.NONPAYMENT, effect=HoldEffect.STOP, by="billing", why="overdue", since=NOW)
ABUSE = replace(STOPPED, reason=HoldReason.ABUSE, by="anna", why="spam")


class FenceWorld(Protocol):
    """A fence, and the state it reads, to be arranged from outside."""

    @property
    def fence(self) -> Fence: ...

    def put(self, service: Service) -> None: ...

    def service(self, service_id: str) -> Service: ...

    def add_job(self, job_id: str, service_id: str, intent: IntentKind, *, payments: int, state: JobState) -> None: ...

    def freeze(self, *, on: bool) -> None: ...


class FenceContract(ABC):
    @abstractmethod
    def make(self, clock: FakeClock, directory: Path) -> FenceWorld: ...

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock(NOW)

    @pytest.fixture
    def world(self, clock: FakeClock, tmp_path: Path) -> FenceWorld:
        """s1 is being terminated by job j1, decided at two payments."""
        world = self.make(clock, tmp_path)
        world.put(_service())
        world.add_job("j1", "s1", IntentKind.TERMINATE, payments=2, state=JobState.RUNNING)
        return world

    def test_lets_an_unpaid_termination_through_and_records_the_point_of_no_return(self, world: FenceWorld) -> None:
        _require(world)
        assert world.service("s1").point_of_no_return == NOW

    def test_the_point_of_no_return_is_the_first_one(self, world: FenceWorld, clock: FakeClock) -> None:
        _require(world)
        clock.advance(timedelta(hours=1))
        _require(world)
        world.fence.require(service_id="s1", job_id="j1", act="wipe of the next volume")
        assert world.service("s1").point_of_no_return == NOW

    def test_an_act_that_can_be_taken_back_is_judged_alike_and_passes_no_point_of_no_return(self, world: FenceWorld) -> None:
        world.fence.require(service_id="s1", job_id="j1", act="undefine", destroys=False)
        assert world.service("s1").point_of_no_return is None
        world.put(_service(payments=3))
        with pytest.raises(FenceClosed):
            world.fence.require(service_id="s1", job_id="j1", act="undefine", destroys=False)

    def test_a_payment_since_the_decision_closes_it_and_marks_nothing(self, world: FenceWorld) -> None:
        world.put(_service(payments=3))
        _refused(world, "paid since")
        assert world.service("s1").point_of_no_return is None

    def test_it_is_evaluated_anew_each_time_also_past_the_point_of_no_return(self, world: FenceWorld) -> None:
        _require(world)
        world.put(replace(world.service("s1"), payments=3))
        _refused(world, "paid since")
        assert world.service("s1").point_of_no_return == NOW

    @pytest.mark.parametrize(
        "hold",
        [
            replace(STOPPED, reason=HoldReason.DISPUTE, effect=HoldEffect.NO_ERASE),
            replace(STOPPED, reason=HoldReason.LEGAL, effect=HoldEffect.NO_ERASE),
            replace(STOPPED, reason=HoldReason.LEGAL, effect=HoldEffect.STOP),
        ],
    )
    def test_a_hold_that_forbids_erasing_closes_it(self, world: FenceWorld, hold: Hold) -> None:
        world.put(_service(holds=(STOPPED, hold)))
        _refused(world, f"{hold.reason} hold")
        assert world.service("s1").point_of_no_return is None

    def test_a_hold_that_only_stops_does_not(self, world: FenceWorld) -> None:
        world.put(_service(holds=(STOPPED, ABUSE)))
        _require(world)

    @pytest.mark.parametrize("state", [s for s in Lifecycle if s != Lifecycle.TERMINATING])
    def test_a_state_that_no_termination_belongs_to_closes_it(self, world: FenceWorld, state: Lifecycle) -> None:
        world.put(_service(state=state))
        _refused(world, str(state))

    def test_a_freeze_holds_everything_back_until_it_is_lifted(self, world: FenceWorld) -> None:
        world.freeze(on=True)
        with pytest.raises(Frozen):
            _require(world)
        assert world.service("s1").point_of_no_return is None
        world.freeze(on=False)
        _require(world)

    def test_a_system_that_is_installed_anew_passes_no_point_of_no_return_of_its_service(self, world: FenceWorld) -> None:
        """And what that destroyed says nothing of what a termination has, which may be taken back still."""
        world.put(_service(state=Lifecycle.ACTIVE, holds=()))
        world.add_job("j0", "s1", IntentKind.REINSTALL, payments=2, state=JobState.RUNNING)
        world.fence.require(service_id="s1", job_id="j0", act="write over")
        assert world.service("s1").point_of_no_return is None
        world.put(_service())
        _require(world)
        assert world.service("s1").point_of_no_return == NOW
        world.fence.withdraw(service_id="s1", job_id="j1")
        assert world.service("s1").point_of_no_return is None

    def test_an_unknown_service_and_an_unknown_job_are_refused(self, world: FenceWorld) -> None:
        with pytest.raises(FenceClosed):
            world.fence.require(service_id="s2", job_id="j1", act=WIPE)
        with pytest.raises(FenceClosed):
            world.fence.require(service_id="s1", job_id="j2", act=WIPE)

    def test_the_job_of_another_service_is_refused(self, world: FenceWorld) -> None:
        world.put(replace(_service(), id="s2"))
        world.add_job("j2", "s2", IntentKind.TERMINATE, payments=2, state=JobState.RUNNING)
        with pytest.raises(FenceClosed):
            world.fence.require(service_id="s1", job_id="j2", act=WIPE)

    @pytest.mark.parametrize("state", [s for s in JobState if s.final])
    def test_a_job_that_is_over_destroys_nothing_more(self, world: FenceWorld, state: JobState) -> None:
        world.add_job("j2", "s1", IntentKind.TERMINATE, payments=2, state=state)
        with pytest.raises(FenceClosed):
            world.fence.require(service_id="s1", job_id="j2", act=WIPE)

    def test_an_erasure_passes_the_point_of_no_return_of_an_archive_and_a_payment_closes_it(self, world: FenceWorld) -> None:
        world.add_job("j2", "s1", IntentKind.ERASE, payments=2, state=JobState.RUNNING)
        world.put(_service(state=Lifecycle.ARCHIVED, payments=3))
        with pytest.raises(FenceClosed, match="paid since"):
            world.fence.require(service_id="s1", job_id="j2", act="erase archive")
        assert world.service("s1").point_of_no_return is None
        world.put(_service(state=Lifecycle.ARCHIVED))
        world.fence.require(service_id="s1", job_id="j2", act="erase archive")
        assert world.service("s1").point_of_no_return == NOW

    def test_bringing_back_destroys_a_copy_whatever_was_paid_and_passes_none(self, world: FenceWorld) -> None:
        world.add_job("j2", "s1", IntentKind.REACTIVATE, payments=2, state=JobState.RUNNING)
        world.put(_service(state=Lifecycle.ARCHIVED, payments=3))
        world.fence.require(service_id="s1", job_id="j2", act="destroy archive", destroys=False)
        assert world.service("s1").point_of_no_return is None

    def test_a_provisioning_job_may_destroy_nothing(self, world: FenceWorld) -> None:
        world.add_job("j2", "s1", IntentKind.PROVISION, payments=2, state=JobState.RUNNING)
        world.put(_service(state=Lifecycle.PROVISIONING))
        with pytest.raises(FenceClosed):
            world.fence.require(service_id="s1", job_id="j2", act=WIPE)

    def test_withdrawing_takes_the_point_of_no_return_back(self, world: FenceWorld) -> None:
        _require(world)
        for _ in range(2):
            world.fence.withdraw(service_id="s1", job_id="j1")
        assert world.service("s1").point_of_no_return is None

    def test_withdrawing_a_second_act_keeps_the_point_that_the_first_one_passed(self, world: FenceWorld) -> None:
        _require(world)
        world.fence.require(service_id="s1", job_id="j1", act="wipe of the next volume")
        for _ in range(3):
            world.fence.withdraw(service_id="s1", job_id="j1")
        assert world.service("s1").point_of_no_return == NOW

    def test_an_act_that_was_let_through_again_after_a_crash_is_still_one_act(self, world: FenceWorld) -> None:
        _require(world)
        _require(world)
        world.fence.withdraw(service_id="s1", job_id="j1")
        assert world.service("s1").point_of_no_return is None

    def test_after_a_withdrawal_the_next_act_passes_the_point_anew(self, world: FenceWorld, clock: FakeClock) -> None:
        _require(world)
        world.fence.withdraw(service_id="s1", job_id="j1")
        clock.advance(timedelta(hours=1))
        _require(world)
        assert world.service("s1").point_of_no_return == NOW + timedelta(hours=1)

    def test_another_job_cannot_withdraw_what_this_one_did(self, world: FenceWorld) -> None:
        _require(world)
        world.add_job("j2", "s1", IntentKind.TERMINATE, payments=2, state=JobState.RUNNING)
        world.fence.withdraw(service_id="s1", job_id="j2")
        assert world.service("s1").point_of_no_return == NOW


class SuspensionFenceContract(ABC):
    @abstractmethod
    def make(self, clock: FakeClock, directory: Path) -> FenceWorld: ...

    @pytest.fixture
    def world(self, tmp_path: Path) -> FenceWorld:
        """s1 is being suspended by job j1, decided at two payments."""
        world = self.make(FakeClock(NOW), tmp_path)
        world.put(_service(state=Lifecycle.ACTIVE, holds=(STOPPED,)))
        world.add_job("j1", "s1", IntentKind.SUSPEND, payments=2, state=JobState.RUNNING)
        return world

    def test_it_tells_what_stops_a_service_at_this_moment(self, world: FenceWorld) -> None:
        limiting = replace(ABUSE, reason=HoldReason.QUOTA, effect=HoldEffect.LIMIT)
        world.put(replace(_service(), holds=(STOPPED, ABUSE, limiting)))
        assert sorted(world.fence.stopped(service_id="s1")) == ["abuse", "nonpayment"]
        world.put(replace(_service(), holds=(limiting,)))
        assert world.fence.stopped(service_id="s1") == ()
        assert world.fence.stopped(service_id="nobody") == ()

    def test_lets_a_suspension_through_without_a_point_of_no_return(self, world: FenceWorld) -> None:
        _require(world)
        assert world.service("s1").point_of_no_return is None

    def test_a_payment_stops_a_suspension_for_debt(self, world: FenceWorld) -> None:
        world.put(_service(state=Lifecycle.ACTIVE, holds=(STOPPED,), payments=3))
        _refused(world, "paid since")

    def test_a_payment_does_not_stop_a_suspension_for_abuse(self, world: FenceWorld) -> None:
        world.put(_service(state=Lifecycle.ACTIVE, holds=(ABUSE,), payments=3))
        _require(world)

    def test_without_a_stopping_hold_nothing_is_suspended(self, world: FenceWorld) -> None:
        world.put(_service(state=Lifecycle.ACTIVE, holds=(replace(STOPPED, effect=HoldEffect.NONE),)))
        _refused(world, "no hold stops")

    def test_a_hold_that_forbids_erasing_does_not_stop_a_suspension(self, world: FenceWorld) -> None:
        legal = replace(STOPPED, reason=HoldReason.LEGAL, effect=HoldEffect.NO_ERASE)
        world.put(_service(state=Lifecycle.ACTIVE, holds=(STOPPED, legal)))
        _require(world)

    def test_a_freeze_holds_a_suspension_back(self, world: FenceWorld) -> None:
        world.freeze(on=True)
        with pytest.raises(Frozen):
            _require(world)


def _service(*, state: Lifecycle = Lifecycle.TERMINATING, payments: int = 2, holds: tuple[Hold, ...] = (STOPPED,)) -> Service:
    return Service(id="s1", client_id="c1", plan="vps-s", state=state, payments=payments, holds=holds, created_at=NOW)


def _require(world: FenceWorld) -> None:
    world.fence.require(service_id="s1", job_id="j1", act=WIPE)


def _refused(world: FenceWorld, sentence: str) -> None:
    with pytest.raises(FenceClosed) as caught:
        _require(world)
    assert isinstance(caught.value, OrchestratorError)
    assert sentence in caught.value.message
