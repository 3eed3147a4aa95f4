"""The wipe certificate: what was destroyed, how, where, who asked and who approved, in a form that a third party can check.

A JSON object; of the erasure of what was kept there is one of its own (``domain.erasures``), checked in the same way. The
signature (Ed25519, RFC 8032) covers the canonical JSON of everything but the member ``signature``; the
public key is embedded, so that a check needs no network, and named by its id, so that it can be compared with one published.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from orchestrator.domain.backups.copies import KEYS, STATE, KnownCopy
from orchestrator.domain.canonical import canonical_json
from orchestrator.domain.certificate_shapes import ALGORITHM, ERASURE, FORMAT, LOST, VERSION, problems
from orchestrator.domain.errors import PermanentDriverError

DESTROYED = "destroyed"
GONE = "It was removed by whoever may delete there, seen to be gone, and its key, tried once more, found no repository."
NOT_FOUND = "It was not found when it was to be destroyed: what may be left of it opens to nobody without its key."
KEY_GONE = "Its key is wiped from the store."
_COPIES = {KEYS: "a copy of keys may be kept", STATE: "a copy of the controller's state is kept"}

# Checks an Ed25519 signature: (public key of 32 bytes, payload, signature of 64 bytes) -> whether it holds.
Check = Callable[[bytes, bytes, bytes], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class WipedVolume:
    """One volume as the node's wipe reported it. ``bytes`` it occupied; ``limits``: sentences on what the method cannot reach.

    ``samples``: places read back, each {device_offset, length, sha256_before, sha256_after}. Times as the node wrote them.
    """

    name: str
    node: str
    path: str
    method: str
    bytes: int
    bytes_overwritten: int
    verified: bool
    medium: dict[str, Any]
    limits: tuple[str, ...]
    samples: tuple[dict[str, Any], ...]
    started_at: str
    finished_at: str

    @classmethod
    def from_report(cls, report: Mapping[str, Any], *, name: str, node: str) -> WipedVolume:
        """Out of the result of the agent's ``volume-wipe``; raises PermanentDriverError where something is missing."""
        try:
            return cls(
                name=name,
                node=node,
                path=str(report["path"]),
                method=str(report["method"]),
                bytes=int(report["allocated_bytes"]),
                bytes_overwritten=int(report["bytes_overwritten"]),
                verified=bool(report.get("verified", bool(report["samples"]))),
                medium=dict(report["medium"]),
                limits=tuple(str(sentence) for sentence in report["limits"]),
                samples=tuple(dict(sample) for sample in report["samples"]),
                started_at=str(report["started_at"]),
                finished_at=str(report["finished_at"]),
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise PermanentDriverError(
                f"the report on wiping {name} cannot be certified: {exc!r} is missing or malformed", volume=name, node=node
            ) from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidueCheck:
    """What was found of the service on one node at the end; nothing found = clean. ``unreached``: why nobody could look."""

    node: str
    checked_at: datetime
    found: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unreached: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedBackups:
    """One repository of the service's backups that is destroyed (``state`` destroyed), or was not there and is given up
    (``given-up``); either way its key is destroyed since ``key_destroyed_at``. ``snapshots``: those that went with it."""

    generation: int
    target: str
    state: str
    snapshots: tuple[str, ...]
    key_destroyed_at: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wipe:
    """Everything a certificate says. ``asked_by`` names the event or operator, ``approved_by`` who or what let it through.

    ``keys_destroyed``: the secrets of encrypted volumes that were destroyed on the node. ``backups``: every repository that there
    was. ``copies``: every other copy that is known, of data or of keys. Times UTC.
    """

    certificate_id: str
    provider: str
    service_id: str
    client_id: str
    guest: str
    job_id: str
    asked_by: str
    reason: str
    approved_by: str
    volumes: Sequence[WipedVolume]
    residue: Sequence[ResidueCheck]
    issued_at: datetime
    keys_destroyed: Sequence[str] = ()
    backups: Sequence[EndedBackups] = ()
    copies: Sequence[KnownCopy] = ()


def certificate_id(job_id: str) -> str:
    """The id of the one certificate that a job can give."""
    return f"wipe-{job_id}"


def build(wipe: Wipe, *, public_key: bytes) -> dict[str, Any]:
    """The certificate, not yet signed, for the key it will be signed with (raw, 32 bytes)."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "id": wipe.certificate_id,
        "provider": wipe.provider,
        "service": wipe.service_id,
        "client": wipe.client_id,
        "guest": wipe.guest,
        "nodes": sorted({check.node for check in wipe.residue} | {volume.node for volume in wipe.volumes}),
        "volumes": [_volume(volume) for volume in wipe.volumes],
        "keys_destroyed": list(wipe.keys_destroyed),
        "residue": residue(wipe.residue),
        "backups": [ended(each) for each in wipe.backups],
        "copies": [other_copy(copy) for copy in wipe.copies],
        "asked_by": wipe.asked_by,
        "reason": wipe.reason,
        "approved_by": wipe.approved_by,
        "job": wipe.job_id,
        "issued_at": utc_text(wipe.issued_at),
        "key": embedded(public_key),
    }


def payload(certificate: Mapping[str, Any]) -> bytes:
    """The bytes that the signature covers: canonical JSON without the member ``signature``."""
    return canonical_json({name: value for name, value in certificate.items() if name != "signature"})


def signed(certificate: Mapping[str, Any], *, key_id: str, value: str) -> dict[str, Any]:
    """The certificate with its signature (base64) over ``payload``."""
    return {**certificate, "signature": {"algorithm": ALGORITHM, "key_id": key_id, "value": value}}


def key_id(public_key: bytes) -> str:
    """The first 16 hex digits of the SHA-256 of the raw public key."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def utc_text(moment: datetime) -> str:
    """ISO 8601 in UTC, whole seconds, ``Z``. Raises ValueError for a naive time."""
    if moment.tzinfo is None:
        raise ValueError("a certificate holds no naive times")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a certificate holds. ``pinned``: the signing key is the one the checker brought, not only the embedded one."""

    ok: bool
    sentences: tuple[str, ...]
    key_id: str = ""
    pinned: bool = False


def verify(certificate: object, check: Check, *, pinned_key: bytes | None = None) -> Verdict:
    """Check shape and signature. Without ``pinned_key`` it shows that nothing was altered, not who signed. Never raises."""
    if not isinstance(certificate, dict):
        return _refuted("this is not a certificate: a JSON object is expected")
    wrong = problems(certificate)
    if wrong:
        return _refuted(*wrong)
    public = _bytes(certificate["key"].get("public_key"))
    value = _bytes(_signature(certificate).get("value"))
    if len(public) != 32 or len(value) != 64:
        return _refuted("the embedded key or the signature is not of the length that Ed25519 has")
    own = key_id(public)
    if certificate["key"].get("id") != own or _signature(certificate).get("key_id") != own:
        return _refuted("the key id does not belong to the embedded key")
    if pinned_key is not None and pinned_key != public:
        return _refuted(f"it was signed with key {own}, not with the expected key {key_id(pinned_key)}")
    try:
        covered = payload(certificate)
    except (TypeError, ValueError):
        return _refuted("it holds values that no certificate has")
    if not check(public, covered, value):
        return _refuted("the signature does not hold: the certificate was altered after it was signed")
    return Verdict(
        ok=True, sentences=_says(certificate, own, pinned=pinned_key is not None), key_id=own, pinned=pinned_key is not None
    )


def _signature(certificate: Mapping[str, Any]) -> Mapping[str, Any]:
    signature: Mapping[str, Any] = certificate["signature"]
    return signature


def _bytes(text: object) -> bytes:
    if not isinstance(text, str):
        return b""
    try:
        return base64.b64decode(text.encode(), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _refuted(*sentences: str) -> Verdict:
    return Verdict(ok=False, sentences=sentences)


def _says(certificate: Mapping[str, Any], own: str, *, pinned: bool) -> tuple[str, ...]:
    sentences = [f"the signature of key {own} holds: nothing was altered since {certificate['issued_at']}"]
    if certificate["format"] == LOST:
        sentences += _lost(certificate)
    else:
        sentences += _erased(certificate) if certificate["format"] == ERASURE else _wiped(certificate)
        sentences += _left(certificate["residue"])
    if not pinned:
        sentences.append(f"who signed is shown only by comparing key {own} with the provider's published key")
    return tuple(sentences)


def _lost(statement: Mapping[str, Any]) -> list[str]:
    node, services = statement["node"]["name"], statement["services"]
    released = ", ".join(each["service"] for each in services) or "none"
    who, said = statement["stated_by"], statement["statement"]
    return [f"{who} stated at {statement['issued_at']} that node {node} is lost: {said}", f"released by that: {released}"]


def _left(residue: Mapping[str, Any]) -> list[str]:
    """What was left of the service, or could not be looked for."""
    if residue.get("clean"):
        return []
    checks = residue.get("checks") or []
    away = [str(check["unreached"]) for check in checks if isinstance(check, dict) and check.get("unreached")]
    found = any(not isinstance(check, dict) or check.get("found") for check in checks) or not away
    return [*(["something of the service was left on a node: see residue"] if found else []), *away]


def _erased(certificate: Mapping[str, Any]) -> list[str]:
    archive = certificate["archive"]
    erased = f"service {certificate['service']}: its archive {archive['id']}, kept since {archive['kept_at']}, is erased"
    return [erased, *_backups(certificate)]


def _wiped(certificate: Mapping[str, Any]) -> list[str]:
    volumes = certificate["volumes"]
    sentences = [f"service {certificate['service']}: {len(volumes)} volume{'' if len(volumes) == 1 else 's'} wiped"]
    sentences += [
        f"{v['name']}: the read-back was not made or did not succeed, see its limits" for v in volumes if not v["verified"]
    ]
    return sentences + _backups(certificate)


def _backups(certificate: Mapping[str, Any]) -> list[str]:
    """One that was issued before there were backups says nothing of them."""
    sentences = []
    for each in certificate.get("backups", []):
        what = "its repository is destroyed" if each["state"] == DESTROYED else "its repository was not found"
        sentences.append(
            f"backups, generation {each['generation']} at {each['target']}: {what}, and its key is destroyed since "
            f"{each['key_destroyed_at']}"
        )
    for copy in certificate.get("copies", []):
        kind = copy.get("kind", "")
        words = "until {} at the latest" if kind == STATE else "until {} at least"
        until = words.format(copy["until"]) if copy["until"] else "without an end that is known"
        kind = _COPIES.get(kind, "a copy is still kept")
        sentences.append(" ".join(filter(None, (f"{kind}: {copy['id']}, {until}.", copy.get("says", "")))))
    return sentences


def _volume(volume: WipedVolume) -> dict[str, Any]:
    return {
        "name": volume.name,
        "node": volume.node,
        "path": volume.path,
        "method": volume.method,
        "bytes": volume.bytes,
        "bytes_overwritten": volume.bytes_overwritten,
        "verified": volume.verified,
        "medium": volume.medium,
        "limits": list(volume.limits),
        "samples": [dict(sample) for sample in volume.samples],
        "started_at": volume.started_at,
        "finished_at": volume.finished_at,
    }


def other_copy(copy: KnownCopy) -> dict[str, Any]:
    """A copy that stays, as a certificate holds it. ``sha256`` is empty: of a backup ``says`` names the snapshot."""
    return {
        "kind": copy.kind,
        "id": copy.id,
        "reached_from": copy.reached_from,
        "bytes": copy.bytes,
        "sha256": [],
        "kept_at": utc_text(copy.kept_at),
        "until": "" if copy.until is None else utc_text(copy.until),
        "says": copy.says,
    }


def ended(backups: EndedBackups) -> dict[str, Any]:
    """A repository that is no more, as a certificate holds it, with what was seen of that."""
    return {
        "generation": backups.generation,
        "target": backups.target,
        "state": backups.state,
        "snapshots": list(backups.snapshots),
        "key_destroyed_at": utc_text(backups.key_destroyed_at),
        "why": backups.why,
        "seen": [GONE if backups.state == DESTROYED else NOT_FOUND, KEY_GONE],
    }


def residue(checks: Sequence[ResidueCheck]) -> dict[str, Any]:
    """What was found at the end, node by node."""
    clean = not any(check.found or check.unreached for check in checks)
    return {"clean": clean, "checks": [_residue(check) for check in checks]}


def embedded(public_key: bytes) -> dict[str, Any]:
    """The key (raw, 32 bytes) as a certificate holds it."""
    return {"id": key_id(public_key), "algorithm": ALGORITHM, "public_key": base64.b64encode(public_key).decode()}


def _residue(check: ResidueCheck) -> dict[str, Any]:
    return {
        "node": check.node,
        "checked_at": utc_text(check.checked_at),
        "found": list(check.found),
        "removed": list(check.removed),
        **({"unreached": check.unreached} if check.unreached else {}),
    }
