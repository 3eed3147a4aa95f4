"""What was sold against what the hypervisor reports: each difference as a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from orchestrator.domain.plans import Lease
from orchestrator.domain.specs import GuestWanted
from orchestrator.ports.hypervisor import GuestDisk, GuestFacts
from orchestrator.ports.secrets import Signature
from orchestrator.steps.base import StepContext

KILOBYTE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """``digest`` '' = whichever it was defined after, as long as our signature holds."""

    guest: GuestWanted
    lease: Lease
    disk_path: str
    bridge: str
    digest: str = ""


def differences(ctx: StepContext, facts: GuestFacts, expected: Expected) -> list[str]:
    """Where the guest is not as expected, apart from power and autostart; empty = it agrees."""
    guest = expected.guest
    wrong = _unequal(
        ("vCPUs", facts.vcpus, guest.vcpus),
        ("bytes of memory", facts.memory_bytes, guest.memory_bytes),
        # A whole core per vCPU is no limit: hypervisors report either.
        ("per cent of a core per vCPU", facts.cpu_percent or 100, guest.cpu_percent or 100),
        ("bytes per second of network", _rate(facts, guest), guest.network_bytes_per_second),
        ("as MAC", facts.mac.lower(), expected.lease.mac.lower()),
        ("as bridge", facts.bridge, expected.bridge),
    )
    return [*wrong, *_disk(facts, expected), *_filter(facts, expected.lease), *_signature(ctx, facts, expected.digest)]


def _rate(facts: GuestFacts, guest: GuestWanted) -> int:
    """What the interface lets through. Hypervisors count whole kilobytes, so that a smaller difference is none."""
    found, wanted = facts.network_bytes_per_second, guest.network_bytes_per_second
    return wanted if found and wanted and abs(found - wanted) < KILOBYTE else found


def _unequal(*rows: tuple[str, object, object]) -> list[str]:
    return [f"{found} {what} instead of {wanted}" for what, found, wanted in rows if found != wanted]


def _disk(facts: GuestFacts, expected: Expected) -> list[str]:
    disk: GuestDisk | None = next((d for d in facts.disks if not d.read_only), None)
    if disk is None:
        return ["it has no disk"]
    guest = expected.guest
    wrong = _unequal(
        ("as disk", disk.path, expected.disk_path),
        ("bytes of disk", disk.capacity_bytes, guest.disk_bytes),
        ("bytes per second of disk", disk.bytes_per_second, guest.disk_bytes_per_second),
        ("disk operations per second", disk.iops, guest.disk_iops),
    )
    if bool(disk.secret_uuid) != guest.encrypted:
        wrong.append("its disk is not encrypted" if guest.encrypted else "its disk is encrypted")
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


def _signature(ctx: StepContext, facts: GuestFacts, digest: str) -> list[str]:
    mark = facts.mark
    if mark is None:
        return ["it carries no mark of ours"]
    key_id, _, value = mark.spec_signature.partition(":")
    if not ctx.ports.secrets.verify(mark.spec_digest.encode("utf-8"), Signature(key_id=key_id, value=value)):
        return ["the signature of its spec does not hold"]
    return ["it was defined after another spec"] if digest and digest != mark.spec_digest else []
