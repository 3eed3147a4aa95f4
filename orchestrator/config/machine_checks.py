"""What concerns more than one value of machines, and of the plans that sell them: see ``checks``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from orchestrator.config.checks import Entries, Entry, Names, known_name, twice
from orchestrator.config.files import RangeEntry, TemplateEntry
from orchestrator.config.machine_files import MachineEntry, MachinePlanFile
from orchestrator.config.plan_files import SoldFile
from orchestrator.config.problems import Problem, did_you_mean

_BACKUPS = ("backups_bought", "backup_cap", "backup_cap_inodes")


def check(
    machines: Sequence[Entry[MachineEntry]], entries: Entries, names: Names, *, whole: bool, ranges_whole: bool
) -> Iterator[Problem]:
    """Every fault across values. ``whole``: every machine could be read, so that what none of them is proves something;
    ``ranges_whole``: the same of address ranges.
    """
    yield from twice(machines, "name", lambda machine: machine.name)
    for machine in machines:
        yield from known_name(machine, "zone", machine.value.zone, names.zones, "zone")
        yield from _machine(machine)
        yield from _beside(machine, entries)
    yield from _same(machines)
    for plan in entries.plans:
        yield from _plan(plan, entries.templates, names)
        if whole:
            yield from _sold(plan, machines, entries.ranges if ranges_whole else None)


def _machine(entry: Entry[MachineEntry]) -> Iterator[Problem]:
    machine = entry.value
    if entry.sure("driver"):
        yield from _reached(entry)
    if machine.deploy_mac and machine.macs and entry.sure("macs") and machine.deploy_mac not in machine.macs:
        near = did_you_mean(machine.deploy_mac, machine.macs)
        yield entry.problem("deploy_mac", f"'{machine.deploy_mac}' is not one of this machine's macs{near}")
    address, gateway = machine.deploy_address, machine.deploy_gateway
    if gateway is not None and address is None and entry.sure("deploy_address"):
        yield entry.problem("deploy_gateway", "without 'deploy_address' DHCP gives the router, and this one is not used")
    if gateway is not None and address is not None and gateway not in address.network and not gateway.is_link_local:
        yield entry.problem("deploy_gateway", f"{gateway} is not inside the network {address.network}")


def _reached(entry: Entry[MachineEntry]) -> Iterator[Problem]:
    machine = entry.value
    given = {"bmc": machine.bmc, "bmc_user": machine.bmc_user, "bmc_secret_file": machine.bmc_secret_file}
    for key, value in given.items():
        if machine.driver == "redfish" and not value and entry.sure(key):
            yield entry.problem(key, f"'{key}' is missing: the machine is reached by its BMC alone")
        if machine.driver == "fake" and value:
            yield entry.problem(key, "a simulated machine has no BMC: leave it out")


def _beside(entry: Entry[MachineEntry], entries: Entries) -> Iterator[Problem]:
    """Names and addresses that others have, too: services remember where they are by one name."""
    for node in entries.nodes:
        if node.value.name == entry.value.name:
            where = f"line {node.document.line((*node.path, 'name'))} of {node.document.file}"
            yield entry.problem("name", f"'{entry.value.name}' is a node: on {where}")
    if entry.value.deploy_address is None:
        return
    address = entry.value.deploy_address.ip
    for span in entries.ranges:
        if _gives_out(span.value, address):
            yield entry.problem("deploy_address", f"range '{span.value.name}' gives {address} out: add it to 'reserved' there")
    for node in entries.nodes:
        if _is(node.value.address, address):
            yield entry.problem("deploy_address", f"{address} is the address of node '{node.value.name}'")


def _gives_out(span: RangeEntry, address: object) -> bool:
    known = ip_address(str(address))
    inside = known.version == span.first.version and int(span.first) <= int(known) <= int(span.last)
    return inside and known != span.gateway and known not in span.reserved


def _is(host: str, address: object) -> bool:
    try:
        return ip_address(host) == address
    except ValueError:  # a host name
        return False


def _same(machines: Sequence[Entry[MachineEntry]]) -> Iterator[Problem]:
    """Two entries for one machine, or for one part of it: each would be wiped for the other's customer."""
    seen: dict[tuple[str, ...], Entry[MachineEntry]] = {}
    for entry in machines:
        for key, position, what, value in _parts(entry.value):
            other = seen.setdefault((what, value), entry)
            if other is not entry:
                path = (key,) if position is None else (key, position)
                yield entry.problem(path, f"this is {what} of machine '{other.value.name}'")
    for entry in machines:
        for key, listed in (("macs", entry.value.macs), ("disks", entry.value.disks)):
            for position, value in enumerate(listed):
                if value in listed[:position]:
                    yield entry.problem((key, position), f"'{value}' is there twice")


def _parts(machine: MachineEntry) -> Iterator[tuple[str, int | None, str, str]]:
    """Key, position, what it is, and the value."""
    if machine.bmc:
        yield "bmc", None, "the BMC", f"{machine.bmc} {machine.bmc_system}"
    if machine.deploy_address is not None:
        yield "deploy_address", None, "the address", str(machine.deploy_address.ip)
    for position, mac in enumerate(machine.macs):
        yield "macs", position, "the MAC", mac
    for position, serial in enumerate(machine.disks):
        yield "disks", position, "the disk", serial


def _plan(entry: Entry[SoldFile], templates: Sequence[Entry[TemplateEntry]], names: Names) -> Iterator[Problem]:
    plan = entry.value
    if not isinstance(plan, MachinePlanFile):
        return
    for key in _BACKUPS:
        if key in plan.model_fields_set:
            yield entry.problem(key, "no backups are made of a machine, on which nothing of ours runs: leave it out")
    for position, name in enumerate(plan.templates):
        yield from known_name(entry, ("templates", position), name, names.templates, "template")
        if name in plan.templates[:position]:
            yield entry.problem(("templates", position), f"'{name}' is there twice")
        for template in templates:
            unfit = _unfit(template.value) if template.value.name == name else ""
            if unfit:
                yield entry.problem(("templates", position), f"template '{name}' {unfit}")
    if entry.sure("templates") and plan.default_template is not None and plan.default_template not in plan.templates:
        near = did_you_mean(plan.default_template, plan.templates)
        yield entry.problem("default_template", f"'{plan.default_template}' is not one of this plan's templates{near}")
    if plan.ipv4 + plan.ipv6 == 0:
        yield entry.problem("ipv4", "the machine would have no address: 'ipv4' and 'ipv6' are both 0")


def _unfit(template: TemplateEntry) -> str:
    """Why a machine cannot be installed from it. ``ready`` is of guests: a machine is up when its SSH server answers."""
    if template.format != "raw":
        return f"is {template.format}, and machines are written from a raw image: qemu-img convert -O raw, under another name"
    if template.kernel:
        return "is booted by a kernel of the node's, and a machine boots from its own disk"
    return "" if template.cloud_init else "reads no cloud-init seed, so that nobody could log in to the machine"


def _sold(
    entry: Entry[SoldFile], machines: Sequence[Entry[MachineEntry]], ranges: Sequence[Entry[RangeEntry]] | None
) -> Iterator[Problem]:
    """A class that no machine is of, and zones of it in which its machines would get no address. ``ranges`` None: not known."""
    plan = entry.value
    if not isinstance(plan, MachinePlanFile) or not machines:
        return
    if entry.sure("class"):
        classes = frozenset(machine.value.class_ for machine in machines)
        yield from known_name(entry, "class", plan.class_, classes, "machine of class")
    zones = {machine.value.zone for machine in machines if machine.value.class_ == plan.class_}
    if not entry.sure("zones", "class") or ranges is None:
        return
    for zone in sorted(zone for zone in zones if not plan.zones or zone in plan.zones):
        families = {span.value.network.version for span in ranges if span.value.zone == zone}
        for key, wanted, family in (("ipv4", plan.ipv4, 4), ("ipv6", plan.ipv6, 6)):
            if wanted and family not in families:
                yield entry.problem(key, f"zone '{zone}' has no IPv{family} range: give it one, name other 'zones', or set 0")
