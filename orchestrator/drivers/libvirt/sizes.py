"""Sizes of guests through libvirt: in the definition first, so that a guest that is started in between starts as is wanted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import libvirt

from orchestrator.domain.errors import NotFound, WrongState
from orchestrator.domain.sizes import size_words
from orchestrator.drivers.libvirt.connection import Connection, Session
from orchestrator.drivers.libvirt.domains import domain_facts, require
from orchestrator.drivers.libvirt.errors import code_of
from orchestrator.drivers.libvirt.guest_xml import CPU_PERIOD, read_domain
from orchestrator.ports.guest_sizes import GuestSize
from orchestrator.ports.hypervisor import GuestDisk, GuestFacts

LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
_KIB = 1024


class LibvirtSizes:
    """The GuestSizes of one node. The connection is shared with its LibvirtHypervisor, and not closed here."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def resize(self, name: str, size: GuestSize, *, deadline: float) -> GuestFacts:
        def work(session: Session) -> GuestFacts:
            domain = require(session, name)
            _define(domain, size)
            if domain.isActive():
                with _unless_it_stopped():
                    _limit(domain, size, LIVE)
                    _plug(domain, size.vcpus)
            return domain_facts(domain)

        return self._connection.run(f"resizing {name}", work, deadline=deadline)

    def grow(self, name: str, capacity_bytes: int, *, deadline: float) -> GuestFacts:
        def work(session: Session) -> GuestFacts:
            domain = require(session, name)
            disk = _disk(domain)
            found: int = domain.blockInfo(disk.target)[0]
            if found > capacity_bytes:
                raise WrongState(f"the disk of {name} has {size_words(found)} already: it is not made smaller")
            if found < capacity_bytes and domain.isActive():
                domain.blockResize(disk.target, capacity_bytes, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
            elif found < capacity_bytes:
                session.conn.storageVolLookupByPath(disk.path).resize(capacity_bytes, 0)
            return domain_facts(domain)

        return self._connection.run(f"growing the disk of {name}", work, deadline=deadline)


def _define(domain: Any, size: GuestSize) -> None:
    """What its next start gives it. A maximum is never below what is current: so which of them goes first depends."""
    _limit(domain, size, CONFIG)
    defined = read_domain(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    vcpus = [(size.vcpus, 0), (max(size.vcpus, size.vcpus_most), libvirt.VIR_DOMAIN_VCPU_MAXIMUM)]
    for count, which in vcpus if size.vcpus <= defined.vcpus else vcpus[::-1]:
        domain.setVcpusFlags(count, CONFIG | which)
    memory = [(size.memory_bytes, 0), (size.memory_bytes, libvirt.VIR_DOMAIN_MEM_MAXIMUM)]
    for amount, which in memory if size.memory_bytes <= defined.memory_bytes else memory[::-1]:
        domain.setMemoryFlags(amount // _KIB, CONFIG | which)


def _limit(domain: Any, size: GuestSize, where: int) -> None:
    """The processor's share and the disk's rates. A quota of -1 is none, and so are rates of 0."""
    quota = size.cpu_percent * CPU_PERIOD // 100 or -1
    domain.setSchedulerParametersFlags({"vcpu_period": CPU_PERIOD, "vcpu_quota": quota}, where)
    rates = {"total_bytes_sec": size.disk_bytes_per_second, "total_iops_sec": size.disk_iops}
    domain.setBlockIoTune(_disk(domain).target, rates, where)


def _plug(domain: Any, vcpus: int) -> None:
    """As many as it runs with, where that can be: else it waits for its next start. A guest may keep what it should let go of."""
    runs = read_domain(domain.XMLDesc())
    if vcpus == runs.vcpus or vcpus > runs.vcpus_most:
        return
    try:
        domain.setVcpusFlags(vcpus, LIVE)
    except libvirt.libvirtError as error:
        if code_of(error) not in (
            libvirt.VIR_ERR_OPERATION_TIMEOUT,
            libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
            libvirt.VIR_ERR_OPERATION_FAILED,
            libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        ):
            raise


@contextlib.contextmanager
def _unless_it_stopped() -> Iterator[None]:
    """One that is off by now starts as it is defined."""
    try:
        yield
    except libvirt.libvirtError as error:
        if code_of(error) != libvirt.VIR_ERR_OPERATION_INVALID:
            raise


def _disk(domain: Any) -> GuestDisk:
    """The first that can be written to. Raises NotFound where it has none."""
    disks = read_domain(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)).disks
    found = next((disk for disk in disks if not disk.read_only), None)
    if found is None:
        raise NotFound(f"{domain.name()} has no disk")
    return found
