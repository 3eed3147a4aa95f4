"""Guests on a node through libvirt."""

from __future__ import annotations

from typing import Any

import libvirt

from orchestrator.domain.errors import AlreadyExists, WrongState
from orchestrator.drivers.libvirt import power as power_of
from orchestrator.drivers.libvirt.connection import Connection, Session
from orchestrator.drivers.libvirt.domains import domain_facts, find, require
from orchestrator.drivers.libvirt.errors import code_of
from orchestrator.drivers.libvirt.filter_xml import filter_of
from orchestrator.drivers.libvirt.filters import change_filter, define_filters
from orchestrator.drivers.libvirt.guest_xml import (
    NAMESPACE,
    PREFIX,
    RECORD_NAMESPACE,
    RECORD_PREFIX,
    Machine,
    ParsedGuest,
    domain_xml,
    kilobytes,
    mark_xml,
    parse,
    read_domain,
    record_xml,
)
from orchestrator.drivers.libvirt.host import machine_of, version_text
from orchestrator.drivers.libvirt.pools import open_pool, refresh_now
from orchestrator.ports.hypervisor import GuestDefinition, GuestFacts, GuestMark, NodeFacts, PowerAction, SignedRecord

UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)


class LibvirtHypervisor:
    """The Hypervisor of one node; ``pool`` is the storage pool that ``node_facts`` reports on.

    The connection may be shared with the node's LibvirtVolumes, and used from many threads.
    """

    def __init__(self, connection: Connection, *, pool: str) -> None:
        self._connection = connection
        self._pool = pool
        self._machine: Machine | None = None  # what the hardware can does not change while a process runs

    def node_facts(self, *, deadline: float) -> NodeFacts:
        return self._connection.run("asking for the node's facts", self._node_facts, deadline=deadline)

    def _node_facts(self, session: Session) -> NodeFacts:
        conn = session.conn
        model, _memory_mib, cpus, mhz, nodes, sockets, cores, threads = conn.getInfo()
        pool = open_pool(session, self._pool)
        refresh_now(pool)  # else libvirt tells what was free when somebody last asked
        _state, capacity, _allocation, available = pool.info()
        return NodeFacts(
            hostname=conn.getHostname(),
            cpus=cpus,
            memory_bytes=int(conn.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)["total"]) * 1024,
            pool_capacity_bytes=capacity,
            pool_available_bytes=available,
            accelerated=self._machine_of(session).accelerated,
            libvirt_version=version_text(conn.getLibVersion()),
            hypervisor_version=version_text(conn.getVersion()),
            guests=len(conn.listAllDomains()),
            pool_path=parse(pool.XMLDesc()).findtext("target/path", ""),
            details={"cpu_model": model, "mhz": mhz, "numa_nodes": nodes, "sockets": sockets, "cores": cores, "threads": threads},
        )

    def guests(self, *, deadline: float) -> tuple[GuestFacts, ...]:
        def work(session: Session) -> tuple[GuestFacts, ...]:
            found = (_facts_or_none(domain) for domain in session.conn.listAllDomains())
            return tuple(sorted((facts for facts in found if facts is not None), key=lambda facts: facts.name))

        return self._connection.run("listing the guests", work, deadline=deadline)

    def guest(self, name: str, *, deadline: float) -> GuestFacts | None:
        def work(session: Session) -> GuestFacts | None:
            domain = find(session, name)
            return None if domain is None else _facts_or_none(domain)

        return self._connection.run(f"looking at {name}", work, deadline=deadline)

    def define(self, definition: GuestDefinition, *, deadline: float) -> GuestFacts:
        def work(session: Session) -> GuestFacts:
            standing = _refuse_foreign(session, definition)
            define_filters(session)
            mark, record = (None, None) if standing is None else (standing.mark, standing.record)
            xml = domain_xml(definition.over(mark), self._machine_of(session), record=record)
            return domain_facts(session.conn.defineXML(xml))

        return self._connection.run(f"defining {definition.name}", work, deadline=deadline)

    def power(self, name: str, action: PowerAction, *, deadline: float) -> GuestFacts:
        return power_of.act(self._connection, name, action, deadline=deadline)

    def mark(self, name: str, mark: GuestMark, *, autostart: bool, deadline: float) -> GuestFacts:
        def work(session: Session) -> GuestFacts:
            domain = require(session, name)
            _set_metadata(domain, mark_xml(mark), PREFIX, NAMESPACE)
            domain.setAutostart(1 if autostart else 0)
            return domain_facts(domain)

        return self._connection.run(f"marking {name}", work, deadline=deadline)

    def keep_record(self, name: str, record: SignedRecord, *, deadline: float) -> None:
        def work(session: Session) -> None:
            _set_metadata(require(session, name), record_xml(record), RECORD_PREFIX, RECORD_NAMESPACE)

        self._connection.run(f"keeping the record of {name}", work, deadline=deadline)

    def set_network_rate(self, name: str, bytes_per_second: int, *, deadline: float) -> GuestFacts:
        def work(session: Session) -> GuestFacts:
            domain = require(session, name)
            _set_rate(domain, bytes_per_second)
            return domain_facts(domain)

        return self._connection.run(f"setting the network rate of {name}", work, deadline=deadline)

    def set_mail(self, name: str, *, out: bool, deadline: float) -> GuestFacts:
        def work(session: Session) -> GuestFacts:
            domain = require(session, name)
            define_filters(session)
            change_filter(domain, filter_of(mail_out=out))
            return domain_facts(domain)

        return self._connection.run(f"setting the outgoing mail of {name}", work, deadline=deadline)

    def undefine(self, name: str, *, deadline: float) -> None:
        def work(session: Session) -> None:
            domain = find(session, name)
            if domain is None:
                return
            if domain.isActive():
                raise WrongState(f"{name} still runs; it must be stopped before it is removed")
            try:
                domain.undefineFlags(UNDEFINE)
            except libvirt.libvirtError as error:
                if code_of(error) != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
            # Started by somebody between the two calls it would live on, undefined and unseen.
            if find(session, name) is not None:
                raise WrongState(f"{name} was started while it was being removed; it must be stopped first")

        self._connection.run(f"removing {name}", work, deadline=deadline)

    def agent_ping(self, name: str, *, deadline: float) -> bool:
        return power_of.agent_ping(self._connection, name, deadline=deadline)

    def close(self) -> None:
        self._connection.close()

    def _machine_of(self, session: Session) -> Machine:
        if self._machine is None:
            self._machine = machine_of(session.conn)
        return self._machine


def _facts_or_none(domain: Any) -> GuestFacts | None:
    """The guest's facts; None where it went away meanwhile."""
    try:
        return domain_facts(domain)
    except libvirt.libvirtError as error:
        if code_of(error) == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _refuse_foreign(session: Session, definition: GuestDefinition) -> ParsedGuest | None:
    """Raise AlreadyExists where name or uuid belong to another guest than the one to be defined; that one as it is there."""
    standing: ParsedGuest | None = None
    for domain in session.conn.listAllDomains():
        same_name, same_uuid = domain.name() == definition.name, domain.UUIDString() == definition.uuid
        if same_name and not same_uuid:
            raise AlreadyExists(f"a guest named {definition.name} is there with another uuid")
        if same_uuid and not same_name:
            raise AlreadyExists(f"another guest has the uuid {definition.uuid}")
        if same_name:
            standing = read_domain(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            if standing.mark is None or standing.mark.service_id != definition.mark.service_id:
                raise AlreadyExists(f"a guest named {definition.name} is there and belongs to somebody else")
    return standing


def _set_metadata(domain: Any, element: str, prefix: str, namespace: str) -> None:
    """Replace one of our elements in the persistent definition, and in the running guest where there is one."""
    for attempt in (1, 2):
        live = libvirt.VIR_DOMAIN_AFFECT_LIVE if domain.isActive() else 0
        try:
            domain.setMetadata(
                libvirt.VIR_DOMAIN_METADATA_ELEMENT, element, prefix, namespace, live | libvirt.VIR_DOMAIN_AFFECT_CONFIG
            )
        except libvirt.libvirtError as error:
            # It may have stopped between the two calls: then once more, without the running part.
            if attempt == 2 or code_of(error) != libvirt.VIR_ERR_OPERATION_INVALID:
                raise
        else:
            return


def _set_rate(domain: Any, rate: int) -> None:
    """The rate of the guest's interface in each direction. An average of 0 takes the limit away.

    libvirt's binding sets one definition a call. The persistent one goes first: a guest that is started in between starts as
    is wanted, and one that is stopped needs no more.
    """
    ways = {f"{way}.average": kilobytes(rate) for way in ("inbound", "outbound")}
    interface = read_domain(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)).mac  # it names it in both
    domain.setInterfaceParameters(interface, ways, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    if not domain.isActive():
        return
    try:
        domain.setInterfaceParameters(interface, ways, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        if code_of(error) != libvirt.VIR_ERR_OPERATION_INVALID:
            raise
