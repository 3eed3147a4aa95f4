"""Rules of backups, restores, and the data that is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.domain.calendar import Days
from orchestrator.domain.policies.words import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSchedule(Rule):
    """How often a backup is made unasked, by kind; ``bought``: the interval that may be bought instead."""

    every: Mapping[str, Days]
    bought: Days | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupOnRequest(Rule):
    """A customer may ask for a backup, at most once in so many days."""

    at_most_every: Days


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupsKept(Rule):
    """So many, the latest; a new one that is whole deletes those before them."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupCaps(Rule):
    """A source with more bytes, or more files, directories and links, is not backed up; the last good backup stays."""

    size_bytes: int
    inodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupVerified(Rule):
    """What the text says of checking backups. ``promised`` False: expressly not done, and people are told so."""

    promised: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """``only_bought``: none is made for a service that has not bought them."""

    schedule: BackupSchedule | None = None
    on_request: BackupOnRequest | None = None
    only_bought: Rule | None = None
    kept: BackupsKept | None = None
    caps: BackupCaps | None = None
    verified: BackupVerified | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore(Rule):
    """Included in a calendar month of the provider's zone. Beyond it ``over_per_gb`` rupiah for each started GB (10^9 bytes);
    None: refused."""

    per_month: int
    over_per_gb: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration(Rule):
    """Help with moving in is free up to so many bytes, unpacked; None: the text gives no size. Beyond it ``over_per_gb`` rupiah
    for each started GB (10^9 bytes); None: refused."""

    free_bytes: int | None = None
    over_per_gb: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepPersonal(Rule):
    """At least so many years after the end of the customer's last service, unless the customer asks for deletion."""

    years: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalData:
    """``delete_on_request``: of personal data; it wins over ``personal``, and a legal hold over both. ``metadata_kept``: of
    accounts and usage, without limit."""

    keep: KeepPersonal | None = None
    delete_on_request: Rule | None = None
    metadata_kept: Rule | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataLocation(Rule):
    """Customers' data and its backups lie in this country (ISO 3166-1, two letters)."""

    country: str
