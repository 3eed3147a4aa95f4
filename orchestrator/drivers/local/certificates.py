"""Checking a wipe certificate without a controller, a database or a network: for ``orchestrator certificate verify``."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from orchestrator.domain.certificates import Verdict, verify
from orchestrator.domain.errors import RequestError

LARGEST = 16 * 1024 * 1024
LARGEST_KEY = 64 * 1024


def verify_certificate(data: bytes, public_key: bytes | None = None) -> Verdict:
    """Check the certificate in ``data`` (JSON), against ``public_key`` (raw, 32 bytes) where one is given. Never raises."""
    if len(data) > LARGEST:
        return Verdict(ok=False, sentences=("this is not a certificate: it is far too large",))
    try:
        certificate = json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return Verdict(ok=False, sentences=("this is not a certificate: it is not valid JSON",))
    return verify(certificate, signature_holds, pinned_key=public_key)


def read_bounded(path: Path, most: int = LARGEST) -> bytes:
    """The first ``most`` + 1 bytes: enough to see that there are too many, of a device that has no end too. Raises OSError."""
    with path.open("rb") as file:
        return file.read(most + 1)


def read_public_key(path: Path) -> bytes:
    """A pinned Ed25519 public key out of a file: PEM as ``signing.pub`` is, or the raw 32 bytes in base64.

    Raises RequestError.
    """
    try:
        content = read_bounded(path, LARGEST_KEY)
    except OSError as exc:
        raise RequestError(f"the key file {path} cannot be read: {exc.strerror}") from exc
    try:
        if b"-----BEGIN" in content:
            key = load_pem_public_key(content)
            if isinstance(key, Ed25519PublicKey):
                return key.public_bytes_raw()
        else:
            raw = base64.b64decode(content.strip(), validate=True)
            if len(raw) == 32:
                return raw
    except (ValueError, UnsupportedAlgorithm, binascii.Error) as exc:
        raise RequestError(f"{path} holds no Ed25519 public key") from exc
    raise RequestError(f"{path} holds no Ed25519 public key", hint="PEM, or 32 bytes in base64")


def signature_holds(public_key: bytes, payload: bytes, signature: bytes) -> bool:
    """Ed25519 (RFC 8032)."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, payload)
    except (InvalidSignature, ValueError):
        return False
    return True


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A member named twice means different things to different readers: refuse it."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is named twice")
    return found
