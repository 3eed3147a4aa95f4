"""The seed image that cloud-init reads at a guest's boots (NoCloud): names, keys, addresses.

Pure: the same input gives the same bytes, so that a seed on a node can be recognised by its hash.
Everything is written as JSON, which is YAML too, so that nothing a customer typed can change the structure of a file.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import pycdlib

from orchestrator.domain.plans import Lease

VOLUME_LABEL = "CIDATA"
SECTOR = 2048
FIRST_DESCRIPTOR = 16
DESCRIPTOR_END = 255
# 1 January 2000, midnight UTC, as ECMA-119 8.4.26.1 and 9.1.5 write it.
LONG_DATE = b"2000010100000000\0"
SHORT_DATE = bytes([100, 1, 1, 0, 0, 0, 0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """``instance_id`` is new for every guest that is made, or cloud-init would take it for one that it has set up before."""

    instance_id: str
    hostname: str
    ssh_keys: tuple[str, ...]
    password_hash: str
    lease: Lease


def meta_data(seed: Seed) -> dict[str, Any]:
    return {"instance-id": seed.instance_id, "local-hostname": seed.hostname}


def user_data(seed: Seed) -> str:
    """cloud-config: the template's own host keys are deleted, the disk's file system grows into what was sold."""
    config: dict[str, Any] = {
        "hostname": seed.hostname.partition(".")[0],
        "fqdn": seed.hostname,
        "prefer_fqdn_over_hostname": True,
        "manage_etc_hosts": True,
        "ssh_deletekeys": True,
        "disable_root": False,
        "ssh_pwauth": False,
        "ssh_authorized_keys": list(seed.ssh_keys),
        "users": [{"name": "root", "lock_passwd": not seed.password_hash, "ssh_authorized_keys": list(seed.ssh_keys)}],
        "growpart": {"mode": "auto", "devices": ["/"]},
        "resize_rootfs": True,
    }
    if seed.password_hash:
        config["chpasswd"] = {"expire": False, "users": [{"name": "root", "password": seed.password_hash, "type": "hash"}]}
    return "#cloud-config\n" + _json(config)


def network_config(lease: Lease) -> dict[str, Any]:
    """Version 2 (netplan's): one interface, found by its MAC, static addresses only."""
    interface: dict[str, Any] = {
        "match": {"macaddress": lease.mac.lower()},
        "dhcp4": False,
        "dhcp6": False,
        "accept-ra": False,
        "addresses": [*(str(i) for i in lease.ipv4), *(str(i) for i in lease.ipv6)],
    }
    routes = [
        {"to": to, "via": str(via)} for to, via in (("0.0.0.0/0", lease.gateway4), ("::/0", lease.gateway6)) if via is not None
    ]
    if routes:
        interface["routes"] = routes
    if lease.dns:
        interface["nameservers"] = {"addresses": list(lease.dns)}
    return {"version": 2, "ethernets": {"primary": interface}}


def files(seed: Seed) -> dict[str, str]:
    """What NoCloud reads, by name; ASCII."""
    return {
        "meta-data": _json(meta_data(seed)),
        "network-config": _json(network_config(seed.lease)),
        "user-data": user_data(seed),
    }


def image(seed: Seed) -> bytes:
    """The ISO 9660 image with the three files, named by Joliet and Rock Ridge, labelled as NoCloud looks for it."""
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=VOLUME_LABEL)
    for name, text in files(seed).items():
        content = text.encode("ascii")
        plain = f"/{name.upper().replace('-', '_')}.;1"
        iso.add_fp(io.BytesIO(content), len(content), plain, rr_name=name, joliet_path=f"/{name}")
    out = io.BytesIO()
    iso.write_fp(out)
    iso.close()
    return _timeless(bytearray(out.getvalue()))


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True) + "\n"


def _timeless(iso: bytearray) -> bytes:
    """The image with one date everywhere: the library writes the present time, and the bytes must not depend on it."""
    for descriptor in range(FIRST_DESCRIPTOR, len(iso) // SECTOR):
        at = descriptor * SECTOR
        if iso[at] == DESCRIPTOR_END:
            break
        # ECMA-119 8.4.26 to 8.4.29: created, modified, expires, effective.
        iso[at + 813 : at + 881] = LONG_DATE * 4
        _timeless_record(iso, at + 156)
        first, size = (int.from_bytes(iso[at + 156 + o : at + 160 + o], "little") for o in (2, 10))
        _timeless_directory(iso, first * SECTOR, size)
    return bytes(iso)


def _timeless_directory(iso: bytearray, start: int, size: int) -> None:
    """All records of one directory; a length of 0 means that the next record is in the next sector (ECMA-119 6.8.1.1)."""
    at = start
    while at < start + size:
        if iso[at] == 0:
            at = (at // SECTOR + 1) * SECTOR
            continue
        _timeless_record(iso, at)
        at += iso[at]


def _timeless_record(iso: bytearray, at: int) -> None:
    """A directory record (ECMA-119 9.1) and the times that Rock Ridge keeps in its system use fields (entry TF)."""
    iso[at + 18 : at + 25] = SHORT_DATE
    name_length = iso[at + 32]
    field = at + 33 + name_length + (name_length + 1) % 2
    while field + 4 <= at + iso[at] and iso[field + 2] >= 4:
        if iso[field : field + 2] == b"TF":
            times = (iso[field + 2] - 5) // len(SHORT_DATE)
            iso[field + 5 : field + 5 + times * len(SHORT_DATE)] = SHORT_DATE * times
        field += iso[field + 2]
