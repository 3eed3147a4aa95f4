"""A service that is terminated with an archive, erased and brought back by the controller, while the test lets days pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api import outlook
from orchestrator.domain.backups.words import BackupState
from orchestrator.domain.calendar import Days
from orchestrator.domain.canonical import canonical_json
from orchestrator.domain.errors import PermanentDriverError, Refused, WrongState
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.policies import Archive, LatePayment, LatePaymentEffect, Policy
from orchestrator.domain.services import Hold, HoldEffect, HoldReason
from orchestrator.drivers.local.certificates import verify_certificate
from orchestrator.store import backups, certificates, services
from tests.fault.house import House
from tests.integration.test_due import DAY, HOUR, Year, acts, record

LATE = LatePayment(what=LatePaymentEffect.FROM_ARCHIVE, clause="late")
POLICY = Policy(
    name="default", provider="Example Hosting", archive=Archive(keep={"vps": Days(2)}, clause="back"), late_payment=LATE
)
KEEP = 2 * DAY
LETTERS = "the customer's letters"


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Year]:
    made = Year(tmp_path / "state")
    yield made
    made.close()


def running(year: Year, policy: Policy = POLICY) -> House:
    """A house with a paid service that has written to its disk."""
    house = year.open(policy)
    assert house.wait(house.order("s1").job_id).state == JobState.DONE
    house.world.plant("n1", disk(house), LETTERS)
    return house


def terminated(year: Year, policy: Policy = POLICY) -> House:
    house = running(year, policy)
    ended = house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="asked", arguments={})
    assert house.wait(ended.job_id).state == JobState.DONE
    year.rest()
    return house


def disk(house: House) -> str:
    names = [name for name in house.world.node("n1")["volumes"] if name.startswith("orch.s1.disk.")]
    return str(names[0]) if len(names) == 1 else f"{len(names)} disks"


def archives(house: House) -> dict[str, list[str]]:
    """What every snapshot of the service holds that can be read, by its id."""
    opened = [each for each in house.world.read().get("repositories", {}).values() if each["password"]]
    rows = [row for each in opened for row in each["snapshots"].values()]
    return {row["id"]: [file["text"] for file in row["files"].values()] for row in rows}


def pay(house: House, year: Year, number: int = 1) -> str:
    paid = house.event("invoice.paid", "s1", invoice_id=f"i{number}", event_id=f"paid-{number}")
    year.rest()
    return paid.detail


def late(house: House) -> int:
    return sum('"payment.too_late"' in body for _, body, _ in house.notifier.deliveries())


def of_s1(house: House) -> list[dict[str, Any]]:
    with house.db.read() as conn:
        rows, _ = certificates.list_page(conn, service_id="s1")
    return [row.certificate for row in rows]


def waiting(house: House) -> Any:
    job = house.jobs("s1")[-1]
    assert (job.intent, job.state) == (IntentKind.ERASE, JobState.WAITING_APPROVAL)
    return job


def test_a_termination_leaves_one_archive_and_a_certificate_that_names_it(year: Year) -> None:
    house = terminated(year)
    service = record(house)
    assert (service.state.value, service.point_of_no_return, service.archived_at is not None) == ("archived", None, True)
    ((snapshot, kept),) = archives(house).items()
    assert kept == [LETTERS]
    assert [name for name in house.world.node("n1")["volumes"] if name.startswith("orch.s1")] == []
    assert not house.world.on_medium("n1", LETTERS)
    (certificate,) = of_s1(house)
    (copy,) = certificate["copies"]
    assert (copy["kind"], snapshot in copy["says"]) == ("archive", True)
    assert service.archived_at is not None
    assert copy["until"][:10] == (service.archived_at + KEEP).date().isoformat()
    with house.db.read() as conn:
        facts = services.facts(conn, "s1")
    assert (facts.node, facts.nodes_ever, list(facts.values)) == ("", ("n1",), ["archive"])


def test_when_its_days_are_over_it_is_erased_once_somebody_agrees_and_certified(year: Year, tmp_path: Path) -> None:
    house = terminated(year)
    year.later(KEEP - HOUR)
    assert acts(house) == ["provision", "terminate"]
    with house.db.read() as conn:
        assert outlook.erasures(conn, house.catalog, now=year.clock.now()) == {"soon": 1, "passed": 0}
    year.later(2 * HOUR)
    job = waiting(house)
    assert "billing is asked to confirm" in job.approval_reason
    with house.db.read() as conn:
        assert outlook.erasures(conn, house.catalog, now=year.clock.now()) == {"soon": 0, "passed": 1}
    house.engine.approve(job.id, "anna")
    year.rest()
    assert (house.state("s1"), archives(house)) == ("erased", {})
    erasure, wipe = of_s1(house)
    assert (erasure["format"], wipe["format"]) == ("orchestrator/erasure-certificate", "orchestrator/wipe-certificate")
    assert (erasure["archive"]["id"], erasure["approved_by"]) == (wipe["copies"][0]["id"], "anna")
    for certificate, says in ((erasure, "is erased"), (wipe, "a copy is still kept")):
        verdict = verify_certificate(canonical_json(certificate))
        assert verdict.ok
        assert any(says in sentence for sentence in verdict.sentences)
    with house.db.read() as conn:
        facts = services.facts(conn, "s1")
        assert outlook.erasures(conn, house.catalog, now=year.clock.now()) == {"soon": 0, "passed": 0}
    assert (facts.values, facts.nodes_ever) == ({}, ("n1",))


def test_a_payment_brings_it_back_with_what_it_held_and_the_archive_is_its_backup_then(year: Year) -> None:
    house = running(year)
    ended = house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="asked", arguments={})
    house.wait(ended.job_id)
    year.later(DAY)
    assert "brought back" in pay(house, year)
    service = record(house)
    assert (service.state.value, service.archived_at, service.point_of_no_return) == ("active", None, None)
    assert acts(house) == ["provision", "terminate", "reactivate"]
    node = house.world.node("n1")
    assert node["volumes"][disk(house)]["markers"] == [LETTERS]
    assert node["guests"]["orch.s1"]["power"] == "running"
    assert (list(archives(house).values()), late(house)) == ([[LETTERS]], 0)
    with house.db.read() as conn:
        assert [row.state for row in backups.of_service(conn, "s1")] == [BackupState.VERIFIED]
    year.later(3 * DAY)
    assert acts(house) == ["provision", "terminate", "reactivate"]


def test_one_that_came_back_can_be_terminated_and_erased_again(year: Year) -> None:
    house = terminated(year)
    pay(house, year)
    ended = house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="asked", arguments={})
    assert house.wait(ended.job_id).state == JobState.DONE
    assert (house.state("s1"), len(archives(house))) == ("archived", 1)
    assert list(archives(house).values()) == [[LETTERS]], "the first one went when the second was kept"
    year.later(KEEP + HOUR)
    house.engine.approve(waiting(house).id, "anna")
    year.rest()
    assert (house.state("s1"), archives(house)) == ("erased", {})


def test_a_second_payment_makes_no_second_job(year: Year) -> None:
    house = terminated(year)
    house.world.fault("hypervisor.define", delay=1.0)
    house.event("invoice.paid", "s1", invoice_id="i1", event_id="one")
    house.event("invoice.paid", "s1", invoice_id="i2", event_id="two")
    year.rest()
    assert (acts(house), house.state("s1"), late(house)) == (["provision", "terminate", "reactivate"], "active", 0)


def test_a_payment_calls_off_the_erasure_that_waits_for_approval(year: Year) -> None:
    house = terminated(year)
    year.later(KEEP + HOUR)
    job = waiting(house)
    pay(house, year)
    assert (house.job(job.id).state, house.state("s1")) == (JobState.CANCELLED, "active")


@pytest.mark.parametrize("rule", [None, LatePayment(what=LatePaymentEffect.REFUSED, clause="8")])
def test_where_the_policy_does_not_bring_it_back_billing_is_told_and_it_is_erased_in_time(
    year: Year, rule: LatePayment | None
) -> None:
    house = terminated(year, replace(POLICY, late_payment=rule))
    assert "too late" in pay(house, year)
    assert (acts(house)[-1], late(house), len(archives(house))) == ("terminate", 1, 1)
    year.later(KEEP + HOUR)
    house.engine.approve(waiting(house).id, "anna")
    year.rest()
    assert (house.state("s1"), late(house)) == ("erased", 1)


def test_a_payment_after_the_erasure_is_too_late(year: Year) -> None:
    house = terminated(year)
    year.later(KEEP + HOUR)
    house.engine.approve(waiting(house).id, "anna")
    year.rest()
    assert "too late" in pay(house, year)
    assert (house.state("s1"), late(house)) == ("erased", 1)


def test_a_termination_that_can_keep_no_archive_destroys_nothing(year: Year) -> None:
    house = running(year)
    house.world.fault("repositories.backup", nth=0, error=PermanentDriverError("the target is away"))
    before = house.world.node("n1")
    ended = house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="asked", arguments={})
    job = house.wait(ended.job_id)
    assert (job.state, "archive" in job.error, house.state("s1")) == (JobState.FAILED, True, "active")
    after = house.world.node("n1")
    assert (after["volumes"], after["guests"]["orch.s1"]["power"]) == (before["volumes"], "running")
    assert archives(house) == {}


def test_a_reactivation_that_fails_leaves_the_archive_and_nothing_else_and_it_is_not_erased_meanwhile(year: Year) -> None:
    house = terminated(year)
    kept = archives(house)
    house.world.fault("hypervisor.define", nth=0, error=PermanentDriverError("no"))
    pay(house, year)
    assert (house.jobs("s1")[-1].state, house.state("s1")) == (JobState.FAILED, "archived")
    assert archives(house) == kept
    node = house.world.node("n1")
    assert ([v for v in node["volumes"] if v.startswith("orch.s1")], node["guests"], node["secrets"]) == ([], {}, {})
    year.later(3 * DAY)
    assert acts(house)[-1] == "reactivate", "it was paid for: it is not erased"
    house.world.clear_faults()
    again = house.engine.command(IntentKind.REACTIVATE, "s1", who="anna", why="paid", arguments={})
    assert house.wait(again.job_id).state == JobState.DONE
    assert (house.state("s1"), archives(house)) == ("active", kept)


def test_a_failed_reactivation_is_tried_again(year: Year) -> None:
    house = terminated(year)
    house.world.fault("hypervisor.define", nth=0, error=PermanentDriverError("no"))
    pay(house, year)
    house.world.clear_faults()
    house.engine.retry(house.jobs("s1")[-1].id, "anna")
    year.rest()
    assert (house.state("s1"), len(archives(house))) == ("active", 1)


def test_a_hold_that_forbids_erasing_keeps_the_archive(year: Year) -> None:
    house = terminated(year)
    legal = Hold(reason=HoldReason.LEGAL, effect=HoldEffect.NO_ERASE, by="anna", why="a court", since=year.clock.now())
    with house.db.write() as conn:
        services.put(conn, record(house).with_hold(legal), now=year.clock.now())
    year.later(3 * DAY)
    assert acts(house) == ["provision", "terminate"]
    with house.db.write() as conn:
        services.put(conn, record(house).without_hold(HoldReason.LEGAL), now=year.clock.now())
    year.later(HOUR)
    waiting(house)


def test_what_is_held_for_abuse_comes_back_when_an_operator_agrees_and_is_suspended(year: Year) -> None:
    house = running(year)
    house.event("service.suspend", "s1", version=1, reason="abuse")
    year.rest()
    ended = house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="asked", arguments={})
    house.wait(ended.job_id)
    pay(house, year)
    job = house.jobs("s1")[-1]
    assert (job.intent, job.state, "abuse" in job.approval_reason) == (IntentKind.REACTIVATE, JobState.WAITING_APPROVAL, True)
    house.engine.approve(job.id, "anna")
    year.rest()
    assert acts(house)[-2:] == ["reactivate", "suspend"]
    assert house.world.node("n1")["guests"]["orch.s1"]["power"] == "stopped"


def test_operators_bring_back_what_is_archived_only_and_do_not_terminate_it_again(year: Year) -> None:
    house = running(year)
    with pytest.raises(Refused, match="only an archived service"):
        house.engine.command(IntentKind.REACTIVATE, "s1", who="anna", why="", arguments={})
    house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="asked", arguments={})
    year.rest()
    with pytest.raises(Refused, match="its erasure follows its policy, at "):
        house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="asked", arguments={})
    workflow = house.engine.dry_run(IntentKind.REACTIVATE, "s1", {})
    assert "archive.restore" in [call.step for call in workflow.calls if not call.skipped]
    year.later(KEEP + HOUR)
    house.engine.approve(waiting(house).id, "anna")
    year.rest()
    with pytest.raises((Refused, WrongState)):
        house.engine.command(IntentKind.REACTIVATE, "s1", who="anna", why="", arguments={})


def test_an_erasure_that_destroyed_nothing_can_still_be_overtaken_by_a_payment(year: Year) -> None:
    house = terminated(year)
    house.world.fault("repositories.snapshots", nth=0, error=Refused("the target is away"))
    year.later(KEEP + HOUR)
    house.engine.approve(waiting(house).id, "anna")
    year.rest()
    assert (house.jobs("s1")[-1].state, record(house).point_of_no_return) == (JobState.FAILED, None)
    house.world.clear_faults()
    pay(house, year)
    assert (house.state("s1"), late(house)) == ("active", 0)


def test_what_is_paid_for_comes_back_under_a_freeze_too_and_what_it_comes_from_stays(year: Year) -> None:
    house = terminated(year)
    house.engine.freeze("anna", "looking")
    pay(house, year)
    assert (house.state("s1"), len(archives(house))) == ("active", 1)


def test_what_came_back_is_as_it_was_sold_and_can_be_checked_and_suspended(year: Year) -> None:
    house = terminated(year)
    pay(house, year)
    checked = house.engine.command(IntentKind.CHECK, "s1", who="anna", why="", arguments={})
    assert house.wait(checked.job_id).state == JobState.DONE, house.job(checked.job_id).error
    assert house.wait(house.event("service.suspend", "s1", version=1, reason="abuse").job_id).state == JobState.DONE


def test_an_end_that_stands_still_for_a_lost_target_goes_on_when_its_repository_is_given_up(year: Year) -> None:
    house = terminated(year)
    house.world.fault("repositories.destroy", nth=0, error=WrongState("there is no directory /srv/backup: is its disk mounted?"))
    year.later(KEEP + HOUR)
    job = waiting(house)
    house.engine.approve(job.id, "anna")
    year.rest()
    assert (house.job(job.id).state, len(of_s1(house))) == (JobState.NEEDS_OPERATOR, 1)
    assert "is its disk mounted" in house.job(job.id).error
    give_up = house.engine.repositories.give_up
    with pytest.raises(Refused, match="the only verified backup"):
        give_up("s1", 1, who="anna", why="scrapped", last=False, beside=lambda _conn, _given: None)
    give_up("s1", 1, who="anna", why="scrapped", last=True, beside=lambda _conn, _given: None)
    house.engine.retry(job.id, "anna")
    year.rest()
    assert house.state("s1") == "erased"
    erasure = of_s1(house)[0]
    assert [(each["state"], each["why"]) for each in erasure["backups"]] == [("given-up", "given up by anna: scrapped")]
