"""The shape of policies/NAME.yaml. A key that is left out or null is a rule on which the provider's document is silent.

Each section makes the domain's object of the same name, key by key. What concerns more than one value is in ``policies``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from orchestrator.config import fields as f
from orchestrator.config import policy_values as v
from orchestrator.config.files import File
from orchestrator.domain import policies as p
from orchestrator.domain.policies import conduct, data, life, money


class _Part(File):
    """A rule, or a section of some."""

    makes: ClassVar[type[Any]]
    unordered: ClassVar[frozenset[str]] = frozenset()

    def make(self) -> Any:
        """The domain's object; what is null has the domain's own default, which is silence."""
        given = {name: getattr(self, name) for name in type(self).model_fields}
        return self.makes(**{name: self._made(name, value) for name, value in given.items() if value is not None})

    def _made(self, name: str, value: Any) -> Any:
        if isinstance(value, list):
            parts = (each.make() if isinstance(each, _Part) else each for each in value)
            return frozenset(parts) if name in self.unordered else tuple(parts)
        return value.make() if isinstance(value, _Part) else value


class _Rule(_Part):
    clause: f.Line = Field(
        min_length=1, description="Number or heading in the provider's document; every act by it is told with it."
    )


class RuleEntry(_Rule):
    """A rule that says no more than that it is so."""

    makes = p.Rule


class CancelUnpaidEntry(_Rule):
    makes = life.CancelUnpaid
    after: v.Days = Field(description="After the order.")


class OrderSection(_Part):
    makes = life.Order
    cancel_unpaid: CancelUnpaidEntry | None = Field(default=None, description="An order that nobody pays is cancelled.")


class SuspendEntry(_Rule):
    makes = life.Suspend
    after: v.Days = Field(description="After the due date of what is unpaid.")
    asks: bool = Field(default=False, description="The text says 'may': it waits for an operator's approval.")


class TerminateEntry(_Rule):
    makes = life.Terminate
    after: v.Days = Field(description="After the moment that 'since' names.")
    since: v.TerminateSince = Field(
        description="due = the due date; suspension = the suspension, proven in force; period-end = the end of what was paid for."
    )
    asks: bool = Field(default=False, description="The text says 'may': it waits for an operator's approval.")
    notice: v.Days | None = Field(
        default=None, description="The least age of a notice before it; 0 days = one goes out with it; null = none is needed."
    )


class ForbidsEntry(_Rule):
    makes = life.Forbids
    unordered = frozenset({"acts"})
    acts: v.Acts = Field(description="What is refused.")


class ChargebackEntry(_Rule):
    makes = life.Chargeback
    effect: v.PaymentEffect = Field(description="What follows.")
    asks: bool = Field(default=False, description="The text says 'may': it waits for an operator's approval.")


class OverdueSection(_Part):
    makes = life.Overdue
    suspend: SuspendEntry | None = Field(default=None, description="An overdue service is suspended.")
    terminate: TerminateEntry | None = Field(default=None, description="An overdue service is terminated.")
    forbids: list[ForbidsEntry] | None = Field(
        default=None, max_length=10, description="Refused while a service is held for nonpayment."
    )
    chargeback: ChargebackEntry | None = Field(default=None, description="A payment was rejected, or taken back by the bank.")


class NoticesSection(_Rule):
    makes = life.Notices
    before_suspend: v.Reminders = Field(default_factory=list, description="Reminders so long before a suspension for nonpayment.")
    before_terminate: v.Reminders = Field(default_factory=list, description="Reminders so long before a termination for it.")


class WindowEntry(_Rule):
    makes = life.ReactivationWindow
    kinds: v.DaysByKind = Field(description="Kind of service: so long after the suspension. Others: until the termination.")
    asks: bool = Field(default=False, description="The provider consents first, also within the window.")


class FeesEntry(_Rule):
    makes = life.ReactivationFees
    kinds: v.RupiahByKind = Field(description="Kind of service: whole rupiah.")


class DoneEntry(_Rule):
    makes = life.ReactivationDone
    within: v.Days = Field(description="After the payment.")


class ReactivationSection(_Part):
    makes = life.Reactivation
    window: WindowEntry | None = Field(default=None, description="How long a suspended service can be paid back into use.")
    fees: FeesEntry | None = Field(default=None, description="What it costs after a cut-off or a termination.")
    done_within: DoneEntry | None = Field(default=None, description="How soon the service runs again.")


class ArchiveSection(_Rule):
    makes = life.Archive
    keep: v.DaysByKind = Field(description="Kind of service: so long after the termination, then the copy is erased.")


class EraseSection(_Rule):
    makes = life.Erase
    within: v.Days = Field(description="No later than; 0 days = with the termination, nothing is kept.")
    since: v.EraseSince = Field(description="From the day the cancellation took effect, or from the termination.")


class LatePaymentSection(_Rule):
    makes = life.LatePayment
    what: v.LatePaymentEffect = Field(description="refused = it buys nothing back; from-archive = while the archive is kept.")


class BillingPeriodSection(_Rule):
    makes = life.BillingPeriod
    period: v.Period = Field(description="Where a period ends of which billing has not said so.")


class MinimumTermSection(_Rule):
    makes = life.MinimumTerm
    months: v.MonthsByKind = Field(description="Kind of service: months from its activation.")


class CancellationSection(_Rule):
    makes = life.Cancellation
    effect: v.CancellationEffect | None = Field(
        default=None, description="When it takes effect; null = the text gives no date, an operator decides."
    )
    notice: v.Days | None = Field(default=None, description="Later than so long before the period's end: a period later.")
    needs_confirmation: bool = Field(default=False, description="It counts only once the customer has confirmed it.")


class WithoutCauseSection(_Rule):
    makes = life.EndingWithoutCause
    notice: v.Days = Field(description="Or the contract's term, whichever is longer.")


class DowngradeSection(_Rule):
    makes = money.Downgrade
    refund: bool = Field(description="What was paid too much is given back.")


class HourlySection(_Rule):
    makes = money.Hourly
    minimum_hours: int = Field(ge=1, le=8784, description="At least so many; started hours count whole.")


class MoneyBackSection(_Rule):
    makes = money.MoneyBack
    unordered = frozenset({"kinds"})
    within: v.Days = Field(description="After the moment that 'since' names.")
    since: v.MoneyBackSince = Field(description="From the activation, or from the purchase.")
    kinds: v.Kinds | None = Field(default=None, description="Kinds of service; null = all.")
    setup_fees: bool = Field(default=True, description="Set-up fees are given back, too.")


class UndeliverableSection(_Rule):
    makes = money.Undeliverable
    refund_within: v.Days = Field(description="After it was asked for.")


class DisputeSection(_Rule):
    makes = money.Dispute
    raise_within: v.Days = Field(description="After the invoice's issue.")
    verdict_within: v.Days = Field(description="After it was raised.")
    pay_within: v.Days = Field(description="After a verdict against the customer.")


class MeasureEntry(_Rule):
    makes = conduct.Measure
    unordered = frozenset({"kinds"})
    effects: v.Effects = Field(description="What may be done, the mildest first: that is done unless an operator says more.")
    kinds: v.Kinds | None = Field(default=None, description="Kinds of service; null = all.")


class ScheduleEntry(_Rule):
    makes = data.BackupSchedule
    every: v.DaysByKind = Field(description="Kind of service: the interval.")
    bought: v.Days | None = Field(default=None, description="The interval that may be bought instead.")


class OnRequestEntry(_Rule):
    makes = data.BackupOnRequest
    at_most_every: v.Days = Field(description="At most once in so many days.")


class BackupsKeptEntry(_Rule):
    makes = data.BackupsKept
    count: int = Field(ge=1, le=10_000, description="The latest so many; a new one that is whole deletes those before them.")


class CapsEntry(_Rule):
    makes = data.BackupCaps
    size: v.Bytes = Field(default=10 * 10**9, json_schema_extra={"default": "10 GB"}, description="Most bytes of source data.")
    inodes: int = Field(default=250_000, ge=1, le=10**12, description="Most files, directories and links.")

    def make(self) -> data.BackupCaps:
        return data.BackupCaps(clause=self.clause, size_bytes=self.size, inodes=self.inodes)


class VerifiedEntry(_Rule):
    makes = data.BackupVerified
    promised: bool = Field(description="true = each backup is checked; false = the text says that none is.")


class BackupSection(_Part):
    makes = data.Backup
    schedule: ScheduleEntry | None = Field(default=None, description="Backups that are made unasked.")
    on_request: OnRequestEntry | None = Field(default=None, description="Backups that a customer may ask for.")
    only_bought: RuleEntry | None = Field(default=None, description="None is made for a service that has not bought them.")
    kept: BackupsKeptEntry | None = Field(default=None, description="How many are kept.")
    caps: CapsEntry | None = Field(default=None, description="A larger source is not backed up; the last good backup stays.")
    verified: VerifiedEntry | None = Field(default=None, description="What is said of checking them.")


class RestoreSection(_Rule):
    makes = data.Restore
    per_month: int = Field(ge=0, le=10_000, description="Included in a calendar month.")
    over_per_gb: v.Rupiah | None = Field(default=None, description="Rupiah for each started GB beyond them; null = refused.")


class MigrationSection(_Rule):
    makes = data.Migration
    free: v.Bytes | None = Field(
        default=None, description="Unpacked, up to which help with moving in is free; null = the text gives no size."
    )
    over_per_gb: v.Rupiah | None = Field(default=None, description="Rupiah for each started GB beyond it; null = refused.")

    def make(self) -> data.Migration:
        return data.Migration(clause=self.clause, free_bytes=self.free, over_per_gb=self.over_per_gb)


class CopyrightEntry(_Rule):
    makes = conduct.Copyright
    cease: v.Hours = Field(description="From the receipt of the notice; then the effect follows.")
    effect: v.HoldingEffect = Field(description="What follows.")
    waivable: bool = Field(default=False, description="A notice may be waived on evidence.")


class RepeatEntry(_Rule):
    makes = conduct.RepeatOffender
    more_than: int = Field(ge=1, le=1000, description="Notices that were not waived.")
    within: v.Days = Field(description="Of each other.")
    asks: bool = Field(default=False, description="The text says 'may': it waits for an operator's approval.")
    notice: v.Days | None = Field(default=None, description="As in overdue.terminate.")


class AbuseEntry(_Rule):
    makes = conduct.Abuse
    effects: v.Effects = Field(description="What may be done, the mildest first: that is done unless an operator says more.")
    notice_before_terminate: bool = Field(default=False, description="The customer is told before a termination.")
    evidence_to_customer: bool = Field(default=False, description="The evidence is sent to the customer.")


class ConductSection(_Part):
    makes = conduct.Conduct
    abuse: AbuseEntry | None = Field(default=None, description="A breach of the terms.")
    copyright: CopyrightEntry | None = Field(default=None, description="A notice of copyright infringement.")
    repeat_offender: RepeatEntry | None = Field(default=None, description="Many such notices: the service is terminated.")
    licence_breach: MeasureEntry | None = Field(default=None, description="A breach of a software licence inside the guest.")
    domain_expired: MeasureEntry | None = Field(default=None, description="The account's domain has expired.")
    harm: MeasureEntry | None = Field(default=None, description="The service harms the service levels of others.")


class LocationSection(_Rule):
    makes = data.DataLocation
    country: v.Country = Field(description="Where customers' data and its backups lie (ISO 3166-1, two letters).")


class KeepPersonalEntry(_Rule):
    makes = data.KeepPersonal
    years: int = Field(ge=1, le=100, description="At least so many after the end of the customer's last service.")


class PersonalDataSection(_Part):
    makes = data.PersonalData
    keep: KeepPersonalEntry | None = Field(default=None, description="Kept at least so long.")
    delete_on_request: RuleEntry | None = Field(
        default=None, description="Deleted when the customer asks; this wins over 'keep'."
    )
    metadata_kept: RuleEntry | None = Field(default=None, description="Of accounts and usage: kept without limit.")


class PolicyFile(_Part):
    """policies/NAME.yaml: what one provider promises. Null, or left out: the document is silent, nothing is done unasked."""

    makes = p.Policy
    name: f.Name = Field(description="Name of the policy, as plans name it; the file is called so, too.")
    provider: f.Line = Field(min_length=1, description="The hosting company whose promises these are.")
    document: f.Line = Field(default="", description="What the clauses are clauses of.")
    order: OrderSection | None = Field(default=None, description="Orders.")
    overdue: OverdueSection | None = Field(default=None, description="What is due and not paid.")
    notices: NoticesSection | None = Field(default=None, description="Reminders, besides the notices that a rule waits for.")
    reactivation: ReactivationSection | None = Field(default=None, description="Back from a suspension or a termination.")
    archive: ArchiveSection | None = Field(default=None, description="The copy that is kept after a termination.")
    erase: EraseSection | None = Field(default=None, description="When data, archive and backups are erased at the latest.")
    late_payment: LatePaymentSection | None = Field(default=None, description="A payment that comes after the termination.")
    nothing_returned: RuleEntry | None = Field(default=None, description="Whose service has ended gets no data back.")
    billing_period: BillingPeriodSection | None = Field(default=None, description="What a billing period is.")
    minimum_term: MinimumTermSection | None = Field(default=None, description="No cancellation takes effect earlier.")
    cancellation: CancellationSection | None = Field(default=None, description="A cancellation by the customer.")
    ending_without_cause: WithoutCauseSection | None = Field(default=None, description="Either side ends the contract by notice.")
    downgrade: DowngradeSection | None = Field(default=None, description="A smaller plan may be asked for.")
    hourly: HourlySection | None = Field(default=None, description="Services by the hour.")
    money_back: MoneyBackSection | None = Field(default=None, description="A customer who is not content gets the money back.")
    undeliverable: UndeliverableSection | None = Field(default=None, description="An order that cannot be delivered is refunded.")
    dispute: DisputeSection | None = Field(default=None, description="A customer disputes an invoice.")
    traffic: RuleEntry | None = Field(
        default=None, description="Traffic over the plan's allowance is charged, at the plan's price."
    )
    backup: BackupSection | None = Field(default=None, description="Backups.")
    restore: RestoreSection | None = Field(default=None, description="Restores.")
    migration: MigrationSection | None = Field(default=None, description="Help with moving in from elsewhere.")
    quota: MeasureEntry | None = Field(default=None, description="The plan's disk is full.")
    conduct: ConductSection | None = Field(default=None, description="What a customer does with a service.")
    location: LocationSection | None = Field(default=None, description="Where data lies.")
    personal_data: PersonalDataSection | None = Field(default=None, description="Data about the customer.")


def policy(found: PolicyFile) -> p.Policy:
    """The policy of a file."""
    made: p.Policy = found.make()
    return made
