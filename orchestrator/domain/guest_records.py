"""What a guest carries of its service's record, so that it can be known again after the store was lost. Pure.

No secret is in it, nor who complained of its customer: whoever administers the node can read it. It is the record as it was
when the controller last looked at the guest, some minutes old at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from orchestrator.domain.placement import Reservation
from orchestrator.domain.plans import Lease
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Service

FORMAT = 1
ADOPTED = "adopted"
"""Of a guest that was there before its record: under this word the service's facts have its name."""
_FACTS = ("addresses", ADOPTED)
_PARTS = ("boot", "volume")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestRecord:
    """``uuid`` and ``guest`` say whose it is: one that was copied onto another guest is none. ``facts``: what jobs made of it,
    as far as later ones need it."""

    node: str
    guest: str
    uuid: str
    service: Service
    policy: str
    lease: Lease | None
    reservation: Reservation | None
    facts: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT


def carried(service: Service) -> Service:
    """The record without what is not for the node's eyes."""
    return replace(service, password_hash="", complaints=())


def needed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of what is known of a service's things: its volumes, its addresses, and how it boots."""
    parts = {key for key, value in values.items() if isinstance(value, Mapping) and any(part in value for part in _PARTS)}
    return {key: values[key] for key in sorted({*_FACTS, *parts}) if key in values}


def adopted_name(values: Mapping[str, Any]) -> str:
    """What its guest is called, where that was there before its record; '' = as every guest of ours."""
    return str((values.get(ADOPTED) or {}).get("guest", ""))


def wrong_place(record: GuestRecord, *, node: str, guest: str, uuid: str) -> str:
    """Why the record is not this guest's; '' = it is."""
    if record.format != FORMAT:
        return f"its record has the format {record.format}, and this version reads {FORMAT}"
    if (record.guest, record.uuid) != (guest, uuid):
        return f"the record in it is that of {record.guest} ({record.uuid})"
    return "" if record.node == node else f"the record in it is of a guest on {record.node}"


def with_holds(service: Service, holds: Iterable[str], limits: Iterable[str], *, who: str, now: datetime) -> Service:
    """The service with what its guest's mark says that it is held for, and its record does not; nothing is lifted."""
    for reasons, effect in ((holds, HoldEffect.STOP), (limits, HoldEffect.LIMIT)):
        for reason in reasons:
            if reason in set(HoldReason):
                why = "its guest was held so when it was taken in"
                service = service.with_hold(Hold(reason=HoldReason(reason), effect=effect, by=who, why=why, since=now))
    return service
