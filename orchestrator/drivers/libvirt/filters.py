"""Our network filters on a node, and which of them is on a guest's interface."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import libvirt

from orchestrator.domain.errors import NotFound, WrongState
from orchestrator.drivers.libvirt.connection import Session
from orchestrator.drivers.libvirt.domains import power_state
from orchestrator.drivers.libvirt.errors import code_of, translated
from orchestrator.drivers.libvirt.filter_xml import FILTER_NAME, NO_MAIL, STOCK, filter_names, filter_xml
from orchestrator.drivers.libvirt.guest_xml import parse, text_of
from orchestrator.ports.hypervisor import Power


def define_filters(session: Session) -> None:
    """Bring our filters to the node, or back to what they must be; libvirt does nothing where they are the same already."""
    standing = {guard.name(): guard.UUIDString() for guard in session.conn.listAllNWFilters()}
    missing = [name for name in STOCK if name not in standing]
    if missing:
        raise NotFound(
            f"libvirt's network filter {' and '.join(missing)} is missing on the node",
            hint="install the package libvirt-daemon-config-nwfilter",
        )
    for name in filter_names():
        with translated(f"defining the network filter {name}"):
            session.conn.nwfilterDefineXML(filter_xml(name, uuid=standing.get(name, "")))


def change_filter(domain: Any, name: str) -> None:
    """Put that filter of ours in the place of another, in the persistent definition and then on the guest that runs.

    libvirt takes the rules of the old filter away before it sets those of the new one. The guest is halted meanwhile: else it
    could send whatever it likes for that long. Raises WrongState where none of ours is on its interface.
    """
    defined = _with_filter(domain, libvirt.VIR_DOMAIN_XML_INACTIVE, name)
    if defined is not None:
        domain.updateDeviceFlags(text_of(defined), libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    if not domain.isActive():
        return
    try:
        live = _with_filter(domain, 0, name)
        if live is not None:
            _while_halted(domain, text_of(live))
    except libvirt.libvirtError as error:
        # It stopped meanwhile, and starts as it is defined.
        if code_of(error) != libvirt.VIR_ERR_OPERATION_INVALID or domain.isActive():
            raise


def _with_filter(domain: Any, flags: int, name: str) -> ET.Element | None:
    """The guest's interface with that filter; None where it has it."""
    interface = parse(domain.XMLDesc(flags)).find("devices/interface")
    guard = None if interface is None else interface.find("filterref")
    if interface is None or guard is None or guard.get("filter") not in (FILTER_NAME, NO_MAIL):
        raise WrongState(
            f"no network filter of ours is on the interface of {domain.name()}",
            hint="a guest that was taken in has one when it is installed anew, or moved",
        )
    if guard.get("filter") == name:
        return None
    guard.set("filter", name)
    return interface


def _while_halted(domain: Any, interface: str) -> None:
    runs = power_state(domain) is Power.RUNNING
    if runs:
        domain.suspend()
    try:
        domain.updateDeviceFlags(interface, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    finally:
        if runs:
            domain.resume()
