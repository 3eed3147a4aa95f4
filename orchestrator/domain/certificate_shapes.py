"""What the certificates look like: their formats, and what is wrong with one that does not look so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMAT = "orchestrator/wipe-certificate"
ERASURE = "orchestrator/erasure-certificate"
LOST = "orchestrator/lost-node-statement"
VERSION = 1
ALGORITHM = "Ed25519"

# What the members must be; a member of this table may not be left out.
SHAPE: dict[str, type | tuple[type, ...]] = {
    "format": str,
    "version": int,
    "id": str,
    "provider": str,
    "service": str,
    "client": str,
    "guest": str,
    "nodes": list,
    "volumes": list,
    "keys_destroyed": list,
    "residue": dict,
    "asked_by": str,
    "reason": str,
    "approved_by": str,
    "job": str,
    "issued_at": str,
    "key": dict,
}
VOLUME_SHAPE: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "node": str,
    "path": str,
    "method": str,
    "bytes": int,
    "bytes_overwritten": int,
    "verified": bool,
    "medium": dict,
    "limits": list,
    "samples": list,
    "started_at": str,
    "finished_at": str,
}
# One that was issued before there were archives names no copies.
COPY_SHAPE: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "reached_from": str,
    "bytes": int,
    "sha256": list,
    "kept_at": str,
    "until": str,
}
# One that was issued before there were backups has none.
BACKUP_SHAPE: dict[str, type | tuple[type, ...]] = {
    "generation": int,
    "target": str,
    "state": str,
    "snapshots": list,
    "key_destroyed_at": str,
    "why": str,
    "seen": list,
}
ARCHIVE_SHAPE: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "kept_from": str,
    "volumes": list,
    "bytes": int,
    "kept_at": str,
    "destroyed_at": str,
    "limits": list,
}
ERASURE_SHAPE: dict[str, type | tuple[type, ...]] = {
    name: kind for name, kind in SHAPE.items() if name not in ("guest", "volumes", "keys_destroyed")
} | {"archive": dict}
LOST_SHAPE: dict[str, type | tuple[type, ...]] = {
    "format": str,
    "version": int,
    "id": str,
    "provider": str,
    "node": dict,
    "stated_by": str,
    "reason": str,
    "statement": str,
    "services": list,
    "limits": list,
    "issued_at": str,
    "key": dict,
}
RELEASED_SHAPE: dict[str, type | tuple[type, ...]] = {"service": str, "state": str, "guest": str, "disk": str}
SHAPES = {FORMAT: SHAPE, ERASURE: ERASURE_SHAPE, LOST: LOST_SHAPE}
INNER = {"volumes": VOLUME_SHAPE, "copies": COPY_SHAPE, "backups": BACKUP_SHAPE, "services": RELEASED_SHAPE}
_ONE = {"volumes": "volume", "copies": "copy", "backups": "backup", "services": "service"}


def problems(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """What is wrong with the shape, one sentence each; the signature is not looked at beyond its shape."""
    shape = SHAPES.get(str(certificate.get("format")))
    if shape is None:
        return (f"this is not a wipe certificate: its format is not '{FORMAT}', nor '{ERASURE}', nor '{LOST}'",)
    if certificate.get("version") != VERSION:
        return (f"version {certificate.get('version')!r} is not known to this software, which knows {VERSION}",)
    found = _wrong(certificate, shape, "the certificate")
    for members, inner in INNER.items():
        given = certificate.get(members, [])
        for number, item in enumerate(given if isinstance(given, list) else []):
            where = f"{_ONE[members]} {number}"
            found += _wrong(item, inner, where) if isinstance(item, dict) else [f"{where} is no object"]
    if isinstance(certificate.get("node"), dict):
        found += _wrong(certificate["node"], {"name": str}, "the node")
    if isinstance(certificate.get("archive"), dict):
        found += _wrong(certificate["archive"], ARCHIVE_SHAPE, "the archive")
    optional = [members for members in INNER if members not in shape]
    found += [f"the certificate: {each} is malformed" for each in optional if not isinstance(certificate.get(each, []), list)]
    if not isinstance(certificate.get("signature"), dict):
        found.append("it is not signed")
    elif certificate["signature"].get("algorithm") != ALGORITHM:
        found.append(f"its signature is not made with {ALGORITHM}")
    return tuple(found)


def _wrong(item: Mapping[str, Any], shape: Mapping[str, type | tuple[type, ...]], where: str) -> list[str]:
    missing = [f"{where} has no {name}" for name in shape if name not in item]
    return missing + [
        f"{where}: {name} is malformed" for name, kind in shape.items() if name in item and not isinstance(item[name], kind)
    ]
