"""What a service of a dedicated plan is, and is not: where other kinds are limited, backed up, or moved to another plan."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.domain import archives, charges, commanding, leaving, plan_changes
from orchestrator.domain.backups import restoring
from orchestrator.domain.backups.offer import NodeBackups, Offer
from orchestrator.domain.backups.outlook import unplanned
from orchestrator.domain.backups.parts import Parts
from orchestrator.domain.backups.restoring import Asked
from orchestrator.domain.backups.schedule import left_out
from orchestrator.domain.calendar import Days
from orchestrator.domain.complaints import ComplaintKind
from orchestrator.domain.conduct import Report, report
from orchestrator.domain.errors import NoCapacity, NotFound, RequestError
from orchestrator.domain.intents import IntentKind, Refusal
from orchestrator.domain.permissions import RULE_MACHINES, Ask, may
from orchestrator.domain.plans import MachinePlan, PlanKind, Template
from orchestrator.domain.policies import Effect
from orchestrator.domain.sales import sellable
from orchestrator.domain.services import HoldReason
from orchestrator.domain.terms import Terms
from orchestrator.domain.wanted import spec
from tests.live import KEY
from tests.machine_words import PLAN, machine
from tests.unit.decision_words import NOW, L, service
from tests.unit.test_conduct import terms

TEMPLATES = {"debian": Template(name="debian", volume="debian.qcow2", sha256="1" * 64, size_bytes=2 << 30)}


def by(policy: str = "herza") -> Terms:
    return replace(terms(policy), kind="dedicated", plan=PLAN)


def ordered(sold: MachinePlan = PLAN, *machines: object, **values: object) -> None:
    known = service(L.ORDERED, **{"plan": "metal", **values})
    sellable(known, plans={"metal": sold}, templates=TEMPLATES, nodes=(), machines=machines)  # type: ignore[arg-type]


# -- orders --------------------------------------------------------------------------------------


def test_an_order_is_sold_where_a_machine_of_the_class_stands_whatever_it_is_used_for_now() -> None:
    ordered(PLAN, machine(zone="east"), machine("m2", machine_class="large-1", zone="west"))
    with pytest.raises(NoCapacity) as refused:
        ordered(PLAN, machine(zone="east"), machine("m2", machine_class="large-1", zone="west"), zone="west")
    assert refused.value.message == "there is no machine of class 'small-1' in zone 'west'"
    assert refused.value.hint == "add one to machines.yaml, restart the controller"


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        ({"template": "alpine"}, NotFound, "no template 'alpine'"),
        ({"hostname": "-"}, RequestError, "no host name"),
        ({"ssh_keys": ("ssh-rsa nonsense",)}, RequestError, "SSH key"),
        ({"password_hash": "clear"}, RequestError, "crypt hash"),
    ],
)
def test_what_was_ordered_is_checked_before_there_is_a_job(values: dict[str, object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ordered(PLAN, machine(), **values)


def test_a_template_that_the_plan_is_not_sold_with_is_refused() -> None:
    with pytest.raises(RequestError, match="plan metal is not sold with template debian"):
        ordered(replace(PLAN, templates=("other",)), machine(), template="debian")


def test_what_playbooks_read_of_it() -> None:
    found = spec(service(L.ORDERED, plan="metal", zone="z1", ssh_keys=(KEY,)), PLAN, TEMPLATES)
    assert found["machine"] == {
        "machine_class": "small-1",
        "hostname": "s1.machine",
        "zone": "z1",
        "zones": [],
        "ipv4": 1,
        "ipv6": 1,
    }
    assert (found["kind"], found["access"]["ssh_keys"], found["template"]["name"]) == ("dedicated", [KEY], "debian")
    other = spec(service(L.ORDERED, plan="metal", zone="z1"), PLAN, TEMPLATES)
    assert found["digest"] != other["digest"]


def test_its_playbooks_are_called_after_machines_and_those_of_others_after_their_kind() -> None:
    assert {kind: kind.playbooks for kind in PlanKind} == {
        PlanKind.VPS: "vps",
        PlanKind.HOSTING: "hosting",
        PlanKind.DEDICATED: "machine",
    }


# -- its policy ----------------------------------------------------------------------------------


def test_a_policys_rules_for_dedicated_hold() -> None:
    running = service(L.ACTIVE, activated_at=NOW)
    assert leaving.minimum_end(running, by()) == by().calendar.add_months(NOW, 1)
    assert archives.kept_for(by()) == Days(5)
    fee = charges.reactivation("s1", NOW, by(), why="it comes back")
    assert fee is not None
    assert fee.amount == 150_000


# -- what is not done to a machine ---------------------------------------------------------------


@pytest.mark.parametrize("act", [Ask.BACKUP, Ask.RESTORE])
def test_no_backups_are_made_of_it_also_where_they_were_bought_and_its_node_had_a_target(act: Ask) -> None:
    offered = replace(by(), backups=Offer(node=NodeBackups(target="main"), bought=True))
    refusal = may(act, service(L.ACTIVE), offered)
    assert refusal == Refusal(
        reason=f"{act} refused: a machine is its customer's alone, nothing of ours runs on it and no backups are made of it",
        rule=RULE_MACHINES,
    )
    assert "no backups are made of it" in left_out(service(L.ACTIVE), offered)
    assert unplanned(service(L.ACTIVE), by(), ()) == "its policy herza has no schedule for dedicated"


def test_that_nothing_of_it_is_restored_is_said_whatever_parts_are_asked_for() -> None:
    asked = Asked(request_id="r1", parts=Parts(paths=("sites",)))
    backup = Refusal(reason="there is none", rule="r")
    received = restoring.decide(service(L.ACTIVE), asked, backup, who="a", terms=by())
    assert isinstance(received.decision, Refusal)
    assert received.decision.rule == RULE_MACHINES


def test_it_has_a_power_switch_as_a_guest_has() -> None:
    for act in (Ask.START, Ask.REBOOT, Ask.STOP):
        assert may(act, service(L.ACTIVE), by()) is None
    received = commanding.power(IntentKind.STOP, service(L.ACTIVE), who="a", why="", terms=by())
    assert not isinstance(received.decision, Refusal)


def test_it_cannot_be_limited() -> None:
    received = commanding.limit(service(L.ACTIVE), HoldReason.ABUSE, who="a", why="w", now=NOW, terms=by())
    assert isinstance(received.decision, Refusal)
    assert received.decision.reason.startswith("a machine cannot be limited")
    assert received.service == service(L.ACTIVE)


def test_a_complaint_that_would_limit_others_suspends_it_where_the_policy_has_that() -> None:
    """herza: abuse is answered by a suspension or the end; what only limits cannot be done to a machine."""
    said = Report(kind=ComplaintKind.ABUSE, by="a", why="spam", received_at=NOW, effect=Effect.SUSPEND)
    rule = by().policy.conduct.abuse
    assert rule is not None
    for effect in (Effect.LIMIT, Effect.READ_ONLY):
        effects = replace(rule, effects=(effect,))
        policy = replace(by().policy, conduct=replace(by().policy.conduct, abuse=effects))
        received = report(service(L.ACTIVE), replace(said, effect=effect), replace(by(), policy=policy), now=NOW)
        assert isinstance(received.decision, Refusal)
        assert received.decision.reason == f"a dedicated cannot be made {effect}"


def test_another_plan_is_another_machine() -> None:
    other = replace(PLAN, name="larger", machine_class="large-1")
    assert not other.smaller_than(PLAN)
    assert not PLAN.smaller_than(other)
    received = plan_changes.change(service(L.ACTIVE), "larger", who="a", why="", terms=by())
    assert isinstance(received.decision, Refusal)
    assert (
        received.decision.reason == "another plan of a dedicated machine is another machine: order that one, and let this one go"
    )
