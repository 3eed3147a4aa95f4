"""The steps on accounts, on the simulated node: repeatable, cut off anywhere, and undone to what was there before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.accounts import limits_of
from orchestrator.domain.errors import (
    AlreadyExists,
    FenceClosed,
    NoCapacity,
    NotFound,
    PermanentDriverError,
    Refused,
    TransientDriverError,
    UndoFailed,
)
from orchestrator.domain.intents import IntentKind
from orchestrator.drivers.fake.hosting import close_ways, stick, unsee, use
from orchestrator.drivers.fake.hosting_state import WAYS
from orchestrator.steps.account import AccountIdentify
from orchestrator.steps.base import Done, Facts, Needed
from orchestrator.steps.common import OnNode
from orchestrator.store import nodes
from tests.contract.account_stage import USER, AccountStage
from tests.hosting_ground import HOST, LARGE, SMALL

NODE: Facts = {"node": HOST.name}
MOMENTS = ("before", "during", "after")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[AccountStage]:
    built = AccountStage(tmp_path)
    yield built
    built.close()


@pytest.fixture
def made(stage: AccountStage) -> AccountStage:
    """Its account is there, made by j1."""
    stage.make_account()
    return stage


def cut_off(stage: AccountStage, step: str, args: Facts, *, method: str, moment: Any, job: str) -> Facts:
    """The answer of the node is lost once; what a second attempt gives."""
    stage.world.fault(method, where=moment, error=TransientDriverError("the connection broke"))
    with pytest.raises(TransientDriverError):
        stage.apply(step, args, job=job)
    stage.world.clear_faults()
    return stage.run(step, args, job=job)


def create_args(stage: AccountStage) -> Facts:
    return {**NODE, **stage.sold(SMALL)}


def test_capacity_is_promised_on_a_hosting_node_and_given_back(stage: AccountStage) -> None:
    untouched, args = stage.snapshot(), {"account": stage.spec["account"]}
    assert isinstance(stage.check("account.reserve", args), Needed)
    facts = stage.apply("account.reserve", args)
    assert facts["node"] == HOST.name
    found = stage.check("account.reserve", args)
    assert isinstance(found, Done)
    assert found.made_by == "j1"
    stage.undo("account.reserve", args, job="j9")
    assert stage.snapshot() != untouched
    for _ in range(2):
        stage.undo("account.reserve", args)
        assert stage.snapshot() == untouched


def test_an_account_that_is_made_again_after_half_of_it_was_undone_is_none_that_is_wiped(stage: AccountStage) -> None:
    args = create_args(stage)
    stage.make_account()
    stage.world.fault("hosting.wipe", where="during", error=PermanentDriverError("nginx refuses its configuration"))
    with pytest.raises(PermanentDriverError):
        stage.undo("account.create", args)
    stage.world.clear_faults()
    assert stage.account()["wiping"]
    stage.run("account.create", args)
    assert not stage.account()["wiping"]


def test_what_cannot_be_seen_is_neither_right_nor_wrong_and_is_looked_at_again(made: AccountStage) -> None:
    """As while MariaDB is away."""
    made.job(IntentKind.SUSPEND, "j2")
    made.run("account.suspend", NODE, job="j2")
    unsee(made.world, HOST.name, USER, "databases: MariaDB is away")
    sold = made.sold(SMALL)
    verify = {**NODE, "account": sold["account"], "holds": ["nonpayment"]}
    for step, args in (("account.prove-suspended", NODE), ("account.verify", verify)):
        assert isinstance(made.check(step, args), Needed)
        with pytest.raises(TransientDriverError, match="MariaDB is away"):
            made.apply(step, args, job="j2")


def test_no_hypervisor_takes_an_account(stage: AccountStage) -> None:
    stage.world.set_node(HOST.name, up=False)
    with stage.db.write() as conn:
        nodes.set_unreachable(conn, HOST.name, "gone")
    with pytest.raises(TransientDriverError, match="would take the account"):
        stage.apply("account.reserve", {"account": stage.spec["account"]})
    too_large = {**stage.spec["account"], "limits": {**stage.spec["account"]["limits"], "disk_bytes": 1 << 50}}
    with pytest.raises(NoCapacity, match="n1: it is a hypervisor, wanted is a hosting node"):
        stage.apply("account.reserve", {"account": too_large})


def test_a_uid_is_given_once_and_stays_given(stage: AccountStage) -> None:
    assert isinstance(stage.check("account.identify", NODE), Needed)
    for job in ("j1", "j2"):
        assert stage.run("account.identify", NODE, job=job) == {"uid": 100_001, "user": USER}
    stage.undo("account.identify", NODE)
    assert stage.ports.uids.known("s1") == 100_001
    assert stage.ports.uids.give("s2") == 100_002


def test_a_uid_that_the_node_knows_is_not_given_after_the_store_was_brought_back(made: AccountStage) -> None:
    with made.world.change() as state:
        there = state["nodes"][HOST.name]["accounts"]
        there["h100007"] = {**there[USER], "user": "h100007", "uid": 100_007, "service_id": "s7"}
    assert made.ports.uids.known("s2") is None
    facts = AccountIdentify().apply(replace(made.context(), service_id="s2"), OnNode(node=HOST.name))
    assert facts["uid"] == 100_008


def test_an_account_is_made_whole_and_unmade(stage: AccountStage) -> None:
    stage.run("account.identify", NODE)
    untouched, args = stage.snapshot(), create_args(stage)
    assert isinstance(stage.check("account.create", args), Needed)
    facts = stage.apply("account.create", args)
    assert (facts["user"], facts["limits"]) == (USER, asdict(limits_of(SMALL)))
    wanted = stage.snapshot()
    assert stage.check("account.create", args) == Done(facts, made_by="j1")
    assert stage.apply("account.create", args) == facts
    stage.undo("account.create", args, job="j9")
    assert stage.snapshot() == wanted
    for _ in range(2):
        stage.undo("account.create", args)
        assert stage.snapshot() == untouched


@pytest.mark.parametrize("moment", MOMENTS)
def test_making_an_account_goes_on_after_it_was_cut_off(stage: AccountStage, moment: str) -> None:
    stage.run("account.identify", NODE)
    args = create_args(stage)
    cut_off(stage, "account.create", args, method="hosting.apply", moment=moment, job="j1")
    assert isinstance(stage.check("account.verify", {**NODE, "account": args["account"]}), Done)


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_account_that_was_half_made_is_unmade(stage: AccountStage, moment: str) -> None:
    stage.run("account.identify", NODE)
    untouched, args = stage.snapshot(), create_args(stage)
    for method, act in (("hosting.apply", stage.apply), ("hosting.wipe", stage.undo)):
        stage.world.fault(method, where=moment, error=TransientDriverError("the connection broke"))  # type: ignore[arg-type]
        # Where nothing had been made there is nothing to unmake, and nothing that could fail.
        with pytest.raises(TransientDriverError) if method == "hosting.apply" else suppress(TransientDriverError):
            act("account.create", args)
        stage.world.clear_faults()
    stage.undo("account.create", args)
    assert stage.snapshot() == untouched


def test_a_user_that_is_somebody_elses_is_left_alone(made: AccountStage) -> None:
    with made.world.change() as state:
        state["nodes"][HOST.name]["accounts"][USER]["service_id"] = "other"
    before = made.snapshot()
    for step in ("account.suspend", "account.wipe", "account.unsuspend"):
        with pytest.raises(AlreadyExists):
            made.check(step, NODE)
    with pytest.raises(AlreadyExists):
        made.check("account.create", create_args(made))
    assert made.snapshot() == before


def test_what_is_not_as_sold_is_named(made: AccountStage) -> None:
    args = {**NODE, "account": made.spec["account"]}
    assert isinstance(made.check("account.verify", args), Done)
    with made.world.change() as state:
        there = state["nodes"][HOST.name]["accounts"][USER]
        there["limits"]["inodes"] = 5
        there["databases"] = []
    with pytest.raises(PermanentDriverError, match=r"5 inodes instead of 100,000.*h100001_main is not there"):
        made.apply("account.verify", args)
    drift = made.apply("account.check", args)["drift"]
    assert len(drift) == 2


@pytest.mark.parametrize("moment", MOMENTS)
def test_limits_are_moved_cut_off_or_not_and_moved_back(made: AccountStage, moment: str) -> None:
    untouched = made.snapshot()
    before = made.apply("account.record", NODE)["limits"]
    args = {**NODE, **made.sold(LARGE), "before": before}
    assert isinstance(made.check("account.limits", args, job="j2"), Needed)
    facts = cut_off(made, "account.limits", args, method="hosting.apply", moment=moment, job="j2")
    assert facts == {"limits": asdict(limits_of(LARGE))}
    assert made.check("account.limits", args, job="j2") == Done(facts, made_by="j2")
    for _ in range(2):
        made.undo("account.limits", args, job="j2")
        assert made.snapshot() == untouched


def test_a_node_promises_another_size_and_the_old_one_again(made: AccountStage) -> None:
    untouched = made.snapshot()
    args = {**NODE, "account": made.sold(LARGE)["account"], "before": made.apply("account.record", NODE)["limits"]}
    made.run("account.promise", args, job="j2")
    standing = made.ledger.reservation("s1")
    assert standing is not None
    assert standing.disk_bytes == LARGE.disk_bytes
    for _ in range(2):
        made.undo("account.promise", args, job="j2")
        assert made.snapshot() == untouched


def test_what_does_not_fit_is_refused(made: AccountStage) -> None:
    use(made.world, HOST.name, USER, bytes=SMALL.disk_bytes + 1)
    held = made.apply("account.record", NODE)
    args = {**NODE, "account": made.spec["account"], "bytes": held["bytes"], "inodes": held["inodes"]}
    with pytest.raises(Refused, match="does not fit"):
        made.check("account.fits", args)


def test_suspending_can_be_repeated_and_taken_back(made: AccountStage) -> None:
    made.job(IntentKind.SUSPEND, "j2")
    close_ways(made.world, HOST.name, USER, "cron")
    untouched = made.snapshot()
    assert isinstance(made.check("account.suspend", NODE, job="j2"), Needed)
    facts = made.apply("account.suspend", NODE, job="j2")
    assert made.account()["open"] == []
    assert made.check("account.suspend", NODE, job="j2") == Done(facts, made_by="j2")
    assert made.apply("account.suspend", NODE, job="j2") == facts
    made.undo("account.suspend", NODE, job="j9")
    assert made.account()["open"] == []
    for _ in range(2):
        made.undo("account.suspend", NODE, job="j2")
        assert made.snapshot() == untouched


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_suspension_that_was_cut_off_is_finished_or_taken_back(made: AccountStage, moment: str) -> None:
    made.job(IntentKind.SUSPEND, "j2")
    untouched = made.snapshot()
    cut_off(made, "account.suspend", NODE, method="hosting.suspend", moment=moment, job="j2")
    assert made.account()["open"] == []
    made.undo("account.suspend", NODE, job="j2")
    assert made.snapshot() == untouched
    made.world.fault("hosting.suspend", where=moment, error=TransientDriverError("the connection broke"))  # type: ignore[arg-type]
    with pytest.raises(TransientDriverError):
        made.apply("account.suspend", NODE, job="j2")
    made.undo("account.suspend", NODE, job="j2")
    assert made.snapshot() == untouched


def test_who_paid_since_is_not_suspended_and_what_was_half_closed_is_opened(made: AccountStage) -> None:
    made.job(IntentKind.SUSPEND, "j2")
    untouched = made.snapshot()
    made.world.fault("hosting.suspend", where="during", error=TransientDriverError("the connection broke"))
    with pytest.raises(TransientDriverError):
        made.apply("account.suspend", NODE, job="j2")
    made.pay()
    with pytest.raises(FenceClosed):
        made.apply("account.suspend", NODE, job="j2")
    assert made.snapshot() == untouched


def test_a_suspension_is_proven_only_when_every_way_was_seen_closed(made: AccountStage) -> None:
    made.job(IntentKind.SUSPEND, "j2")
    stick(made.world, HOST.name, USER, "sftp-key", "processes")
    made.run("account.suspend", NODE, job="j2")
    with pytest.raises(PermanentDriverError, match=r"suspended, not proven: still answering: sftp-key .*; processes"):
        made.run("account.prove-suspended", NODE, job="j2")
    stick(made.world, HOST.name, USER)
    facts = made.run("account.prove-suspended", NODE, job="j2")
    assert [way["way"] for way in facts["ways"]] == list(WAYS)


def test_what_came_open_again_is_closed_before_it_is_proven(made: AccountStage) -> None:
    made.job(IntentKind.SUSPEND, "j2")
    made.run("account.suspend", NODE, job="j2")
    with made.world.change() as state:
        state["nodes"][HOST.name]["accounts"][USER]["open"] = ["linger"]
    made.run("account.prove-suspended", NODE, job="j2")
    assert made.account()["open"] == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_it_comes_back_exactly_as_it_was_cut_off_or_not(made: AccountStage, moment: str) -> None:
    made.job(IntentKind.SUSPEND, "j2")
    close_ways(made.world, HOST.name, USER, "at", "ssh-key")
    untouched = made.snapshot()
    made.run("account.suspend", NODE, job="j2")
    suspended = made.snapshot()
    cut_off(made, "account.unsuspend", NODE, method="hosting.unsuspend", moment=moment, job="j3")
    assert made.snapshot() == untouched
    assert made.check("account.unsuspend", NODE, job="j3") == Done({"difference": []})
    made.undo("account.unsuspend", NODE, job="j3")
    assert made.account()["open"] == suspended["accounts"][USER]["open"]


def test_what_is_not_as_it_was_is_said(made: AccountStage) -> None:
    made.job(IntentKind.SUSPEND, "j2")
    close_ways(made.world, HOST.name, USER, "cron")
    made.run("account.suspend", NODE, job="j2")
    with made.world.change() as state:
        state["nodes"][HOST.name]["accounts"][USER]["open"] = ["cron"]
    with pytest.raises(PermanentDriverError, match="cron is not as it was"):
        made.run("account.unsuspend", NODE, job="j3")


def test_a_wipe_tells_what_it_did_and_cannot_be_taken_back(made: AccountStage) -> None:
    made.job(IntentKind.TERMINATE, "j4")
    assert isinstance(made.check("account.wipe", NODE, job="j4"), Needed)
    made.undo("account.wipe", NODE, job="j4")  # nothing had begun
    facts = made.apply("account.wipe", NODE, job="j4")
    (told,) = facts["wiped"]
    assert (told["name"], told["report"]["verified"], told["report"]["method"]) == (USER, False, "unlink")
    assert made.check("account.wipe", NODE, job="j4") == Done(facts, made_by="j4")
    with pytest.raises(UndoFailed):
        made.undo("account.wipe", NODE, job="j4")


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_wipe_that_has_begun_is_carried_to_its_end_whoever_pays(made: AccountStage, moment: str) -> None:
    made.job(IntentKind.TERMINATE, "j4")
    made.world.fault("hosting.wipe", where=moment, error=TransientDriverError("the connection broke"))  # type: ignore[arg-type]
    with pytest.raises(TransientDriverError):
        made.apply("account.wipe", NODE, job="j4")
    begun = made.service().point_of_no_return is not None
    assert begun == (moment != "before"), "the note stays only where something was destroyed"
    made.pay()
    if moment == "before":
        with pytest.raises(FenceClosed):
            made.run("account.wipe", NODE, job="j4")
        assert made.account()
        return
    made.run("account.wipe", NODE, job="j4")
    assert made.account() == {}


@pytest.mark.parametrize("step", ["account.wipe", "account.suspend", "account.create"])
def test_a_node_that_says_nothing_of_an_account_is_not_taken_to_be_without_it(made: AccountStage, step: str) -> None:
    with made.world.change() as state:
        state["nodes"][HOST.name]["mute"] = [USER]
    args = create_args(made) if step == "account.create" else NODE
    with pytest.raises(PermanentDriverError, match="says nothing of it"):
        made.check(step, args, job="j2")


@pytest.mark.parametrize("step", ["account.wipe", "account.suspend", "account.create", "account.prove-gone"])
def test_a_node_that_does_not_answer_is_not_taken_to_be_without_the_account(made: AccountStage, step: str) -> None:
    made.job(IntentKind.TERMINATE, "j4")
    made.world.set_node(HOST.name, up=False)
    args = {"account.create": create_args(made), "account.prove-gone": {}}.get(step, NODE)
    for act in (made.check, made.apply):
        with pytest.raises(TransientDriverError):
            act(step, args, job="j4")
    made.world.set_node(HOST.name, up=True)
    assert made.account()


def test_what_the_node_cannot_look_into_is_not_proven_gone(made: AccountStage) -> None:
    """As while MariaDB is away: the databases may all be there."""
    made.job(IntentKind.TERMINATE, "j4")
    made.run("account.wipe", NODE, job="j4")
    with made.world.change() as state:
        state["nodes"][HOST.name]["unseen"] = ["databases: MariaDB is away"]
    for act in (made.check, made.apply):
        with pytest.raises(TransientDriverError, match="cannot tell what is left of s1: databases: MariaDB is away"):
            act("account.prove-gone", {}, job="j4")
    with made.world.change() as state:
        del state["nodes"][HOST.name]["unseen"]
    assert "absent from h1" in made.run("account.prove-gone", {}, job="j4")["proof"]


def test_an_account_that_was_gone_is_certified_as_not_wiped(made: AccountStage) -> None:
    made.job(IntentKind.TERMINATE, "j4")
    with made.world.change() as state:
        del state["nodes"][HOST.name]["accounts"][USER]
    (told,) = made.run("account.wipe", NODE, job="j4")["wiped"]
    assert told["report"]["method"] == "none"
    assert "nothing was verified" in told["report"]["limits"][0]


def test_absence_is_proven_by_looking_and_what_stays_is_said(made: AccountStage) -> None:
    made.job(IntentKind.TERMINATE, "j4")
    with pytest.raises(PermanentDriverError, match="is on h1 still"):
        made.apply("account.prove-gone", {}, job="j4")
    made.run("account.wipe", NODE, job="j4")
    log, stays = f"/var/log/orchestrator/{USER}/a.log", f"/srv/h/.wiping/{USER}.immutable"
    with made.world.change() as state:
        state["nodes"][HOST.name]["files"] = [log, stays]
    with pytest.raises(PermanentDriverError, match="immutable"):
        made.run("account.prove-gone", {}, job="j4")
    with made.world.change() as state:
        state["nodes"][HOST.name]["files"] = [log]
    facts = made.run("account.prove-gone", {}, job="j4")
    assert facts["checks"] == [
        {"node": HOST.name, "checked_at": facts["checks"][0]["checked_at"], "found": [], "removed": [log]},
    ]
    assert isinstance(made.check("account.prove-gone", {}, job="j4"), Done)


def test_where_no_account_ever_was_nothing_is_left(stage: AccountStage) -> None:
    assert "it never was on one" in stage.run("account.prove-gone", {})["proof"]
    with pytest.raises(NotFound):
        stage.check("account.suspend", NODE)
