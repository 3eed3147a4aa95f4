"""Every field of every rule changes what becomes of somebody: none is only read and shown.

Each field of a rule is given every other value of its type, alone, and the outcomes of a battery of situations must differ. What
counts is what is done, when, to whom, and what is asked, refused, charged or told; sentences count for the clause alone, which
has to be cited where something follows from it. `policy show` does not count at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from orchestrator.config.load import load
from orchestrator.domain import cancellations, charges, claims, coming_back, conduct, decisions, leaving, personal, reactivation
from orchestrator.domain.calendar import DayKind, Days
from orchestrator.domain.complaints import Closed, Complaint, ComplaintKind
from orchestrator.domain.deadlines import deadlines
from orchestrator.domain.errors import ConfigError
from orchestrator.domain.evidence import Evidence
from orchestrator.domain.intents import IntentKind, Refusal
from orchestrator.domain.permissions import Ask, besides, may
from orchestrator.domain.policies import (
    KINDS,
    Abuse,
    Act,
    Archive,
    Backup,
    BackupCaps,
    BackupOnRequest,
    BackupSchedule,
    BackupsKept,
    BackupVerified,
    BillingPeriod,
    Cancellation,
    CancellationEffect,
    CancelUnpaid,
    Chargeback,
    Conduct,
    Copyright,
    DataLocation,
    Dispute,
    Downgrade,
    Effect,
    EndingWithoutCause,
    Erase,
    EraseSince,
    Forbids,
    Hourly,
    KeepPersonal,
    LatePayment,
    LatePaymentEffect,
    Measure,
    Migration,
    MinimumTerm,
    MoneyBack,
    MoneyBackSince,
    Notices,
    Order,
    Overdue,
    Period,
    PersonalData,
    Policy,
    Reactivation,
    ReactivationDone,
    ReactivationFees,
    ReactivationWindow,
    RepeatOffender,
    Restore,
    Rule,
    Suspend,
    Terminate,
    TerminateSince,
    Undeliverable,
    rules,
)
from orchestrator.domain.received import Received
from orchestrator.domain.services import Cancellation as Asked
from orchestrator.domain.services import CancellationKind, DisputedInvoice, Lifecycle, Service, Traffic
from orchestrator.domain.services import Chargeback as ChargedBack
from orchestrator.domain.terms import Prices, Terms
from tests.unit import backup_outcomes
from tests.unit.decision_words import E, event
from tests.unit.test_deadlines import CALENDAR, DAY, DUE, HOUR, SERVICE, hold

SHIPPED = Path(__file__).parents[2] / "configs"
# What a field may be, where that is less than its type says: config/policy_values has it so.
POSSIBLE: Mapping[str, tuple[object, ...]] = {
    "overdue.chargeback.effect": (Effect.SUSPEND, Effect.TERMINATE),
    "conduct.copyright.effect": (Effect.SUSPEND, Effect.LIMIT, Effect.READ_ONLY),
}
# No outcome yet, and why. `test_what_is_let_off_is_let_off_for_a_reason` keeps the list true.
LET_OFF: Mapping[str, str] = {
    "location": "kept by refusing the configuration: test_location_is_kept_by_the_check_of_the_configuration",
}

FULL = Policy(
    name="full",
    provider="P",
    order=Order(cancel_unpaid=CancelUnpaid(clause="1", after=Days(4))),
    overdue=Overdue(
        suspend=Suspend(clause="2", after=Days(4)),
        terminate=Terminate(clause="3", after=Days(9), since=TerminateSince.SUSPENSION, notice=Days(5)),
        forbids=(Forbids(clause="4", acts=frozenset({Act.BACKUP, Act.DOWNGRADE})),),
        chargeback=Chargeback(clause="5", effect=Effect.SUSPEND),
    ),
    notices=Notices(clause="6", before_suspend=(Days(6), Days(3)), before_terminate=(Days(6), Days(3))),
    reactivation=Reactivation(
        window=ReactivationWindow(clause="7", kinds={"vps": Days(5), "hosting": Days(6)}),
        fees=ReactivationFees(clause="8", kinds={"vps": 50_000, "hosting": 60_000}),
        done_within=ReactivationDone(clause="9", within=Days(4)),
    ),
    archive=Archive(clause="10", keep={"vps": Days(5), "hosting": Days(6)}),
    late_payment=LatePayment(clause="12", what=LatePaymentEffect.REFUSED),
    nothing_returned=Rule(clause="13"),
    billing_period=BillingPeriod(clause="14", period=Period.ANNIVERSARY),
    minimum_term=MinimumTerm(clause="15", months={"vps": 1, "hosting": 12}),
    cancellation=Cancellation(clause="16", effect=CancellationEffect.PERIOD_END, notice=Days(6)),
    ending_without_cause=EndingWithoutCause(clause="17", notice=Days(40)),
    downgrade=Downgrade(clause="18", refund=False),
    hourly=Hourly(clause="19", minimum_hours=5),
    money_back=MoneyBack(clause="20", within=Days(8), since=MoneyBackSince.PURCHASE, kinds=frozenset({"vps"})),
    undeliverable=Undeliverable(clause="21", refund_within=Days(6)),
    dispute=Dispute(clause="22", raise_within=Days(10), verdict_within=Days(5), pay_within=Days(6)),
    traffic=Rule(clause="23"),
    backup=Backup(
        schedule=BackupSchedule(clause="24", every={"vps": Days(7)}),
        on_request=BackupOnRequest(clause="25", at_most_every=Days(7)),
        only_bought=Rule(clause="26"),
        kept=BackupsKept(clause="27", count=1),
        caps=BackupCaps(clause="28", size_bytes=10**10, inodes=250_000),
        verified=BackupVerified(clause="29", promised=False),
    ),
    restore=Restore(clause="30", per_month=1, over_per_gb=100_000),
    migration=Migration(clause="30a", free_bytes=10**9, over_per_gb=20_000),
    quota=Measure(clause="31", effects=(Effect.LIMIT, Effect.SUSPEND)),
    conduct=Conduct(
        abuse=Abuse(clause="32", effects=(Effect.SUSPEND, Effect.TERMINATE)),
        copyright=Copyright(clause="33", cease=timedelta(hours=72), effect=Effect.LIMIT),
        repeat_offender=RepeatOffender(clause="34", more_than=3, within=Days(30), notice=Days(3)),
        licence_breach=Measure(clause="35", effects=(Effect.SUSPEND, Effect.TERMINATE)),
        domain_expired=Measure(clause="36", effects=(Effect.SUSPEND, Effect.LIMIT), kinds=frozenset({"hosting"})),
        harm=Measure(clause="37", effects=(Effect.LIMIT, Effect.SUSPEND), kinds=frozenset({"vps", "hosting"})),
    ),
    location=DataLocation(clause="38", country="ID"),
    personal_data=PersonalData(
        keep=KeepPersonal(clause="39", years=5), delete_on_request=Rule(clause="40"), metadata_kept=Rule(clause="41")
    ),
)
# What one rule says makes another moot: each field has to matter in one of these.
OTHERS = (
    replace(FULL, erase=Erase(clause="11", within=Days(4), since=EraseSince.TERMINATION)),
    replace(FULL, minimum_term=None, cancellation=Cancellation(clause="16", effect=None, needs_confirmation=True)),
    replace(FULL, minimum_term=None, cancellation=Cancellation(clause="16", effect=CancellationEffect.CONFIRMED)),
    replace(FULL, minimum_term=None, cancellation=Cancellation(clause="16", effect=CancellationEffect.PERIOD_END)),
)
EVERY = (FULL, *OTHERS)

# -- the fields, and their other values ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """One field of one rule, and what it is changed to; ``base`` is the policy that is changed."""

    path: str
    to: str
    base: Policy
    changed: Policy

    @property
    def name(self) -> str:
        return f"{self.path} -> {self.to}"


def changes(base: Policy) -> Iterator[Change]:
    for path, rule in rules(base):
        if rule is not None:
            for field in fields(rule):
                where, kind = f"{path}.{field.name}", get_type_hints(type(rule))[field.name]
                for to, value in others(where, kind, getattr(rule, field.name)):
                    yield Change(where, to, base, put(base, path, rule, replace(rule, **{field.name: value})))


def others(where: str, kind: Any, value: Any) -> Iterator[tuple[str, Any]]:
    """Other values of the field's type, alone each."""
    if get_origin(kind) is UnionType:
        kind, _ = get_args(kind)
        if value is not None:
            yield "none", None
    origin, items = get_origin(kind), get_args(kind)
    if origin is tuple:
        yield from _of_row(where, items[0], value)
    elif origin is frozenset:
        every = set(KINDS[:3]) if items[0] is str else set(items[0])
        yield from ((f"without {each}", value - {each}) for each in sorted(value))
        yield from ((f"with {each}", value | {each}) for each in sorted(every - value))
    elif origin is not None:
        yield from _by_kind(where, items[1], value)
    else:
        yield from _plain(where, kind, value)


def _of_row(where: str, item: Any, value: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    for number, each in enumerate(value):
        yield f"without {number}", value[:number] + value[number + 1 :]
        if item is Days:
            for to, new in others(where, item, each):
                yield f"{number}: {to}", (*value[:number], new, *value[number + 1 :])
    if item is not Days:  # reminders come when they are due, in whatever order they are written
        yield "turned round", value[::-1]


def _by_kind(where: str, item: Any, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, each in value.items():
        yield f"without {key}", {name: other for name, other in value.items() if name != key}
        yield from ((f"{key}: {to}", {**value, key: new}) for to, new in others(where, item, each))


def _plain(where: str, kind: Any, value: Any) -> Iterator[tuple[str, Any]]:
    if kind is bool:
        yield str(not value), not value
    elif kind is Days:
        yield "more", Days(3) if value is None else replace(value, count=value.count + 1)
        if value is not None and value.count:
            other = DayKind.CALENDAR if value.kind == DayKind.BUSINESS else DayKind.BUSINESS
            yield "days of the other kind", replace(value, kind=other)
    elif kind is int:
        yield "more", (value or 0) + 1
    elif kind is timedelta:
        yield "longer", value + HOUR
    elif kind is str:
        yield "another", "another"
    else:
        assert issubclass(kind, Enum), (where, kind)
        yield from ((str(each), each) for each in POSSIBLE.get(where, tuple(kind)) if each != value)


def put(part: Any, path: str, old: Rule, new: Rule) -> Any:
    name, _, rest = path.partition(".")
    value = getattr(part, name)
    if rest:
        return replace(part, **{name: put(value, rest, old, new)})
    return replace(part, **{name: tuple(new if each is old else each for each in value) if isinstance(value, tuple) else new})


# -- the situations ------------------------------------------------------------

ASKED = datetime(2026, 2, 12, 5, tzinfo=UTC)
NOW = DUE + 20 * DAY
FRIDAY = DUE + 3 * DAY
PRICES = Prices(traffic_bytes=10**12, traffic_over_per_gb=5000, per_hour=100)
EVIDENCE = Evidence.of("log.txt", b"seen")
SUSPENDED = replace(SERVICE, holds=(hold(),), suspension_proven_at=DUE + 5 * DAY)
ARCHIVED = replace(SERVICE, state=Lifecycle.ARCHIVED, archived_at=FRIDAY)
CANCELLED = Asked(asked_at=ASKED, by="", why="", at=DUE)
GONE = replace(SERVICE, state=Lifecycle.ERASED, activated_at=ASKED, purchased_at=ASKED, ended_at=ASKED + 3 * HOUR)


def leaving_one(kind: CancellationKind, asked: datetime, **values: Any) -> Service:
    """Active for half a year, without a date from billing, and cancelled."""
    left = Asked(asked_at=asked, by="", why="", kind=kind)
    return replace(SERVICE, due_at=None, activated_at=ASKED - 180 * DAY, cancellation=left, **values)


LEAVING = (
    *(leaving_one(kind, ASKED + day * DAY) for kind in CancellationKind for day in range(0, 30, 3)),
    replace(leaving_one(CancellationKind.CUSTOMER, ASKED), activated_at=ASKED - 3 * DAY),
    replace(leaving_one(CancellationKind.WITHOUT_CAUSE, ASKED), activated_at=ASKED - 3 * DAY),
)
OWING = (
    SERVICE,
    replace(SERVICE, due_at=FRIDAY),
    replace(SERVICE, paid_until=DUE + 12 * DAY),
    SUSPENDED,
    replace(SUSPENDED, paid_until=DUE + 6 * DAY),
    replace(SERVICE, state=Lifecycle.ORDERED, created_at=FRIDAY),
    replace(SERVICE, chargebacks=(ChargedBack("i", DUE),)),
    replace(SERVICE, suspension_proven_at=ASKED, paid_at=ASKED),
    replace(SERVICE, disputes=(DisputedInvoice(invoice_id="i", raised_at=FRIDAY),)),
    replace(SERVICE, traffic=(Traffic("2026-03", 3 * 10**12),)),
)
IN_EACH_STATE = tuple(replace(SERVICE, state=state) for state in Lifecycle)
SERVICES = (*OWING, *LEAVING, ARCHIVED, replace(ARCHIVED, cancellation=CANCELLED), GONE, *IN_EACH_STATE)


def notices(*days: int, kind: ComplaintKind = ComplaintKind.COPYRIGHT, effect: Effect = Effect.LIMIT) -> Service:
    made = tuple(
        Complaint(id=f"c{day}", kind=kind, received_at=DUE + day * DAY, by="anna", why="seen", effect=effect) for day in days
    )
    return replace(SERVICE, due_at=None, complaints=made)


COMPLAINED = (
    notices(1),
    notices(1, 2, 3, 4),
    notices(1, 2, 3, 4, 5),
    notices(1, 2, 3, 31),
    notices(1, 2, 3, 32),
    *(notices(1, kind=kind, effect=Effect.TERMINATE) for kind in ComplaintKind),
)


def outcomes(policy: Policy, *, words: bool) -> Iterator[object]:
    """What becomes of everybody. ``words``: with the sentences that people are told."""
    for kind in KINDS[:3]:
        terms = Terms(policy=policy, calendar=CALENDAR, kind=kind, prices=PRICES)
        for each in (*SERVICES, *COMPLAINED):
            found = deadlines(each, terms, told={})
            yield [deadline if words else replace(deadline, reason="") for deadline in found]
            yield leaving.effective(each, terms)
        for received in (*_falls_due(terms), *_left(terms), *_reported(terms), *_paid(terms), *_disputed(terms)):
            yield _plainly(received, words=words)
        yield from _permitted(terms)
        yield from _charged(terms)
        yield from backup_outcomes.outcomes(terms, words=words)
        yield personal.blanks(terms)
        yield from (reactivation.too_late(replace(SERVICE, state=state), terms) if words else None for state in Lifecycle)


def _plainly(received: Received, *, words: bool) -> object:
    """Without its sentences, which say in other words what the rest says."""
    if words:
        return received
    decision = replace(received.decision, reason="")
    owed = tuple(replace(charge, reason="") for charge in received.charges)
    holds = tuple(replace(each, why="") for each in received.service.holds) if received.service else ()
    service = received.service and replace(received.service, holds=holds)
    tells = [(tell.kind, {key: value for key, value in tell.data.items() if key != "sentence"}) for tell in received.tells]
    return decision, owed, service, tells, bool(received.asks), received.forgets


def _falls_due(terms: Terms) -> Iterator[Received]:
    for each in (*OWING, ARCHIVED, GONE):
        for deadline in deadlines(each, terms, told={}):
            yield decisions.fall_due(deadline, each, terms=terms, now=NOW)


def _left(terms: Terms) -> Iterator[Received]:
    for day in range(14):
        asked = cancellations.Asked(asked_at=ASKED + day * DAY, by="", why="", kind=CancellationKind.MONEY_BACK, confirmed=True)
        bought = replace(SERVICE, payments=1, purchased_at=ASKED, activated_at=ASKED + 2 * DAY)
        yield cancellations.cancel(bought, asked, terms, now=asked.asked_at)
    for confirmed in (True, False):
        asked = cancellations.Asked(asked_at=ASKED, by="", why="", confirmed=confirmed)
        for state in (Lifecycle.FAILED, Lifecycle.ACTIVE):
            left = replace(SERVICE, payments=1, state=state)
            yield cancellations.cancel(left, asked, terms, now=ASKED)
    yield personal.on_request(replace(SERVICE, state=Lifecycle.ERASED), terms, now=ASKED)
    yield decisions.command(IntentKind.TERMINATE, SERVICE, who="", why="", now=NOW, arguments={}, terms=terms)


def _reported(terms: Terms) -> Iterator[Received]:
    for kind in ComplaintKind:
        for effect in (None, *Effect):
            said = conduct.Report(kind=kind, by="anna", why="seen", received_at=DUE, effect=effect, evidence=EVIDENCE)
            reported = conduct.report(SERVICE, said, terms, now=NOW)
            yield reported
        given = conduct.Answer(how=Closed.WAIVED, by="anna", why="ours", evidence=EVIDENCE)
        yield conduct.answer(notices(1, kind=kind), "c1", given, terms, now=NOW)
    yield decisions.receive(replace(event(E.DOMAIN_EXPIRED), id="e"), SERVICE, now=NOW + 1000 * DAY, terms=terms)


def _paid(terms: Terms) -> Iterator[Received]:
    for day in range(3, 15):
        now = DUE + day * DAY
        paid = replace(event(E.INVOICE_PAID, invoice_id="i"), id="e", sent_at=now)
        for each in (SUSPENDED, ARCHIVED, replace(SERVICE, state=Lifecycle.TERMINATING, point_of_no_return=DUE)):
            yield decisions.with_fee(each, decisions.receive(paid, each, now=now, terms=terms), terms)


def _disputed(terms: Terms) -> Iterator[Received]:
    for day in range(20):
        claim = claims.Claim(invoice_id="i", at=DUE + day * DAY, by="", why="", issued_at=DUE)
        received = decisions.dispute(SERVICE, claim, terms)
        assert received.service is not None
        yield received
        yield decisions.settle(received.service, "i", upheld=False, who="", at=DUE + (day + 1) * DAY, terms=terms)


def _permitted(terms: Terms) -> Iterator[object]:
    """A refusal's rule is policy and clause; its words are its own."""
    for each in (SUSPENDED, ARCHIVED, SERVICE):
        for act in Ask:
            refusal = may(act, each, terms)
            yield besides(act, terms) if refusal is None else refusal.rule


def _charged(terms: Terms) -> Iterator[object]:
    for ended in (HOUR, 5 * HOUR, 10 * HOUR):
        yield _priced(charges.hours(replace(GONE, ended_at=ASKED + ended), terms))
    yield _priced(charges.traffic(replace(SERVICE, traffic=(Traffic("2026-03", 3 * 10**12),)), "2026-03", terms)[1])
    yield _priced(coming_back.fee(SUSPENDED, replace(SUSPENDED, holds=(), payments=1), terms)[1])
    for used in range(3):
        for pay in (True, False):
            wanted = charges.WantedRestore(id="r1", service_id="s1", size_bytes=3 * 10**9, at=NOW)
            yield _priced(charges.restore_terms(terms, wanted, used_this_month=used, pay=pay))
    for size in (10**9, 10**9 + 1, 3 * 10**9):
        for pay in (True, False):
            yield _priced(charges.migration_terms(terms, request_id="r1", service_id="s1", size_bytes=size, pay=pay))


def _priced(found: charges.Charge | charges.Free | Refusal | None) -> object:
    return None if found is None else replace(found, reason="")


# -- the tests ------------------------------------------------------------


@cache
def known(number: int, words: bool) -> tuple[object, ...]:
    return tuple(outcomes(EVERY[number], words=words))


def matters(change: Change) -> bool:
    words = change.path.endswith(".clause")
    before = known(EVERY.index(change.base), words)
    return any(was != now for was, now in zip(before, outcomes(change.changed, words=words), strict=True))


def let_off(path: str) -> bool:
    return path.rpartition(".")[0] in LET_OFF


CHANGES: dict[str, list[Change]] = {}
for _change in (change for base in EVERY for change in changes(base)):
    CHANGES.setdefault(_change.name, []).append(_change)


def test_the_same_policy_has_the_same_outcomes() -> None:
    assert all(list(outcomes(FULL, words=words)) == list(known(0, words)) for words in (True, False))


@pytest.mark.parametrize("name", [name for name, found in CHANGES.items() if not let_off(found[0].path)])
def test_a_field_that_is_changed_changes_what_becomes_of_somebody(name: str) -> None:
    assert any(matters(change) for change in CHANGES[name]), f"{name}: nothing follows from it"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("country: ID\n  clause: 5.5.1", "country: ID\n  clause: 5.5.1"), "keeps data in ID (5.5.1)"),
        (("country: ID\n  clause: 5.5.1", "country: SG\n  clause: 5.5.1"), "keeps data in SG (5.5.1)"),
        (("country: ID\n  clause: 5.5.1", "country: ID\n  clause: another"), "keeps data in ID (another)"),
    ],
)
def test_location_is_kept_by_the_check_of_the_configuration(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    """A plan under the policy, sold in zones of two countries: the zone of the other one is named, and by which clause."""
    configs = Path(shutil.copytree(SHIPPED, tmp_path / "configs"))
    _rewrite(configs / "policies" / "zettagrid.yaml", *change)
    _rewrite(configs / "plans" / "vps-1.yaml", "\npolicy: default", "\npolicy: zettagrid")
    _rewrite(configs / "nodes.yaml", "\nnodes:", "  - name: sgp1\n    country: SG\n\nnodes:")
    with pytest.raises(ConfigError) as caught:
        load(configs)
    found = [each["sentence"] for each in caught.value.details["problems"] if "keeps data" in each["sentence"]]
    assert len(found) == 1
    assert problem in found[0]


def _rewrite(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, f"{old!r} does not stand in {file}"
    file.write_text(text.replace(old, new, 1))


def test_what_is_let_off_is_let_off_for_a_reason() -> None:
    """Nothing more than the rules of the list, and none of it has an outcome by now."""
    found = [change for each in CHANGES.values() for change in each if let_off(change.path) and change.base is FULL]
    assert {change.path.rpartition(".")[0] for change in found} == set(LET_OFF)
    assert [change.name for change in found if matters(change)] == []


def test_every_rule_that_there_is_is_changed_field_by_field() -> None:
    paths = {path for path, _ in rules(FULL)} | {"erase"}
    assert {path for path, rule in rules(FULL) if rule is None} == {"erase"}
    assert {found[0].path.rpartition(".")[0] for found in CHANGES.values()} == paths
    wanted = {f"{path}.{field.name}" for each in EVERY for path, rule in rules(each) if rule for field in fields(rule)}
    assert {found[0].path for found in CHANGES.values()} == wanted
