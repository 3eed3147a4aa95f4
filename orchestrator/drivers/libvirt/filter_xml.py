"""The anti-spoofing filter of every guest, as libvirt's nwfilter XML; pure.

libvirt's own ``clean-traffic`` covers MAC, ARP and IPv4, and drops every protocol it does not name, IPv6 with it. This filter
stands around it: it lets IPv6 through after checking its source, and drops what the stock filters let pass: router
advertisements and redirects, and answers of DHCP servers. Elements as in https://libvirt.org/formatnwfilter.html.

Outgoing mail is one rule more in a filter around that one, so that a guest has either the one or the other; it looks at each
packet by itself, so that connections that stand end with it, too.

The payload of neighbour advertisements cannot be matched by libvirt's filters: their *source address* is checked, the
address that they advertise is not.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from ipaddress import IPv6Address

FILTER_NAME = "orch-guard"
NO_MAIL = "orch-guard-no-mail"
SMTP = 25
_V4, _V6 = "orch-guard-ipv4", "orch-guard-ipv6"
NO_IPV4 = "255.255.255.255"  # the source that a guest without IPv4 may use: every receiver drops it (RFC 1122, 3.2.1.3)
STOCK = ("clean-traffic", "no-ipv6-spoofing")

# A frame that reaches the end of a chain without a verdict is *let through* where ebtables is the one of nftables, as on Debian,
# and no later chain sees it: so every chain of ours ends in a rule that decides.
#
# Chains and the rules of the root chain run by priority. clean-traffic's IPv4 chain has -710 and IPv4 is accepted at -650; that
# of no-ipv6-spoofing has -610; everything not accepted by then is dropped at 1000.
_MAIL, _V4_PRIORITY, _V6_PRIORITY, _ACCEPT_IPV6 = "-730", "-720", "-620", "-600"
_IDS = {
    FILTER_NAME: "6f8f7a0e-3a43-4d5b-9a6c-7d0a5f3f1c01",
    _V4: "6f8f7a0e-3a43-4d5b-9a6c-7d0a5f3f1c02",
    _V6: "6f8f7a0e-3a43-4d5b-9a6c-7d0a5f3f1c03",
    NO_MAIL: "6f8f7a0e-3a43-4d5b-9a6c-7d0a5f3f1c04",
}


def filter_names() -> tuple[str, ...]:
    """Our filters, in the order they have to be defined: each refers to those before it."""
    return (_V4, _V6, FILTER_NAME, NO_MAIL)


def filter_of(*, mail_out: bool) -> str:
    """The filter on the interface of a guest that may send mail, or may not."""
    return FILTER_NAME if mail_out else NO_MAIL


def filter_xml(name: str, *, uuid: str = "") -> str:
    """One of our filters. ``uuid``: that of a standing filter of this name, which libvirt wants to see again."""
    root = {_V4: _ipv4, _V6: _ipv6, FILTER_NAME: _guard, NO_MAIL: _no_mail}[name]()
    identifier = ET.Element("uuid")
    identifier.text = uuid or _IDS[name]
    root.insert(0, identifier)
    return ET.tostring(root, encoding="unicode")


def _guard() -> ET.Element:
    root = ET.Element("filter", {"name": FILTER_NAME, "chain": "root"})
    for part in (_V4, _V6, "no-ipv6-spoofing", "clean-traffic"):
        ET.SubElement(root, "filterref", {"filter": part})
    _rule(root, "accept", "inout", _ACCEPT_IPV6, "mac", protocolid="ipv6")
    return root


def _no_mail() -> ET.Element:
    """Nothing to port 25 of others (RFC 5321, 4.5.4.2), before anything is accepted; all else as the other filter says.

    Of a datagram in fragments the first has the port: without it the others are worth nothing.
    """
    root = ET.Element("filter", {"name": NO_MAIL, "chain": "root"})
    for layer in ("ip", "ipv6"):
        _rule(root, "drop", "out", _MAIL, layer, protocol="tcp", dstportstart=str(SMTP))
    ET.SubElement(root, "filterref", {"filter": FILTER_NAME})
    return root


def _ipv4() -> ET.Element:
    """No answers of a DHCP server (RFC 2131, 4.1: from port 67, to port 68), and no source but the guest's own addresses.

    The stock filter also lets UDP from 0.0.0.0 pass, for DHCP clients; our guests have static addresses and need none.
    """
    root = ET.Element("filter", {"name": _V4, "chain": "ipv4-orch", "priority": _V4_PRIORITY})
    _rule(root, "drop", "out", "100", "ip", protocol="udp", srcportstart="67")
    _rule(root, "drop", "out", "100", "ip", protocol="udp", dstportstart="68")
    _rule(root, "return", "out", "500", "ip", srcipaddr="$IP")
    ET.SubElement(root, "rule", {"action": "drop", "direction": "out", "priority": "1000"})
    return root


def _ipv6() -> ET.Element:
    """No router's words, no DHCPv6 server's, and no source but the guest's own addresses.

    The stock filter lets UDP pass from any link-local address; this one does not.
    """
    root = ET.Element("filter", {"name": _V6, "chain": "ipv6-orch", "priority": _V6_PRIORITY})
    _rule(root, "drop", "out", "100", "ipv6", protocol="icmpv6", type="134")  # router advertisement, RFC 4861
    _rule(root, "drop", "out", "100", "ipv6", protocol="icmpv6", type="137")  # redirect
    _rule(root, "drop", "out", "100", "ipv6", protocol="udp", srcportstart="547")  # DHCPv6 server, RFC 8415
    _rule(root, "drop", "out", "100", "ipv6", protocol="udp", dstportstart="546")
    _rule(root, "return", "out", "500", "ipv6", srcipaddr="$IPV6")
    ET.SubElement(root, "rule", {"action": "drop", "direction": "out", "priority": "1000"})
    return root


def _rule(root: ET.Element, action: str, direction: str, priority: str, layer: str, **match: str) -> None:
    rule = ET.SubElement(root, "rule", {"action": action, "direction": direction, "priority": priority})
    ET.SubElement(rule, layer, match)


def link_local(mac: str) -> IPv6Address:
    """The link-local address that follows from a MAC (modified EUI-64: RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes((octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:6]))
    return IPv6Address(b"\xfe\x80" + bytes(6) + identifier)
