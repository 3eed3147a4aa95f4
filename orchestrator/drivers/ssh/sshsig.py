"""Signatures that ``ssh-keygen -Y verify`` takes (OpenSSH, PROTOCOL.sshsig), made with a raw Ed25519 key. Pure."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Callable

_MAGIC = b"SSHSIG"
_VERSION = 1
_KIND = b"ssh-ed25519"
_HASH = b"sha512"
_LINE = 70


def signed_data(message: bytes, namespace: str) -> bytes:
    """The bytes that the Ed25519 signature is made over: never the message itself."""
    digest = hashlib.sha512(message).digest()
    return _MAGIC + _string(namespace.encode()) + _string(b"") + _string(_HASH) + _string(digest)


def armored(message: bytes, *, namespace: str, public_key: bytes, sign: Callable[[bytes], bytes]) -> str:
    """The signature file. ``public_key`` is the raw key of 32 bytes; ``sign`` returns 64 raw bytes (RFC 8032)."""
    blob = (
        _MAGIC
        + struct.pack(">I", _VERSION)
        + _string(public_blob(public_key))
        + _string(namespace.encode())
        + _string(b"")
        + _string(_HASH)
        + _string(_string(_KIND) + _string(sign(signed_data(message, namespace))))
    )
    text = base64.b64encode(blob).decode()
    lines = [text[i : i + _LINE] for i in range(0, len(text), _LINE)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


def public_blob(public_key: bytes) -> bytes:
    """The key as SSH writes it (RFC 8709, section 4)."""
    return _string(_KIND) + _string(public_key)


def allowed_signers(public_key: bytes, *, principal: str, namespace: str) -> str:
    """The one line of an allowed_signers file (ssh-keygen(1), ALLOWED SIGNERS): this key, for this purpose only."""
    encoded = base64.b64encode(public_blob(public_key)).decode()
    return f'{principal} namespaces="{namespace}" {_KIND.decode()} {encoded}\n'


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
