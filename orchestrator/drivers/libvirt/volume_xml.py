"""Volumes and secrets as libvirt's XML, built and read; pure.

Elements as in https://libvirt.org/formatstorage.html and https://libvirt.org/formatsecret.html.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

from orchestrator.drivers.libvirt.guest_xml import parse, text_of

TAG = "orchestrator volume key: "  # begins the description of every secret of ours; pool and volume follow


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedVolume:
    """A volume's XML as plain values; sizes in bytes."""

    name: str
    path: str
    format: str
    capacity_bytes: int
    allocated_bytes: int
    backing_path: str
    encrypted: bool


def volume_xml(name: str) -> str:
    """An empty raw volume, which grows while it is written."""
    root = ET.Element("volume")
    _text(root, "name", name)
    _text(root, "capacity", "0", unit="bytes")
    _text(root, "allocation", "0", unit="bytes")
    target = ET.SubElement(root, "target")
    ET.SubElement(target, "format", {"type": "raw"})
    permissions = ET.SubElement(target, "permissions")
    _text(permissions, "mode", "0600")
    return text_of(root)


def read_volume(text: str) -> ParsedVolume:
    root = parse(text)
    format_ = root.find("target/format")
    return ParsedVolume(
        name=root.findtext("name", ""),
        path=root.findtext("target/path", ""),
        format="raw" if format_ is None else format_.get("type", "raw"),
        capacity_bytes=int(root.findtext("capacity", "0")),
        allocated_bytes=int(root.findtext("allocation", "0")),
        backing_path=root.findtext("backingStore/path", ""),
        encrypted=root.find("target/encryption") is not None,
    )


def secret_xml(*, pool: str, volume: str, path: str, uuid: str = "", lasting: bool = True) -> str:
    """A secret that is never given out again (private). ``lasting``: it stays on the node, as autostart needs no controller;
    else it is in libvirtd's memory alone."""
    root = ET.Element("secret", {"ephemeral": "no" if lasting else "yes", "private": "yes"})
    if uuid:
        _text(root, "uuid", uuid)
    _text(root, "description", f"{TAG}{pool}/{volume}")
    usage = ET.SubElement(root, "usage", {"type": "volume"})
    _text(usage, "volume", path)
    return text_of(root)


def secret_volume(text: str, *, pool: str) -> str:
    """The name of the volume of ``pool`` that a secret of ours belongs to, from the secret's XML; '' for any other secret."""
    description = parse(text).findtext("description", "")
    own, slash, volume = description.removeprefix(TAG).partition("/")
    return volume if description.startswith(TAG) and slash and own == pool else ""


def pool_path(text: str) -> str:
    """The directory of a pool, from its XML."""
    return parse(text).findtext("target/path", "")


def _text(parent: ET.Element, tag: str, value: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = value
