"""What a hosting account has used, as its node told it, and when a customer is to hear of what he used.

Pure. Bytes and counts; ``traffic`` by calendar month ("2026-11") of the node's logs; ``cpu_seconds`` since it was first metered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from orchestrator.domain.calendar import Calendar
from orchestrator.domain.plans import HostingPlan
from orchestrator.domain.received import Tell

NOTICE = "usage.notice"
# Per cent at which billing is told, for the customer to hear of.
LEVELS = (80, 95, 100)
# A level counts as left only so many points below it: what goes up and down around it is told once.
SLACK = 5
# A quota lets no block in that would not fit whole: with less than one left nothing more goes in.
_BLOCK = 4096
# Databases that were closed to more are opened again when so many parts of a thousand of the disk are free: they do not go to and
# fro around the last byte.
_FREE = 10


class Of(StrEnum):
    """What is used up."""

    DISK = "disk"
    INODES = "inodes"
    TRAFFIC = "traffic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """The last reading of one account. ``cpu_reading``: what its node said then, which begins anew when that restarts.

    ``told``: the level of which billing was told last, by what is used up; of the traffic with its month.
    """

    service_id: str
    node: str
    at: datetime
    bytes: int = 0
    inodes: int = 0
    database_bytes: int = 0
    cpu_seconds: float = 0.0
    cpu_reading: float = 0.0
    traffic: Mapping[str, int] = field(default_factory=dict)
    told: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Share:
    """So much of what is sold is used."""

    of: Of
    used: int
    sold: int

    @property
    def per_cent(self) -> int:
        """Whole, rounded down: 100 only where nothing is left."""
        return self.used * 100 // self.sold if self.sold else 0

    @property
    def gone(self) -> bool:
        """Nothing more goes in."""
        least = min(_BLOCK, self.sold // 1000) if self.of == Of.DISK else 1
        return self.sold - self.used < max(least, 1)


def month_of(now: datetime, calendar: Calendar) -> str:
    """The calendar month of the provider's zone, as traffic is told by."""
    return f"{now.astimezone(calendar.zone):%Y-%m}"


def cpu_total(before: Metered | None, reading: float) -> float:
    """All seconds so far. A reading that is smaller than the one before was begun anew."""
    if before is None:
        return reading
    return before.cpu_seconds + (reading - before.cpu_reading if reading >= before.cpu_reading else reading)


def shares(metered: Metered, plan: HostingPlan, month: str) -> tuple[Share, ...]:
    """How much of the plan is used; of traffic only where the plan says how much is sold. Of the disk files and databases
    together: the node's quota counts files alone, for the databases belong to MariaDB there."""
    used = metered.bytes + metered.database_bytes
    found = [Share(Of.DISK, used, plan.disk_bytes), Share(Of.INODES, metered.inodes, plan.inodes)]
    if plan.traffic_bytes is not None:
        found.append(Share(Of.TRAFFIC, metered.traffic.get(month, 0), plan.traffic_bytes))
    return tuple(found)


def databases_full(disk: Share, *, now: bool) -> bool:
    """Whether the account's databases are to take no more; ``now``: that they do not."""
    return disk.gone or (now and (disk.sold - disk.used) * 1000 < disk.sold * _FREE)


def notices(metered: Metered, found: tuple[Share, ...], month: str) -> tuple[Metered, tuple[Tell, ...]]:
    """The reading with the levels that are told now, and what billing is told: each level once, until it was left."""
    told, tells = tells_of(metered.told, found, month=month, at=metered.at)
    return replace(metered, told=told), tells


def tells_of(
    before: Mapping[str, int], found: tuple[Share, ...], *, month: str, at: datetime
) -> tuple[dict[str, int], tuple[Tell, ...]]:
    """The levels that are told of the reading ``at``, after those of ``before``, and what billing is told."""
    told, tells = dict(before), []
    for share in found:
        name = f"{share.of}/{month}" if share.of == Of.TRAFFIC else share.of.value
        last, level = told.get(name, 0), _level(share)
        if level > last:
            tells.append(_tell(share, level, month, at))
        if level > last or share.per_cent < last - SLACK:
            told[name] = level
    kept = {name: level for name, level in told.items() if level and (not name.startswith(f"{Of.TRAFFIC}/") or month in name)}
    return kept, tuple(tells)


def _level(share: Share) -> int:
    return max((level for level in LEVELS if share.gone or share.per_cent >= level), default=0)


def _tell(share: Share, level: int, month: str, at: datetime) -> Tell:
    data: dict[str, object] = {
        "of": share.of.value,
        "level": level,
        "per_cent": share.per_cent,
        "used": share.used,
        "sold": share.sold,
        "period": month if share.of == Of.TRAFFIC else "",
        "at": at.isoformat(),
    }
    return Tell(kind=NOTICE, key=f"{share.of}.{level}.{at:%Y%m%dT%H%M%S}", data=data)
