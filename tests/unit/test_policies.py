"""The shipped policies are what the five documents promise, number by number; what a document leaves silent is None."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.policies import load_policies
from orchestrator.config.policy_file import PolicyFile
from orchestrator.config.sentences import inner_model
from orchestrator.config.yaml_reader import read_file
from orchestrator.domain import policies as p
from orchestrator.domain.calendar import DayKind, Days
from orchestrator.domain.charges import rupiah
from orchestrator.domain.plans import PlanKind
from orchestrator.domain.policies import SILENT, Act, Effect, Rule, rules
from orchestrator.domain.policy_words import NOT_DONE, sentences

DIRECTORY = Path(__file__).parents[2] / "configs" / "policies"
POLICIES = load_policies(DIRECTORY)
PROVIDERS = ("enterpage", "tnet", "masternet", "herza", "zettagrid")

ANY = "the clause is told elsewhere"
SO = Rule(clause=ANY)


def business(count: int) -> Days:
    return Days(count, DayKind.BUSINESS)


TWO_DAYS = p.CancelUnpaid(after=Days(2), clause=ANY)
SUSPEND_DAY_2 = p.Suspend(after=Days(2), clause=ANY)
DAY_9 = p.Terminate(after=Days(7), since=p.TerminateSince.SUSPENSION, clause=ANY)
AT_ONCE = p.Erase(within=Days(0), since=p.EraseSince.TERMINATION, clause=ANY)
NOTHING_BACK = p.LatePayment(what=p.LatePaymentEffect.REFUSED, clause=ANY)
ON_CONFIRMATION = p.Cancellation(effect=None, needs_confirmation=True, clause=ANY)
STOP_WRITES = p.Measure(effects=(Effect.READ_ONLY, Effect.SUSPEND), clause=ANY)
ONE = p.BackupsKept(count=1, clause=ANY)
CAPS = p.BackupCaps(size_bytes=10 * 10**9, inodes=250_000, clause=ANY)
NOT_VERIFIED = p.BackupVerified(promised=False, clause=ANY)
UP_TO_DELETION = (Effect.SUSPEND, Effect.TERMINATE)

# What each document says, by rule; a provider that is not named is silent on it.
PROMISES: dict[str, dict[str, Rule | tuple[Rule, ...]]] = {
    "order.cancel_unpaid": {"enterpage": TWO_DAYS, "tnet": TWO_DAYS},
    "overdue.suspend": {
        "enterpage": SUSPEND_DAY_2,
        "tnet": SUSPEND_DAY_2,
        "masternet": p.Suspend(after=Days(0), asks=True, clause=ANY),
    },
    "overdue.terminate": {
        "enterpage": DAY_9,
        "tnet": DAY_9,
        "masternet": p.Terminate(after=Days(0), since=p.TerminateSince.PERIOD_END, asks=True, notice=Days(1), clause=ANY),
        "zettagrid": p.Terminate(after=Days(15), since=p.TerminateSince.DUE, asks=True, notice=Days(0), clause=ANY),
    },
    "overdue.forbids": {
        "enterpage": p.Forbids(acts=frozenset({Act.BACKUP, Act.RESTORE}), clause=ANY),
        "tnet": (
            p.Forbids(acts=frozenset({Act.BACKUP, Act.RESTORE}), clause=ANY),
            p.Forbids(acts=frozenset({Act.DOWNGRADE, Act.SHORTER_TERM}), clause=ANY),
        ),
    },
    "overdue.chargeback": {"zettagrid": p.Chargeback(effect=Effect.SUSPEND, asks=True, clause=ANY)},
    "notices": {},
    "reactivation.window": {"herza": p.ReactivationWindow(kinds={"hosting": business(30)}, asks=True, clause=ANY)},
    "reactivation.fees": {
        "herza": p.ReactivationFees(
            kinds={"vps": 50_000, "dedicated": 150_000, "colocation": 300_000, "half-rack": 1_000_000, "full-rack": 2_500_000},
            clause=ANY,
        )
    },
    "reactivation.done_within": {"herza": p.ReactivationDone(within=business(2), clause=ANY)},
    "archive": {"herza": p.Archive(keep={"vps": Days(5), "dedicated": Days(5)}, clause=ANY)},
    "erase": {
        "enterpage": AT_ONCE,
        "tnet": AT_ONCE,
        "masternet": AT_ONCE,
        "zettagrid": p.Erase(within=Days(90), since=p.EraseSince.CANCELLATION, clause=ANY),
    },
    "late_payment": {
        "enterpage": NOTHING_BACK,
        "tnet": NOTHING_BACK,
        "herza": p.LatePayment(what=p.LatePaymentEffect.FROM_ARCHIVE, clause=ANY),
    },
    "nothing_returned": {"enterpage": SO, "tnet": SO, "zettagrid": SO},
    "billing_period": {
        "herza": p.BillingPeriod(period=p.Period.ANNIVERSARY, clause=ANY),
        "zettagrid": p.BillingPeriod(period=p.Period.CALENDAR_MONTH, clause=ANY),
    },
    "minimum_term": {
        "herza": p.MinimumTerm(
            months={"hosting": 1, "vps": 1, "dedicated": 1, "colocation": 3, "half-rack": 12, "full-rack": 12}, clause=ANY
        )
    },
    "cancellation": {
        "enterpage": ON_CONFIRMATION,
        "tnet": ON_CONFIRMATION,
        "herza": p.Cancellation(effect=p.CancellationEffect.PERIOD_END, notice=Days(14), clause=ANY),
        "zettagrid": p.Cancellation(effect=p.CancellationEffect.PERIOD_END, notice=business(1), clause=ANY),
    },
    "ending_without_cause": {"zettagrid": p.EndingWithoutCause(notice=Days(30), clause=ANY)},
    "downgrade": {"tnet": p.Downgrade(refund=False, clause=ANY)},
    "hourly": {"herza": p.Hourly(minimum_hours=1, clause=ANY)},
    "money_back": {
        "herza": p.MoneyBack(within=Days(30), since=p.MoneyBackSince.ACTIVATION, kinds=frozenset({"hosting"}), clause=ANY),
        "zettagrid": p.MoneyBack(within=Days(7), since=p.MoneyBackSince.PURCHASE, setup_fees=False, clause=ANY),
    },
    "undeliverable": {"herza": p.Undeliverable(refund_within=business(3), clause=ANY)},
    "dispute": {
        "zettagrid": p.Dispute(raise_within=Days(10), verdict_within=business(5), pay_within=business(2), clause=ANY),
    },
    "traffic": {"herza": SO, "zettagrid": SO},
    "migration": {"masternet": p.Migration(clause=ANY)},
    "quota": {"enterpage": STOP_WRITES, "tnet": STOP_WRITES},
    "backup.schedule": {"herza": p.BackupSchedule(every={"vps": Days(7)}, bought=Days(1), clause=ANY)},
    "backup.on_request": {"tnet": p.BackupOnRequest(at_most_every=Days(7), clause=ANY)},
    "backup.only_bought": {"zettagrid": SO},
    "backup.kept": {"enterpage": ONE, "tnet": ONE, "herza": ONE},
    "backup.caps": {"enterpage": CAPS, "tnet": CAPS},
    "backup.verified": {"herza": NOT_VERIFIED, "zettagrid": NOT_VERIFIED},
    "restore": {
        "enterpage": p.Restore(per_month=1, over_per_gb=None, clause=ANY),
        "tnet": p.Restore(per_month=1, over_per_gb=100_000, clause=ANY),
    },
    "conduct.abuse": {
        "masternet": p.Abuse(effects=UP_TO_DELETION, evidence_to_customer=True, clause=ANY),
        "herza": p.Abuse(effects=UP_TO_DELETION, clause=ANY),
        "zettagrid": p.Abuse(effects=UP_TO_DELETION, notice_before_terminate=True, clause=ANY),
    },
    "conduct.copyright": {
        "zettagrid": p.Copyright(cease=timedelta(hours=72), effect=Effect.LIMIT, waivable=True, clause=ANY),
    },
    "conduct.repeat_offender": {
        "zettagrid": p.RepeatOffender(more_than=3, within=Days(30), asks=True, notice=Days(0), clause=ANY),
    },
    "conduct.licence_breach": {"zettagrid": p.Measure(effects=(Effect.SUSPEND,), clause=ANY)},
    "conduct.domain_expired": {"herza": p.Measure(effects=(Effect.SUSPEND,), kinds=frozenset({"hosting"}), clause=ANY)},
    "conduct.harm": {"zettagrid": p.Measure(effects=(Effect.LIMIT, Effect.SUSPEND), clause=ANY)},
    "location": {"zettagrid": p.DataLocation(country="ID", clause=ANY)},
    "personal_data.keep": {"enterpage": p.KeepPersonal(years=5, clause=ANY)},
    "personal_data.delete_on_request": {"enterpage": SO, "tnet": SO},
    "personal_data.metadata_kept": {"zettagrid": SO},
}

# Where each rule stands in its document.
CLAUSES = [
    ("enterpage", "overdue.terminate", "Billing & Payment, Keterlambatan"),
    ("enterpage", "erase", "Keamanan Data"),
    ("enterpage", "personal_data.keep", "Kebijakan Privasi D"),
    ("enterpage", "personal_data.delete_on_request", "Kebijakan Privasi E"),
    ("tnet", "restore", "Bantuan Teknis, Restore Data"),
    ("tnet", "downgrade", "Billing & Payment, Downgrade"),
    ("masternet", "overdue.suspend", "Hak 10"),
    ("masternet", "overdue.terminate", "Hak 7"),
    ("masternet", "conduct.abuse", "Hak 8"),
    ("masternet", "erase", "Kewajiban 7"),
    ("herza", "cancellation", "Kebijakan Billing, Penagihan"),
    ("herza", "undeliverable", "Kebijakan Billing, Refund"),
    ("herza", "conduct.abuse", "Pelanggaran dan Sanksi"),
    ("zettagrid", "overdue.terminate", "4.8.1 b"),
    ("zettagrid", "overdue.chargeback", "7.3.16"),
    ("zettagrid", "erase", "5.3.3"),
    ("zettagrid", "dispute", "7.2"),
    ("zettagrid", "conduct.licence_breach", "5.8.2"),
    ("zettagrid", "conduct.harm", "4.13.10"),
    ("zettagrid", "ending_without_cause", "4.8.2"),
]


def by_path(name: str) -> dict[str, list[Rule]]:
    found: dict[str, list[Rule]] = {}
    for path, rule in rules(POLICIES[name]):
        found.setdefault(path, []).extend([rule] if rule is not None else [])
    return found


def test_every_provider_and_the_default_is_shipped() -> None:
    assert sorted(POLICIES) == sorted((*PROVIDERS, "default"))
    assert all(policy.name == name and policy.provider for name, policy in POLICIES.items())


@pytest.mark.parametrize("path", [path for path, _ in rules(SILENT)])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_s_promise_is_its_document_s(provider: str, path: str) -> None:
    said = PROMISES[path].get(provider, ())
    wanted = list(said) if isinstance(said, tuple) else [said]
    assert [replace(rule, clause=ANY) for rule in by_path(provider)[path]] == wanted


@pytest.mark.parametrize(("provider", "path", "clause"), CLAUSES)
def test_a_rule_cites_its_clause(provider: str, path: str, clause: str) -> None:
    assert [rule.clause for rule in by_path(provider)[path]] == [clause]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_rule_quotes_its_document_in_a_comment_above_it(provider: str) -> None:
    document = read_file(DIRECTORY / f"{provider}.yaml")
    lines = Path(document.file).read_text().splitlines()
    for path, rule in rules(POLICIES[provider]):
        if rule is None:
            continue
        line = document.line(tuple(path.split(".")))
        above = lines[line - 2].strip()
        inside = lines[line].strip()  # a list of rules: each has its own
        assert above.startswith("#") or inside.startswith("#"), f"{path}, line {line}"


@pytest.mark.parametrize("name", POLICIES)
def test_a_shipped_policy_says_of_every_rule_that_it_is_silent_or_not(name: str) -> None:
    data = read_file(DIRECTORY / f"{name}.yaml").data
    assert list(_left_out(data, PolicyFile, "")) == []


def _left_out(data: Mapping[str, Any], model: Any, prefix: str) -> Iterator[str]:
    for key, field in model.model_fields.items():
        if key not in data:
            yield f"{prefix}{key}"
            continue
        inner = inner_model(field.annotation)
        if inner is not None and isinstance(data[key], dict):
            yield from _left_out(data[key], inner, f"{prefix}{key}.")


def test_nothing_of_the_default_stops_or_ends_a_service_unasked() -> None:
    default = POLICIES["default"]
    assert default.overdue.suspend is not None
    assert default.overdue.suspend.asks
    assert default.overdue.terminate is not None
    assert default.overdue.terminate.asks
    assert default.overdue.terminate.notice == Days(7)
    assert default.notices is not None
    assert default.notices.before_suspend == (Days(7), Days(3), Days(1))
    assert default.notices.before_terminate == (Days(3), Days(1))
    assert default.archive is None
    assert default.erase is None


def test_a_kind_of_plan_finds_its_rules() -> None:
    assert set(PlanKind) <= set(p.KINDS)
    fees = POLICIES["herza"].reactivation.fees
    assert fees is not None
    assert fees.kinds[PlanKind.VPS] == 50_000
    assert "cloud" not in fees.kinds


def test_an_act_is_forbidden_by_the_rule_that_names_it() -> None:
    tnet, enterpage = POLICIES["tnet"], POLICIES["enterpage"]
    assert (rule := tnet.forbids(Act.SHORTER_TERM)) is not None
    assert rule.clause == "Billing & Payment, Downgrade"
    assert (rule := tnet.forbids(Act.RESTORE)) is not None
    assert rule.clause == "Billing & Payment, Keterlambatan"
    assert enterpage.forbids(Act.BACKUP) is not None
    assert enterpage.forbids(Act.DOWNGRADE) is None
    assert SILENT.forbids(Act.BACKUP) is None


# ---- in sentences


TOLD = [
    ("enterpage", "An overdue service is suspended 2 days after the due date."),
    ("enterpage", "An overdue service is terminated 7 days after the proven suspension."),
    ("enterpage", "Data, archive and backups are erased with the termination: nothing is kept."),
    ("enterpage", "1 restore in a calendar month; beyond that refused."),
    ("tnet", "1 restore in a calendar month; beyond that Rp 100,000 for each started GB."),
    ("tnet", "Refused while a service is held for nonpayment: downgrade and shorter term."),
    ("masternet", "An overdue service is suspended at once when the due date has come, once an operator has approved it."),
    (
        "masternet",
        "An overdue service is terminated at once when the end of the period that was paid for has come, "
        "with a notice at least 1 day before, once an operator has approved it.",
    ),
    ("masternet", "Cancelling an unpaid order: not done automatically."),
    ("herza", "A service that is paid again runs again within 2 business days of the payment."),
    ("herza", "After a termination a copy of the data is kept, then erased: vps 5 days, dedicated 5 days."),
    (
        "zettagrid",
        "72 hours after a copyright notice is received the service is limited, unless it ceased; "
        "a notice may be waived on evidence.",
    ),
    (
        "zettagrid",
        "A cancellation takes effect at the end of the billing period; "
        "asked for less than 1 business day before, a period later.",
    ),
    ("default", "Reminders are sent 7 days, 3 days and 1 day before a suspension; 3 days and 1 day before a termination."),
]


@pytest.mark.parametrize(("name", "sentence"), TOLD)
def test_a_policy_is_told_in_sentences(name: str, sentence: str) -> None:
    assert sentence in [told for _, told, _ in sentences(POLICIES[name])]


def test_silence_is_told_of_every_rule_and_cites_nothing() -> None:
    told = sentences(SILENT)
    assert len(told) == len(list(rules(SILENT))) == len({sentence for _, sentence, _ in told})
    assert all(sentence.endswith(f": {NOT_DONE}.") and clause == "" for _, sentence, clause in told)


@pytest.mark.parametrize("name", POLICIES)
def test_what_is_told_cites_the_rule_s_clause(name: str) -> None:
    wanted = [rule.clause if rule else "" for _, rule in rules(POLICIES[name])]
    assert [clause for _, _, clause in sentences(POLICIES[name])] == wanted


# Other values in place of one of that kind, where the field's name says no more.
_OTHERS: dict[type, Callable[[Any], Collection[Any]]] = {
    bool: lambda value: [not value],
    int: lambda value: [value + 1],
    str: lambda value: [f"{value}X"],
    timedelta: lambda value: [value + timedelta(hours=1)],
    Effect: lambda value: {Effect.READ_ONLY, Effect.TERMINATE} - {value},
    frozenset: lambda value: [value | {"reseller"}],
    tuple: lambda value: [(*value, Days(99))],
}
_OTHERS_BY_NAME: dict[str, Callable[[Any], Collection[Any]]] = {
    "acts": lambda value: [value ^ {Act.DOWNGRADE}],
    "effects": lambda value: [(*value, Effect.LIMIT) if Effect.LIMIT not in value else value[:1]],
    "over_per_gb": lambda value: [0, 7],
    "free_bytes": lambda value: [0, 10**9],
    "effect": lambda value: (set(value.__class__) if value else set(p.CancellationEffect)) - {value},
}


def _otherwise(name: str, value: Any) -> Iterator[Any]:
    """Other values of the same kind; a number of days in place of None."""
    if isinstance(value, Mapping):
        key, first = next(iter(value.items()))
        yield {**value, "reseller": first}
        yield from ({**value, key: other} for other in _otherwise("", first))
    elif name in _OTHERS_BY_NAME:
        yield from _OTHERS_BY_NAME[name](value)
    elif isinstance(value, Days):
        yield from (Days(value.count + 1, kind) for kind in DayKind)
    elif type(value) in _OTHERS:
        yield from _OTHERS[type(value)](value)
    else:
        yield from [Days(99)] if value is None else set(value.__class__) - {value}


def test_every_number_and_word_of_a_rule_is_in_its_sentence() -> None:
    seen = set()
    for policy in POLICIES.values():
        for path, rule in rules(policy):
            for each in fields(rule) if rule is not None else ():
                assert rule is not None
                seen.add(path)
                if each.name == "clause":
                    continue
                for other in _otherwise(each.name, getattr(rule, each.name)):
                    changed = replace(rule, **{each.name: other})
                    assert _told(path, changed) != _told(path, rule), f"{path}.{each.name} = {other}"
    assert seen == {path for path, _ in rules(SILENT)}, "no policy has these"


def _told(path: str, rule: Rule) -> str:
    """The sentence of one rule in a policy that is silent on all else."""
    section, _, name = path.rpartition(".")
    value: Any = (rule,) if path == "overdue.forbids" else rule
    policy = replace(SILENT, **{section: replace(getattr(SILENT, section), **{name: value})} if section else {name: value})
    [told] = [sentence for _, sentence, clause in sentences(policy) if clause]
    return told


def test_rupiah_are_written_with_thousands() -> None:
    assert (rupiah(0), rupiah(100_000), rupiah(2_500_000)) == ("Rp 0", "Rp 100,000", "Rp 2,500,000")
