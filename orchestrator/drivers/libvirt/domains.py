"""Finding libvirt's domains and reading them as GuestFacts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import libvirt

from orchestrator.domain.errors import NotFound
from orchestrator.drivers.libvirt.connection import Session
from orchestrator.drivers.libvirt.errors import code_of
from orchestrator.drivers.libvirt.filter_xml import NO_MAIL
from orchestrator.drivers.libvirt.guest_xml import read_domain
from orchestrator.ports.hypervisor import GuestFacts, Power

# virDomainState. A guest that is shutting down, or blocked on its disk, still runs; one in S3 keeps its memory like a paused one.
_POWER = {
    libvirt.VIR_DOMAIN_NOSTATE: Power.RUNNING,
    libvirt.VIR_DOMAIN_RUNNING: Power.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: Power.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: Power.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: Power.RUNNING,
    libvirt.VIR_DOMAIN_SHUTOFF: Power.STOPPED,
    libvirt.VIR_DOMAIN_CRASHED: Power.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: Power.PAUSED,
}


def find(session: Session, name: str) -> Any:
    """The domain, or None where libvirt says that there is none of that name."""
    try:
        return session.conn.lookupByName(name)
    except libvirt.libvirtError as error:
        if code_of(error) == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def require(session: Session, name: str) -> Any:
    """The domain; raises NotFound."""
    domain = find(session, name)
    if domain is None:
        raise NotFound(f"there is no guest {name}")
    return domain


def power_state(domain: Any) -> Power:
    state, _reason = domain.state()
    return _POWER[state]


def domain_facts(domain: Any) -> GuestFacts:
    """What libvirt says of the domain now: the live definition where it runs."""
    power = power_state(domain)
    parsed = read_domain(domain.XMLDesc())
    starts_as = parsed if power is Power.STOPPED else read_domain(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    return GuestFacts(
        name=parsed.name,
        uuid=parsed.uuid,
        power=power,
        autostart=bool(domain.autostart()),
        mark=parsed.mark,
        vcpus=parsed.vcpus,
        memory_bytes=parsed.memory_bytes,
        cpu_percent=parsed.cpu_percent,
        disks=tuple(replace(disk, capacity_bytes=_capacity(domain, disk.target)) for disk in parsed.disks),
        mac=parsed.mac,
        bridge=parsed.bridge,
        addresses=parsed.addresses,
        filter_name=parsed.filter_name,
        mail_out=parsed.filter_name != NO_MAIL,
        mail_out_at_start=starts_as.filter_name != NO_MAIL,
        network_bytes_per_second=parsed.network_bytes_per_second,
        network_at_start=starts_as.network_bytes_per_second,
        vcpus_at_start=starts_as.vcpus,
        memory_at_start=starts_as.memory_bytes,
        vcpus_most=parsed.vcpus_most,
        managed_save=bool(domain.hasManagedSaveImage()),
        agent_connected=parsed.agent_connected,
        record=parsed.record,
    )


def _capacity(domain: Any, target: str) -> int:
    """Bytes that the guest sees on the disk; 0 where it cannot be read (the file is gone, the drive empty)."""
    try:
        capacity: int = domain.blockInfo(target)[0]
    except libvirt.libvirtError:
        return 0
    return capacity
