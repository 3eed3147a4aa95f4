"""What a customer may have done: by the policies that ship."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.domain.backups.offer import Offer
from orchestrator.domain.permissions import Ask, besides, change_of_plan, may
from orchestrator.domain.plans import GuestPlan
from orchestrator.domain.services import HoldReason, Lifecycle, Service
from tests.unit.decision_words import L, service
from tests.unit.test_conduct import terms

SMALL = GuestPlan(name="small", vcpus=1, memory_bytes=1 << 30, disk_bytes=10 << 30)
LARGE = replace(SMALL, name="large", vcpus=2, memory_bytes=2 << 30, disk_bytes=20 << 30)
OWING = service(L.ACTIVE, HoldReason.NONPAYMENT)


def rule(act: Ask, record: Service, policy: str) -> str:
    refusal = may(act, record, terms(policy))
    return "" if refusal is None else f"{refusal.reason} [{refusal.rule}]"


def test_what_a_policy_forbids_is_refused_with_its_clause_while_held_for_nonpayment_only() -> None:
    told = rule(Ask.RESTORE, OWING, "tnet")
    assert told.startswith("restore refused while suspended for late payment [tnet: ")
    assert rule(Ask.RESTORE, service(L.ACTIVE), "tnet") == ""
    assert rule(Ask.RESTORE, service(L.ACTIVE, HoldReason.ABUSE), "tnet") == ""


@pytest.mark.parametrize(
    ("act", "policy", "refused"),
    [
        (Ask.BACKUP, "enterpage", True),
        (Ask.DOWNGRADE, "enterpage", False),
        (Ask.DOWNGRADE, "tnet", True),
        (Ask.SHORTER_TERM, "tnet", True),
        (Ask.RESTORE, "zettagrid", False),
    ],
)
def test_each_provider_forbids_its_own(act: Ask, policy: str, refused: bool) -> None:
    assert bool(rule(act, OWING, policy)) == refused


def test_where_backups_have_to_be_bought_nobody_else_gets_one() -> None:
    running, by = service(L.ACTIVE), terms("zettagrid")
    assert rule(Ask.BACKUP, running, "zettagrid") == (
        "backup refused: only a service that has bought backups gets them [zettagrid: 5.6.2]"
    )
    assert may(Ask.BACKUP, running, replace(by, backups=Offer(bought=True))) is None


def test_who_is_allowed_a_restore_is_told_what_the_backup_is_worth() -> None:
    assert besides(Ask.RESTORE, terms("herza")) == "that backups were checked is not promised [herza: Perjanjian Layanan VPS 5]"
    assert besides(Ask.RESTORE, terms("tnet")) == ""


@pytest.mark.parametrize("act", [Ask.START, Ask.REBOOT, Ask.STOP])
def test_power_is_refused_while_anything_stops_it(act: Ask) -> None:
    assert "held for abuse" in rule(act, service(L.ACTIVE, HoldReason.ABUSE), "default")
    assert rule(act, service(L.ACTIVE), "default") == ""


@pytest.mark.parametrize("state", [state for state in L if state != L.ACTIVE])
def test_nothing_is_done_to_what_is_not_active(state: Lifecycle) -> None:
    assert all(rule(act, service(state), "default") for act in Ask)


def test_who_has_left_gets_nothing_back_where_the_policy_says_so() -> None:
    assert "gets no data back [zettagrid: " in rule(Ask.RESTORE, service(L.ARCHIVED), "zettagrid")


def test_a_smaller_plan_is_refused_while_the_policy_forbids_it_and_a_larger_is_not() -> None:
    mixed = replace(LARGE, name="mixed", disk_bytes=SMALL.disk_bytes - 1)
    told = [change_of_plan(OWING, old, new, terms("tnet")) for old, new in ((LARGE, SMALL), (SMALL, LARGE), (SMALL, mixed))]
    assert [bool(refusal) for refusal in told] == [True, False, True]
    assert told[0] is not None
    assert told[0].rule.startswith("tnet: ")
    assert change_of_plan(OWING, LARGE, SMALL, terms("enterpage")) is None
    assert change_of_plan(service(L.ACTIVE), LARGE, SMALL, terms("tnet")) is None
    assert change_of_plan(OWING, None, SMALL, terms("tnet")) is None


@pytest.mark.parametrize("act", [Ask.START, Ask.REBOOT, Ask.STOP])
def test_an_account_has_no_power_switch(act: Ask) -> None:
    refusal = may(act, service(L.ACTIVE), terms("default", "hosting"))
    assert refusal is not None
    assert refusal.reason == f"{act} is for guests: an account has no power switch"
