"""What concerns more than one value: references between files, addresses in their networks, names that are there twice.

Each check looks at what is sound of the entries (``Entry``), and names are known by what the files *say*, sound or not: a
fault in one template never makes every plan of it faulty too. What a check says of a key that is faulty by itself is dropped
by ``load``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, ip_address
from itertools import combinations
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from orchestrator.config.fields import Address, Network
from orchestrator.config.files import BillingEntry, NodeEntry, RangeEntry, TemplateEntry, ZoneEntry
from orchestrator.config.plan_files import HostingPlanFile, PlanFile, SoldFile
from orchestrator.config.problems import Path, Problem, did_you_mean
from orchestrator.config.yaml_reader import Document
from orchestrator.domain.sizes import compared

M = TypeVar("M", bound=BaseModel)

# Names of volumes that belong to guests begin so; a template must never look like one of them.
_GUEST_PREFIX = "orch."
HYPERVISOR = "hypervisor"


@dataclass(frozen=True, slots=True)
class Entry(Generic[M]):
    """An entry, and where it stands. What stands under its ``faulty`` keys is made up, and proves nothing."""

    document: Document
    path: Path
    value: M
    faulty: frozenset[str] = frozenset()

    def sure(self, *keys: str) -> bool:
        return self.faulty.isdisjoint(keys)

    def problem(self, key: str | Path, sentence: str) -> Problem:
        return self.document.problem((*self.path, *((key,) if isinstance(key, str) else key)), sentence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names that the files give, also in entries with other faults. None = that file could not be read at all.

    ``locations``: the country that a policy keeps data in, and its clause.
    """

    zones: frozenset[str] | None
    templates: frozenset[str] | None
    policies: frozenset[str] | None
    locations: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Entries:
    billing: list[Entry[BillingEntry]] = field(default_factory=list)
    zones: list[Entry[ZoneEntry]] = field(default_factory=list)
    nodes: list[Entry[NodeEntry]] = field(default_factory=list)
    ranges: list[Entry[RangeEntry]] = field(default_factory=list)
    templates: list[Entry[TemplateEntry]] = field(default_factory=list)
    plans: list[Entry[SoldFile]] = field(default_factory=list)


def check(entries: Entries, names: Names, *, ranges_whole: bool) -> Iterator[Problem]:
    """Every fault across values. ``ranges_whole`` False: some range is unsound, so that missing addresses prove nothing."""
    yield from twice(entries.billing, "source", lambda entry: entry.source)
    yield from twice(entries.zones, "name", lambda entry: entry.name)
    yield from twice(entries.nodes, "name", lambda entry: entry.name)
    yield from twice(entries.ranges, "name", lambda entry: entry.name)
    yield from twice(entries.templates, "name", lambda entry: entry.name)
    yield from twice(entries.plans, "name", lambda entry: entry.name)
    for billing in entries.billing:
        yield from _billing(billing)
    for node in entries.nodes:
        yield from known_name(node, "zone", node.value.zone, names.zones, "zone")
        yield from _hosting_node(node)
    yield from _same_machine(entries.nodes)
    for span in entries.ranges:
        yield from known_name(span, "zone", span.value.zone, names.zones, "zone")
        yield from _range(span)
    yield from _shared_addresses(entries.ranges, entries.nodes)
    for template in entries.templates:
        yield from _template(template)
    for plan in entries.plans:
        yield from _plan(plan, names)
        yield from _guest_plan(plan, entries.templates, names)
        yield from _hosting_plan(plan)
        yield from _location(plan, entries.zones, names)
    if ranges_whole:
        yield from _zones_without_addresses(entries, names)


def twice(entries: Sequence[Entry[M]], key: str, name: Callable[[M], str]) -> Iterator[Problem]:
    first: dict[str, Entry[M]] = {}
    for entry in entries:
        other = first.setdefault(name(entry.value), entry)
        if other is not entry:
            where = f"line {other.document.line((*other.path, key))} of {other.document.file}"
            yield entry.problem(key, f"'{name(entry.value)}' is there twice: first on {where}")


def known_name(entry: Entry[Any], key: str | Path, name: str, known: frozenset[str] | None, what: str) -> Iterator[Problem]:
    if known is not None and name not in known:
        yield entry.problem(key, f"there is no {what} '{name}'{did_you_mean(name, known)}")


def _billing(entry: Entry[BillingEntry]) -> Iterator[Problem]:
    billing = entry.value
    if not entry.sure("notify_url", "notify_secret_file"):
        return
    if billing.notify_url and billing.notify_secret_file is None:
        yield entry.problem("notify_url", "'notify_secret_file' is missing: what is posted has to be signed")
    if billing.notify_secret_file is not None and not billing.notify_url:
        yield entry.problem("notify_secret_file", "without 'notify_url' nothing is posted that it could sign")


def _same_machine(nodes: Sequence[Entry[NodeEntry]]) -> Iterator[Problem]:
    first: dict[tuple[str, int, str], Entry[NodeEntry]] = {}
    for entry in nodes:
        node = entry.value
        other = first.setdefault((node.address, node.port, node.libvirt_uri), entry)
        if other is not entry and entry.sure("driver", "port") and node.driver == other.value.driver == "libvirt":
            yield entry.problem("address", f"this is the machine of node '{other.value.name}': its capacity would count twice")


def _range(entry: Entry[RangeEntry]) -> Iterator[Problem]:
    span = entry.value
    network = span.network
    inside = _inside(entry)
    yield from inside
    if any(problem.path.endswith((".first", ".last")) for problem in inside):
        return
    if int(span.first) > int(span.last):
        yield entry.problem("last", f"'last' ({span.last}) lies before 'first' ({span.first})")
        return
    unusual = network.prefixlen >= network.max_prefixlen - 1  # RFC 3021, RFC 6164: two addresses, both for hosts
    if span.first == network.network_address and not unusual:
        yield entry.problem("first", f"{span.first} is the network's own address and cannot be a guest's")
    if isinstance(network, IPv4Network) and span.last == network.broadcast_address and not unusual:
        yield entry.problem("last", f"{span.last} is the network's broadcast address and cannot be a guest's")
    kept = {address for address in (span.gateway, *span.reserved) if _spans(span, address)}
    if len(kept) > int(span.last) - int(span.first):
        yield entry.problem("first", "no address is left to give out: all are the gateway's or reserved")


def _inside(entry: Entry[RangeEntry]) -> list[Problem]:
    """Addresses that are not of the range's network. An IPv6 gateway may be link-local (RFC 4861, 6.1.2)."""
    span = entry.value
    addresses: list[tuple[Path, Address]] = [(("gateway",), span.gateway), (("first",), span.first), (("last",), span.last)]
    addresses += [(("reserved", position), address) for position, address in enumerate(span.reserved)]
    return [
        entry.problem(path, f"{address} is not inside the network {span.network}")
        for path, address in addresses
        if not _within(address, span.network)
        and not (path == ("gateway",) and address.version == span.network.version == 6 and address.is_link_local)
    ]


def _within(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _spans(span: RangeEntry, address: Address) -> bool:
    return address.version == span.first.version and int(span.first) <= int(address) <= int(span.last)


def _gives_out(span: RangeEntry, address: Address) -> bool:
    return _spans(span, address) and address != span.gateway and address not in span.reserved


def _shared_addresses(ranges: Sequence[Entry[RangeEntry]], nodes: Sequence[Entry[NodeEntry]]) -> Iterator[Problem]:
    """An address that two ranges give out, or that already is a router's or a node's."""
    for one, two in combinations(ranges, 2):
        a, b = one.value, two.value
        if a.first.version == b.first.version and int(a.first) <= int(b.last) and int(b.first) <= int(a.last):
            yield two.problem("first", f"it gives out addresses that range '{a.name}' gives out too ({a.first} to {a.last})")
            continue
        for span, other in ((one, two), (two, one)):
            if _gives_out(span.value, other.value.gateway):
                gateway = other.value.gateway
                yield span.problem("first", f"{gateway} is the gateway of range '{other.value.name}': add it to 'reserved'")
    for node in nodes:
        try:
            address = ip_address(node.value.address)
        except ValueError:  # a host name
            continue
        for span in ranges:
            if _gives_out(span.value, address):
                yield span.problem("first", f"{address} is the address of node '{node.value.name}': add it to 'reserved'")


def _template(entry: Entry[TemplateEntry]) -> Iterator[Problem]:
    template = entry.value
    for key, name in (("volume", template.volume), ("kernel", template.kernel), ("initrd", template.initrd)):
        if name.startswith(_GUEST_PREFIX):
            yield entry.problem(
                key, f"names that begin with '{_GUEST_PREFIX}' belong to guests: a wipe would take it for one's disk"
            )
    booted = template.kernel or not entry.sure("kernel")
    if template.initrd and not booted:
        yield entry.problem("initrd", "without 'kernel' the image's own boot loader is used, and 'initrd' is not")
    if template.kernel_arguments and not booted:
        yield entry.problem("kernel_arguments", "without 'kernel' the image's own boot loader is used, and these are not")
    if template.ready == "agent" and not template.agent:
        yield entry.problem("ready", "'agent' needs 'agent: true'")


def _hosting_node(entry: Entry[NodeEntry]) -> Iterator[Problem]:
    node = entry.value
    if node.kind == HYPERVISOR or not entry.sure("kind"):
        return
    if node.libvirt_uri:
        yield entry.problem("libvirt_uri", "a hosting node has no libvirt: leave it out")


def _hosting_plan(entry: Entry[SoldFile]) -> Iterator[Problem]:
    plan = entry.value
    if not isinstance(plan, HostingPlanFile):
        return
    if "limited_cpu_percent" in plan.model_fields_set and plan.cpu_percent < plan.limited_cpu_percent:
        yield entry.problem("limited_cpu_percent", "a limited account would have more than 'cpu_percent' gives it")
    for position, version in enumerate(plan.php):
        if version in plan.php[:position]:
            yield entry.problem(("php", position), f"'{version}' is there twice")
    if plan.forbids:
        yield entry.problem("forbids", "what an account runs is held by its limits: only guests are forbidden uses")


def _plan(entry: Entry[SoldFile], names: Names) -> Iterator[Problem]:
    plan = entry.value
    stem = entry.document.file.rpartition("/")[2].removesuffix(".yaml")
    if plan.name != stem:
        yield entry.problem("name", f"the plan '{plan.name}' has to stand in {plan.name}.yaml, not in {stem}.yaml")
    yield from _listed(entry, "zones", plan.zones, names.zones, "zone")
    yield from known_name(entry, "policy", plan.policy, names.policies, "policy")


def _listed(
    entry: Entry[SoldFile], key: str, listed: Sequence[str], known: frozenset[str] | None, what: str
) -> Iterator[Problem]:
    for position, name in enumerate(listed):
        yield from known_name(entry, (key, position), name, known, what)
        if name in listed[:position]:
            yield entry.problem((key, position), f"'{name}' is there twice")


def _guest_plan(entry: Entry[SoldFile], templates: Iterable[Entry[TemplateEntry]], names: Names) -> Iterator[Problem]:
    plan = entry.value
    if not isinstance(plan, PlanFile):
        return
    if plan.backup_cap_inodes is not None:
        yield entry.problem("backup_cap_inodes", "a guest is its disk, in which nobody counts files: cap it with 'backup_cap'")
    yield from _listed(entry, "templates", plan.templates, names.templates, "template")
    if entry.sure("templates") and plan.default_template is not None and plan.default_template not in plan.templates:
        near = did_you_mean(plan.default_template, plan.templates)
        yield entry.problem("default_template", f"'{plan.default_template}' is not one of this plan's templates{near}")
    for template in templates:
        if template.value.name in plan.templates and template.value.size > plan.disk:
            has, needs = compared(plan.disk, template.value.size)
            sentence = f"the disk has {has}, too little for template '{template.value.name}' with {needs}"
            yield entry.problem("disk", sentence)
    if "limited_network" in plan.model_fields_set and 0 < plan.network_rate < plan.limited_network:
        yield entry.problem("limited_network", "a limited service would have more of the network than 'network_rate' gives it")
    yield from _traffic_over(entry, plan)
    if plan.ipv4 + plan.ipv6 == 0:
        yield entry.problem("ipv4", "the guest would have no address: 'ipv4' and 'ipv6' are both 0")


def _traffic_over(entry: Entry[SoldFile], plan: PlanFile) -> Iterator[Problem]:
    """What is to become of a guest beyond its traffic has to be one thing, and whole."""
    if plan.traffic_over != "throttle":
        if plan.traffic_over_rate is not None:
            yield entry.problem("traffic_over_rate", "it throttles nothing: 'traffic_over: throttle' is missing")
        return
    if plan.traffic is None:
        yield entry.problem("traffic_over", "nothing is ever over: 'traffic' is missing")
    if plan.traffic_over_rate is None:
        yield entry.problem("traffic_over", "to which rate is missing: 'traffic_over_rate', such as '10 Mbit/s'")
    elif 0 < plan.network_rate < plan.traffic_over_rate:
        yield entry.problem("traffic_over_rate", "a throttled guest would have more of the network than 'network_rate' gives it")
    if plan.traffic_over_per_gb:
        yield entry.problem(
            "traffic_over_per_gb", "a plan that throttles charges nothing: leave it out, or say 'traffic_over: charge'"
        )


def _location(entry: Entry[SoldFile], zones: Sequence[Entry[ZoneEntry]], names: Names) -> Iterator[Problem]:
    """Zones of another country, or of none that is said, in which a plan could put what its policy keeps in one country."""
    plan = entry.value
    if not entry.sure("policy", "zones") or plan.policy not in names.locations:
        return
    country, clause = names.locations[plan.policy]
    wanted = f"policy '{plan.policy}' keeps data in {country} ({clause})"
    for zone in zones:
        name, said = zone.value.name, zone.value.country
        if not zone.sure("name", "country") or said == country or (plan.zones and name not in plan.zones):
            continue
        where = f"zone '{name}' is in {said}" if said else f"of zone '{name}' no 'country' is said"
        line = f"line {zone.document.line((*zone.path, 'name'))} of {zone.document.file}"
        if name in plan.zones:
            yield entry.problem(("zones", plan.zones.index(name)), f"{where} ({line}), and {wanted}")
        else:
            yield entry.problem("policy", f"{wanted}, and {where} ({line}): name the 'zones' that the plan is sold in")


def _zones_without_addresses(entries: Entries, names: Names) -> Iterator[Problem]:
    """Zones with nodes from whose ranges no guest, or no guest of some plan, could get its addresses."""
    families: dict[str, set[int]] = {}
    for span in entries.ranges:
        families.setdefault(span.value.zone, set()).add(span.value.network.version)
    reported: set[str] = set()
    hypervisors = [node for node in entries.nodes if node.value.kind == HYPERVISOR]
    for node in hypervisors:
        unknown = names.zones is not None and node.value.zone not in names.zones
        if not unknown and node.value.zone not in families and node.value.zone not in reported:
            reported.add(node.value.zone)
            yield node.problem("zone", f"zone '{node.value.zone}' has no address range: no guest could be placed on this node")
    served = {node.value.zone for node in hypervisors if node.value.zone in families}
    for plan in entries.plans:
        guests = plan.value
        for zone in sorted(served) if isinstance(guests, PlanFile) else ():
            if not isinstance(guests, PlanFile) or not plan.sure("zones") or (guests.zones and zone not in guests.zones):
                continue
            for key, wanted, family in (("ipv4", guests.ipv4, 4), ("ipv6", guests.ipv6, 6)):
                if wanted and family not in families[zone]:
                    yield plan.problem(key, f"zone '{zone}' has no IPv{family} range: give it one, name other 'zones', or set 0")
