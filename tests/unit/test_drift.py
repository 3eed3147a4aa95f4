"""What differs between records and nodes, and what is safe to mend: the pure comparison."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from orchestrator.domain import drift
from orchestrator.domain.drift import Apart, DriftKind, Finding, Known, Repair, SeenAccount, SeenGuest, SeenVolume
from orchestrator.domain.intents import Intent, IntentKind, Nothing
from orchestrator.domain.kept_volumes import KeptKind, KeptVolume
from orchestrator.domain.mending import mended
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service

NOW = datetime(2026, 11, 5, tzinfo=UTC)
POOL = "/pool"
DISK = SeenVolume(name="orch.s1.disk.j1.qcow2", path=f"{POOL}/orch.s1.disk.j1.qcow2", backing=f"{POOL}/debian.qcow2")
TEMPLATE = SeenVolume(name="debian.qcow2", path=f"{POOL}/debian.qcow2")
GUEST = SeenGuest(name="orch.s1", service_id="s1", disks=(DISK.path,))
S1 = Service(id="s1", client_id="c", plan="small", state=Lifecycle.ACTIVE, node="n1")


def hold(effect: HoldEffect) -> Hold:
    return Hold(reason=HoldReason.ABUSE, effect=effect, by="op", why="spam", since=NOW)


def known(*services: Service, busy: tuple[str, ...] = ()) -> Known:
    return Known(services={each.id: each for each in services}, busy=busy, templates={"debian.qcow2"})


def seen(
    what: Known,
    *guests: SeenGuest,
    volumes: tuple[SeenVolume, ...] = (DISK, TEMPLATE),
    keys: tuple[str, ...] = (DISK.name,),
) -> list[tuple[DriftKind, str]]:
    return [(each.kind, each.name) for each in found(what, *guests, volumes=volumes, keys=keys)]


def found(
    what: Known,
    *guests: SeenGuest,
    volumes: tuple[SeenVolume, ...] = (DISK, TEMPLATE),
    keys: tuple[str, ...] = (DISK.name,),
) -> tuple[Finding, ...]:
    return drift.of_hypervisor("n1", what, guests=guests, volumes=volumes, keys=keys)


def test_where_all_agree_nothing_is_found() -> None:
    assert seen(known(S1), GUEST) == []
    assert set(drift.counts(()).values()) == {0}


def test_a_guest_that_is_gone_is_missing_and_its_disk_stays_its_customers() -> None:
    assert seen(known(S1)) == [(DriftKind.MISSING, "orch.s1")]


@pytest.mark.parametrize("state", [Lifecycle.PROVISIONING, Lifecycle.TERMINATING])
def test_a_service_that_is_being_made_or_ended_is_neither_missed_nor_stray(state: Lifecycle) -> None:
    service = replace(S1, state=state)
    assert seen(known(service)) == []
    assert seen(known(service), GUEST) == []


@pytest.mark.parametrize(
    ("services", "why"),
    [
        ((), "is not in our records"),
        ((replace(S1, node="n2"),), "is on n2"),
        ((replace(S1, state=Lifecycle.ERASED),), "is erased"),
        ((replace(S1, state=Lifecycle.FAILED, node=""),), "is failed"),
    ],
)
def test_a_guest_with_our_mark_that_no_record_explains_is_stray(services: tuple[Service, ...], why: str) -> None:
    (one,) = found(known(*services), GUEST)
    assert (one.kind, one.name, one.repair) == (DriftKind.STRAY, "orch.s1", None)
    assert why in one.says
    assert one.todo


def test_a_stray_whose_record_is_signed_can_be_adopted_and_another_cannot() -> None:
    (one,) = found(known(), replace(GUEST, adoptable=True))
    assert one.todo == "orchestrator node adopt n1 --service s1"
    (other,) = found(known(), replace(GUEST, hostile="the record in it was not signed by this controller"))
    assert "adopt" not in other.todo
    assert "not signed by this controller" in other.says


def test_what_a_job_works_on_is_left_out() -> None:
    busy = known(S1, busy=("s1",))
    assert seen(busy) == []
    assert seen(known(busy=("s1",)), GUEST) == []
    assert seen(busy, replace(GUEST, apart=Apart(limits=("1 vCPUs instead of 2",)))) == []


def test_what_is_not_ours_is_named_and_never_to_be_mended() -> None:
    theirs = SeenGuest(name="web1", service_id=None, disks=("/pool/web1.raw",))
    volume, other = SeenVolume(name="web1.raw", path="/pool/web1.raw"), SeenVolume(name="iso", path="/pool/iso")
    all_of_it = found(known(S1), GUEST, theirs, volumes=(DISK, TEMPLATE, volume, other))
    assert [(each.kind, each.name) for each in all_of_it] == [
        (DriftKind.FOREIGN, "web1"),
        (DriftKind.FOREIGN, "web1.raw"),
        (DriftKind.FOREIGN, "iso"),
    ]
    assert not any(each.repair or each.kind.counts for each in all_of_it)


def test_a_disk_that_is_gone_from_the_pool_is_missing() -> None:
    (one,) = found(known(S1), GUEST, volumes=(TEMPLATE,), keys=())
    assert (one.kind, one.name) == (DriftKind.MISSING, DISK.path)


def test_a_disk_beside_the_pool_is_not_looked_for_in_it() -> None:
    elsewhere = replace(GUEST, disks=(DISK.path, "/srv/other/data.raw"))
    assert seen(known(S1), elsewhere) == []


def test_a_volume_of_our_naming_is_stray_unless_it_is_kept() -> None:
    copy = SeenVolume(name="orch.s1.disk.j0.qcow2", path=f"{POOL}/orch.s1.disk.j0.qcow2")
    assert seen(known(S1), GUEST, volumes=(DISK, TEMPLATE, copy)) == [(DriftKind.STRAY, copy.name)]
    kept = KeptVolume(name=copy.name, kind=KeptKind.SAFETY_COPY, node="n1", path=copy.path, job_id="j0", kept_at=NOW, until=NOW)
    keeping = known(replace(S1, kept=(kept,)))
    assert seen(keeping, GUEST, volumes=(DISK, TEMPLATE, copy)) == []
    assert seen(keeping, GUEST) == [(DriftKind.MISSING, copy.name)]


def test_the_archive_of_an_archived_service_is_its_own() -> None:
    archive = SeenVolume(name="orch.s1.archive.j9.qcow2", path=f"{POOL}/orch.s1.archive.j9.qcow2")
    archived = known(replace(S1, state=Lifecycle.ARCHIVED, node=""))
    assert seen(archived, volumes=(archive, TEMPLATE), keys=()) == []
    assert seen(archived, volumes=(DISK, TEMPLATE)) == [(DriftKind.STRAY, DISK.name)]


def test_a_key_whose_volume_is_gone_is_stray() -> None:
    assert seen(known(S1), GUEST, keys=(DISK.name, "orch.gone.disk.j1.qcow2")) == [(DriftKind.STRAY, "orch.gone.disk.j1.qcow2")]


@pytest.mark.parametrize(
    ("effects", "apart", "kind", "repair"),
    [
        ((), Apart(limits=("1 vCPUs instead of 2",)), DriftKind.LIMITS, None),
        ((HoldEffect.STOP,), Apart(holds=("it is suspended and running",)), DriftKind.HOLDS, Repair.SUSPEND),
        ((), Apart(holds=("it is held on its node for abuse, and not in our records",)), DriftKind.HOLDS, None),
        ((HoldEffect.LIMIT,), Apart(throttle=("it is not limited",)), DriftKind.LIMITS, Repair.LIMIT),
        ((), Apart(throttle=("it is limited, and not in our records",)), DriftKind.LIMITS, Repair.UNLIMIT),
        ((HoldEffect.STOP,), Apart(throttle=("it is limited",)), DriftKind.LIMITS, None),
        ((), Apart(differs=("other as MAC instead of one",)), DriftKind.DIFFERS, None),
        ((), Apart(mail=("outgoing mail (port 25) is open instead of closed",)), DriftKind.LIMITS, Repair.MAIL),
        ((HoldEffect.STOP,), Apart(mail=("outgoing mail (port 25) is open",)), DriftKind.LIMITS, Repair.MAIL),
    ],
)
def test_only_what_a_record_says_is_put_in_force_by_itself(
    effects: tuple[HoldEffect, ...], apart: Apart, kind: DriftKind, repair: Repair | None
) -> None:
    service = replace(S1, holds=tuple(hold(effect) for effect in effects))
    (one,) = found(known(service), replace(GUEST, apart=apart))
    assert (one.kind, one.repair, bool(one.todo)) == (kind, repair, repair is None)


def test_how_the_sizes_of_a_guest_are_set_again_is_said() -> None:
    (guest,) = found(known(S1), replace(GUEST, apart=Apart(limits=("7 vCPUs instead of 2",))))
    assert guest.todo == f"orchestrator service change-plan s1 {S1.plan} --restart now --why TEXT"


def test_a_record_that_is_not_ours_is_named_and_is_signed_anew_only_when_asked() -> None:
    (one,) = found(known(S1), replace(GUEST, hostile="the record in it is that of orch.s2"))
    assert (one.kind, one.repair) == (DriftKind.RECORD, Repair.SIGN)


def test_a_guest_under_another_name_than_the_services_is_stray_unless_that_is_known() -> None:
    web = replace(GUEST, name="web1")
    assert seen(known(S1), GUEST, replace(web, disks=())) == [(DriftKind.STRAY, "web1")]
    assert seen(replace(known(S1), names={"s1": "web1"}), web) == []


def test_accounts_are_compared_with_their_records() -> None:
    there = SeenAccount(user="h100001", service_id="s1", apart=Apart(limits=("it has no limits",)))
    stray = SeenAccount(user="h100002", service_id="gone")
    foreign = SeenAccount(user="h100003", service_id="")
    all_of_it = drift.of_hosting("n1", known(S1, replace(S1, id="s2")), [there, stray, foreign])
    assert [(each.kind, each.name, each.repair) for each in all_of_it] == [
        (DriftKind.MISSING, "s2", None),
        (DriftKind.LIMITS, "h100001", Repair.UNLIMIT),
        (DriftKind.STRAY, "h100002", None),
        (DriftKind.FOREIGN, "h100003", None),
    ]


@pytest.mark.parametrize(
    ("effects", "repair", "kind"),
    [
        ((HoldEffect.STOP,), Repair.SUSPEND, IntentKind.SUSPEND),
        ((HoldEffect.LIMIT,), Repair.LIMIT, IntentKind.LIMIT),
        ((), Repair.UNLIMIT, IntentKind.UNLIMIT),
        ((), Repair.SUSPEND, None),
        ((), Repair.LIMIT, None),
        ((HoldEffect.LIMIT,), Repair.UNLIMIT, None),
        ((HoldEffect.STOP,), Repair.UNLIMIT, None),
        ((), Repair.SIGN, None),
        ((), Repair.MAIL, IntentKind.SET_MAIL),
        ((HoldEffect.STOP,), Repair.MAIL, IntentKind.SET_MAIL),
    ],
)
def test_a_repair_is_decided_on_the_record_of_its_moment(
    effects: tuple[HoldEffect, ...], repair: Repair, kind: IntentKind | None
) -> None:
    service = replace(S1, holds=tuple(hold(effect) for effect in effects))
    decision = mended(service, repair, who="op", why="drift").decision
    assert (decision.kind if isinstance(decision, Intent) else None) == kind
    assert isinstance(mended(replace(service, state=Lifecycle.TERMINATING), repair, who="op", why="").decision, Nothing)


@pytest.mark.parametrize(("said", "word"), [(None, "plan"), (True, "open"), (False, "closed")])
def test_mail_is_mended_to_what_was_last_said_of_it(said: bool | None, word: str) -> None:
    decision = mended(replace(S1, mail_out=said), Repair.MAIL, who="op", why="drift").decision
    assert isinstance(decision, Intent)
    assert decision.arguments == {"mail": word}
