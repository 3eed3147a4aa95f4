"""A policy in sentences, for people: what is done, and what is not done because the document is silent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.domain.calendar import Days
from orchestrator.domain.charges import rupiah
from orchestrator.domain.policies import (
    Abuse,
    Archive,
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
    Notices,
    Period,
    Policy,
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
from orchestrator.domain.sizes import size_words

Sentence: TypeAlias = tuple[str, str, str]
"""Topic, sentence, and the clause it follows from ('' where the document is silent)."""

NOT_DONE = "not done automatically"

_EFFECTS = {
    Effect.SUSPEND: "suspended",
    Effect.LIMIT: "limited",
    Effect.READ_ONLY: "made read-only",
    Effect.TERMINATE: "terminated",
}
_SINCE = {
    TerminateSince.DUE: "the due date",
    TerminateSince.SUSPENSION: "the proven suspension",
    TerminateSince.PERIOD_END: "the end of the period that was paid for",
}
_ERASED_SINCE = {EraseSince.CANCELLATION: "the day a cancellation takes effect", EraseSince.TERMINATION: "the termination"}
_LATE = {
    LatePaymentEffect.REFUSED: "A payment after the termination buys nothing back: a new order is needed.",
    LatePaymentEffect.FROM_ARCHIVE: "A payment after the termination brings the service back while its archive is kept.",
}
_CANCELLED = {
    CancellationEffect.PERIOD_END: "takes effect at the end of the billing period",
    CancellationEffect.CONFIRMED: "takes effect at once, though not before what was paid for ends",
    None: "has no date in the text: an operator decides when it takes effect",
}

_PERIODS = {Period.CALENDAR_MONTH: "a calendar month", Period.ANNIVERSARY: "a month from the day of the order"}


def sentences(policy: Policy) -> list[Sentence]:
    """Every rule of the policy in the order of a service's life, one sentence each."""
    return [_sentence(_TOLD[path], rule) for path, rule in rules(policy)]


@dataclass(frozen=True, slots=True)
class _Told:
    """How a rule is told: its topic, what it is about (for silence), and its sentence."""

    topic: str
    about: str
    tell: Callable[..., str]


def _sentence(told: _Told, rule: Rule | None) -> Sentence:
    if rule is None:
        return told.topic, f"{told.about}: {NOT_DONE}.", ""
    return told.topic, told.tell(rule), rule.clause


def _joined(words: Collection[str], last: str = "and") -> str:
    *before, final = words
    return f"{', '.join(before)} {last} {final}" if before else final


def _plural(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number:,} {word}s"


def _kinds(kinds: Collection[str]) -> str:
    return _joined(sorted(kinds)) if kinds else "every kind of service"


def _by_kind(values: Mapping[str, str]) -> str:
    return ", ".join(f"{kind} {value}" for kind, value in values.items())


def _asked(asks: bool) -> str:
    return ", once an operator has approved it" if asks else ""


def _notice(notice: Days | None) -> str:
    if notice is None:
        return ""
    return f", with a notice at least {notice} before" if notice.count else ", with a notice that goes out first"


def _mildest(effects: tuple[Effect, ...]) -> str:
    first, *more = (_EFFECTS[effect] for effect in effects)
    return first + (f"; an operator may have it {_joined(more, 'or')}" if more else "")


def _when(days: Days, since: str) -> str:
    return f"{days} after {since}" if days.count else f"at once when {since} has come"


def _suspend(rule: Suspend) -> str:
    return f"An overdue service is suspended {_when(rule.after, 'the due date')}{_asked(rule.asks)}."


def _terminate(rule: Terminate) -> str:
    return f"An overdue service is terminated {_when(rule.after, _SINCE[rule.since])}{_notice(rule.notice)}{_asked(rule.asks)}."


def _forbids(rule: Forbids) -> str:
    acts = _joined(sorted(act.replace("-", " ") for act in rule.acts))
    return f"Refused while a service is held for nonpayment: {acts}."


def _chargeback(rule: Chargeback) -> str:
    return f"A payment that is rejected or charged back: the service is {_EFFECTS[rule.effect]}{_asked(rule.asks)}."


def _notices(rule: Notices) -> str:
    parts = [
        f"{_joined([str(days) for days in before])} before a {what}"
        for before, what in ((rule.before_suspend, "suspension"), (rule.before_terminate, "termination"))
        if before
    ]
    return f"Reminders are sent {'; '.join(parts)}." if parts else "No reminders are sent."


def _window(rule: ReactivationWindow) -> str:
    kinds = _by_kind({kind: str(days) for kind, days in rule.kinds.items()})
    return f"A suspended service can be paid back into use for: {kinds}{_asked(rule.asks)}; other kinds until terminated."


def _fees(rule: ReactivationFees) -> str:
    return f"Coming back costs: {_by_kind({kind: rupiah(fee) for kind, fee in rule.kinds.items()})}."


def _archive(rule: Archive) -> str:
    kinds = _by_kind({kind: str(days) for kind, days in rule.keep.items()})
    return f"After a termination a copy of the data is kept, then erased: {kinds}."


def _erase(rule: Erase) -> str:
    if not rule.within.count:
        return f"Data, archive and backups are erased with {_ERASED_SINCE[rule.since]}: nothing is kept."
    return f"Data, archive and backups are erased no later than {rule.within} after {_ERASED_SINCE[rule.since]}."


def _period(rule: BillingPeriod) -> str:
    return f"A billing period is {_PERIODS[rule.period]}."


def _cancellation(rule: Cancellation) -> str:
    confirmed = ", once the customer has confirmed it," if rule.needs_confirmation else ""
    notice = f"; asked for less than {rule.notice} before, a period later" if rule.notice else ""
    return f"A cancellation{confirmed} {_CANCELLED[rule.effect]}{notice}."


def _money_back(rule: MoneyBack) -> str:
    setup = "" if rule.setup_fees else ", without set-up fees"
    return f"Money is given back within {rule.within} of the {rule.since}{setup}: {_kinds(rule.kinds)}."


def _dispute(rule: Dispute) -> str:
    return (
        f"An invoice may be disputed within {rule.raise_within} of its issue, which stops the clock of nonpayment; "
        f"it is judged within {rule.verdict_within}, and what is owed after all is paid within {rule.pay_within} of that."
    )


def _schedule(rule: BackupSchedule) -> str:
    bought = f"; every {rule.bought} can be bought" if rule.bought else ""
    return f"Backups are made every: {_by_kind({kind: str(days) for kind, days in rule.every.items()})}{bought}."


def _caps(rule: BackupCaps) -> str:
    return (
        f"No more than {size_words(rule.size_bytes)} or {rule.inodes:,} inodes are backed up; with more, the last backup stays."
    )


def _verified(rule: BackupVerified) -> str:
    return "Each backup is checked." if rule.promised else "Backups are not checked by the provider, as the text says."


def _restore(rule: Restore) -> str:
    beyond = "beyond that refused" if rule.over_per_gb is None else f"beyond that {rupiah(rule.over_per_gb)} for each started GB"
    return f"{_plural(rule.per_month, 'restore')} in a calendar month; {beyond}."


def _migration(rule: Migration) -> str:
    beyond = "refused" if rule.over_per_gb is None else f"{rupiah(rule.over_per_gb)} for each started GB"
    if rule.free_bytes is None:
        priced = "" if rule.over_per_gb is None else f"; beyond a size that the text does not give {beyond}"
        return f"Help with moving in is free, as far as the plan has room{priced}."
    return f"Help with moving in is free up to {size_words(rule.free_bytes)}; beyond that {beyond}."


def _abuse(rule: Abuse) -> str:
    evidence = ", and the customer gets the evidence" if rule.evidence_to_customer else ""
    notice = "; a notice goes out before a termination" if rule.notice_before_terminate else ""
    return f"After a breach of the terms a service is {_mildest(rule.effects)}{evidence}{notice}."


def _copyright(rule: Copyright) -> str:
    hours = _plural(int(rule.cease.total_seconds() // 3600), "hour")
    waived = "; a notice may be waived on evidence" if rule.waivable else ""
    return f"{hours} after a copyright notice is received the service is {_EFFECTS[rule.effect]}, unless it ceased{waived}."


def _repeat(rule: RepeatOffender) -> str:
    many = f"More than {_plural(rule.more_than, 'copyright notice')} within {rule.within}"
    return f"{many}: the service is terminated{_notice(rule.notice)}{_asked(rule.asks)}."


def _measure(cause: str) -> Callable[[Measure], str]:
    def tell(rule: Measure) -> str:
        return f"{cause}: the service is {_mildest(rule.effects)} ({_kinds(rule.kinds)})."

    return tell


def _cancel_unpaid(rule: CancelUnpaid) -> str:
    return f"An order that nobody pays is cancelled {rule.after} after it was made."


def _done_within(rule: ReactivationDone) -> str:
    return f"A service that is paid again runs again within {rule.within} of the payment."


def _late_payment(rule: LatePayment) -> str:
    return _LATE[rule.what]


def _minimum(rule: MinimumTerm) -> str:
    return f"Taken for at least: {_by_kind({kind: _plural(months, 'month') for kind, months in rule.months.items()})}."


def _without_cause(rule: EndingWithoutCause) -> str:
    return f"Either side may end the contract by a notice {rule.notice} before, or its term, whichever is longer."


def _downgrade(rule: Downgrade) -> str:
    return f"A smaller plan may be asked for; what was paid too much is {'' if rule.refund else 'not '}given back."


def _hourly(rule: Hourly) -> str:
    return f"Services by the hour are charged by started hours, at least {_plural(rule.minimum_hours, 'hour')}."


def _undeliverable(rule: Undeliverable) -> str:
    return f"An order that cannot be delivered is refunded within {rule.refund_within} of the request."


def _on_request(rule: BackupOnRequest) -> str:
    return f"A customer may ask for a backup, at most once in {rule.at_most_every}."


def _kept(rule: BackupsKept) -> str:
    return f"{_plural(rule.count, 'backup')} kept: a new one that is whole deletes what is older."


def _location(rule: DataLocation) -> str:
    return f"Customers' data and its backups lie in {rule.country}."


def _keep(rule: KeepPersonal) -> str:
    return f"Personal data is kept for at least {_plural(rule.years, 'year')} after the customer's last service."


def _plain(words: str) -> Callable[[Rule], str]:
    return lambda _rule: words


_TOLD = {
    "order.cancel_unpaid": _Told("order", "Cancelling an unpaid order", _cancel_unpaid),
    "overdue.suspend": _Told("overdue", "Suspending an overdue service", _suspend),
    "overdue.terminate": _Told("overdue", "Terminating an overdue service", _terminate),
    "overdue.forbids": _Told("overdue", "Refusing acts while held for nonpayment", _forbids),
    "overdue.chargeback": _Told("overdue", "Acting on a rejected or charged-back payment", _chargeback),
    "notices": _Told("notices", "Reminders", _notices),
    "reactivation.window": _Told("reactivation", "Ending the time in which a suspended service comes back", _window),
    "reactivation.fees": _Told("reactivation", "Charging a fee for coming back", _fees),
    "reactivation.done_within": _Told("reactivation", "Minding how soon a paid service runs again", _done_within),
    "archive": _Told("end", "Keeping an archive after a termination", _archive),
    "erase": _Told("end", "Erasing by a promised day", _erase),
    "late_payment": _Told("end", "Acting on a payment after the termination", _late_payment),
    "nothing_returned": _Told(
        "end", "Refusing data to whose service has ended", _plain("Whose service has ended gets no data back, in no form.")
    ),
    "billing_period": _Told("term", "Reckoning a period that billing has not named", _period),
    "minimum_term": _Told("term", "Holding a customer to a minimum term", _minimum),
    "cancellation": _Told("term", "Ending a service that its customer cancels", _cancellation),
    "ending_without_cause": _Told("term", "Ending a contract without cause", _without_cause),
    "downgrade": _Told("money", "Changing to a smaller plan", _downgrade),
    "hourly": _Told("money", "Charging by the hour", _hourly),
    "money_back": _Told("money", "Giving money back", _money_back),
    "undeliverable": _Told("money", "Refunding what cannot be delivered", _undeliverable),
    "dispute": _Told("money", "Minding a disputed invoice's days", _dispute),
    "traffic": _Told("money", "Charging traffic over the allowance", _plain("Traffic over the plan's allowance is charged.")),
    "quota": _Told("conduct", "Acting on a full quota", _measure("The plan's disk is full")),
    "backup.schedule": _Told("backup", "Backups unasked", _schedule),
    "backup.on_request": _Told("backup", "Limiting how often a backup may be asked for", _on_request),
    "backup.only_bought": _Told(
        "backup", "Refusing backups to who has not bought them", _plain("Only a service that has bought backups gets them.")
    ),
    "backup.kept": _Told("backup", "Deleting older backups", _kept),
    "backup.caps": _Told("backup", "Refusing a backup for its size", _caps),
    "backup.verified": _Told("backup", "Checking backups", _verified),
    "restore": _Told("backup", "Counting restores", _restore),
    "migration": _Told("money", "Counting what moves in", _migration),
    "conduct.abuse": _Told("conduct", "Acting on a breach of the terms", _abuse),
    "conduct.copyright": _Told("conduct", "Acting on a copyright notice", _copyright),
    "conduct.repeat_offender": _Told("conduct", "Acting on repeated copyright notices", _repeat),
    "conduct.licence_breach": _Told(
        "conduct", "Acting on a breach of a licence", _measure("A licence is breached inside the guest")
    ),
    "conduct.domain_expired": _Told("conduct", "Acting on an expired domain", _measure("The account's domain has expired")),
    "conduct.harm": _Told("conduct", "Acting on harm to others", _measure("It harms the service levels of others")),
    "location": _Told("data", "Keeping data in one country", _location),
    "personal_data.keep": _Told("data", "Keeping personal data", _keep),
    "personal_data.delete_on_request": _Told(
        "data", "Deleting personal data on request", _plain("Personal data is deleted when the customer asks for it.")
    ),
    "personal_data.metadata_kept": _Told(
        "data", "Keeping account metadata", _plain("Metadata of accounts and their usage is kept without limit.")
    ),
}
