"""What was sold against what the hypervisor reports: each difference as a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from orchestrator.domain.plans import Lease
from orchestrator.domain.sizes import compared, rate_words
from orchestrator.domain.specs import GuestWanted
from orchestrator.ports.hypervisor import GuestDisk, GuestFacts
from orchestrator.ports.secrets import Secrets, Signature
from orchestrator.steps.base import StepContext

KILOBYTE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """``digest`` '' = whichever it was defined after, as long as our signature holds. ``limited``: a hold throttles it."""

    guest: GuestWanted
    lease: Lease
    disk_path: str
    bridge: str
    digest: str = ""
    limited: bool = False


def differences(ctx: StepContext, facts: GuestFacts, expected: Expected) -> list[str]:
    """Where the guest is not as expected, apart from power and autostart; empty = it agrees."""
    return [*limits_apart(facts, expected), *mail_apart(facts, expected), *others_apart(ctx.ports.secrets, facts, expected)]


def limits_apart(facts: GuestFacts, expected: Expected) -> list[str]:
    """Where sizes and limits are not those that were sold."""
    guest, disk = expected.guest, _own_disk(facts)
    rate = guest.limited_network_bytes_per_second if expected.limited else guest.network_bytes_per_second
    wrong = [
        # What it runs with may be another until its next start: a change of plan does not restart it unasked.
        *_unequal(("vCPUs", facts.vcpus_at_start, guest.vcpus)),
        *_unequal(("of memory", facts.memory_at_start, guest.memory_bytes), words=compared),
        # A whole core per vCPU is no limit: hypervisors report either.
        *_unequal(("per cent of a core per vCPU", facts.cpu_percent or 100, guest.cpu_percent or 100)),
        *_unequal(
            ("of network", _rate(facts.network_bytes_per_second, rate), rate),
            ("of network after its next start", _at_start(facts, rate), rate),
            (
                "of network to come back",
                _rate(_comes_back(facts, expected), guest.network_bytes_per_second),
                guest.network_bytes_per_second,
            ),
            words=_rates,
        ),
    ]
    if disk is None:
        return wrong
    return [
        *wrong,
        *_unequal(("of disk", disk.capacity_bytes, guest.disk_bytes), words=compared),
        *_unequal(("of disk", disk.bytes_per_second, guest.disk_bytes_per_second), words=_rates),
        *_unequal(("disk operations per second", disk.iops, guest.disk_iops)),
    ]


def mail_apart(facts: GuestFacts, expected: Expected) -> list[str]:
    """Where it may send mail and should not, or the other way round. Of one without a filter that goes without saying."""
    wanted = expected.guest.mail_out
    if wanted is None or not facts.filter_name:
        return []
    word = {True: "open", False: "closed"}
    rows = (("", facts.mail_out), (" after its next start", facts.mail_out_at_start))
    wrong = [
        f"outgoing mail (port 25) is {word[found]}{when} instead of {word[wanted]}" for when, found in rows if found != wanted
    ]
    return wrong[:1]


def others_apart(secrets: Secrets, facts: GuestFacts, expected: Expected) -> list[str]:
    """Where something else of it is not as it was made: interface, disk, filter, signature."""
    wrong = _unequal(("as MAC", facts.mac.lower(), expected.lease.mac.lower()), ("as bridge", facts.bridge, expected.bridge))
    return [*wrong, *_disk(facts, expected), *_filter(facts, expected.lease), *_signature(secrets, facts, expected.digest)]


def same_rate(found: int, wanted: int) -> bool:
    """Whether two rates are one; 0 = no limit. Hypervisors count whole kilobytes, so that a smaller difference is none."""
    return found == wanted or (bool(found and wanted) and abs(found - wanted) < KILOBYTE)


def network_is(facts: GuestFacts, wanted: int) -> bool:
    """Whether that rate is in force, now and after the next start."""
    return same_rate(facts.network_bytes_per_second, wanted) and same_rate(facts.network_at_start, wanted)


def _rate(found: int, wanted: int) -> int:
    return wanted if same_rate(found, wanted) else found


def _at_start(facts: GuestFacts, wanted: int) -> int:
    """What the next start gives it, where that is another rate than it has now."""
    return wanted if facts.network_at_start == facts.network_bytes_per_second else _rate(facts.network_at_start, wanted)


def _comes_back(facts: GuestFacts, expected: Expected) -> int:
    """The rate that the guest gets when it is limited no more; where it is not limited, that is not asked."""
    before = facts.mark.network_before if facts.mark is not None and expected.limited else None
    return expected.guest.network_bytes_per_second if before is None else before


Words = Callable[[Any, Any], tuple[object, object]]
"""How two values are said."""


def _as_they_are(found: object, wanted: object) -> tuple[object, object]:
    return found, wanted


def _rates(found: int, wanted: int) -> tuple[str, str]:
    return rate_words(found), rate_words(wanted)


def _unequal(*rows: tuple[str, object, object], words: Words = _as_they_are) -> list[str]:
    return ["{1} {0} instead of {2}".format(what, *words(found, wanted)) for what, found, wanted in rows if found != wanted]


def _own_disk(facts: GuestFacts) -> GuestDisk | None:
    return next((disk for disk in facts.disks if not disk.read_only), None)


def _disk(facts: GuestFacts, expected: Expected) -> list[str]:
    disk = _own_disk(facts)
    if disk is None:
        return ["it has no disk"]
    encrypted = expected.guest.encrypted
    wrong = _unequal(("as disk", disk.path, expected.disk_path))
    if bool(disk.secret_uuid) != encrypted:
        wrong.append("its disk is not encrypted" if encrypted else "its disk is encrypted")
    return wrong


def _filter(facts: GuestFacts, lease: Lease) -> list[str]:
    """The filter has to let the leased addresses through and no others but link-local ones."""
    if not facts.filter_name:
        return ["no anti-spoofing filter is on its interface"]
    leased = {*(i.ip for i in lease.ipv4), *(i.ip for i in lease.ipv6)}
    passed = {ip_address(a.partition("/")[0]) for a in facts.addresses}
    wrong = [f"its filter does not let {a} through" for a in sorted(leased - passed, key=str)]
    foreign = sorted((a for a in passed - leased if not a.is_link_local), key=str)
    return wrong + [f"its filter lets {a} through, which is not its own" for a in foreign]


def _signature(secrets: Secrets, facts: GuestFacts, digest: str) -> list[str]:
    mark = facts.mark
    if mark is None:
        return ["it carries no mark of ours"]
    key_id, _, value = mark.spec_signature.partition(":")
    if not secrets.verify(mark.spec_digest.encode("utf-8"), Signature(key_id=key_id, value=value)):
        return ["the signature of its spec does not hold"]
    return ["it was defined after another spec"] if digest and digest != mark.spec_digest else []
