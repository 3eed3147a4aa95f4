"""The controller's keys: what is signed with them, and what is wrapped by the master key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Ed25519 (RFC 8032). ``key_id`` is the first 16 hex digits of the SHA-256 of the raw public key; base64 value."""

    key_id: str
    value: str


class Secrets(Protocol):
    def sign(self, payload: bytes) -> Signature: ...

    def verify(self, payload: bytes, signature: Signature) -> bool: ...

    def public_key(self) -> bytes:
        """The raw 32-byte Ed25519 public key that verifies ``sign``."""
        ...

    def wrap(self, secret: bytes, *, context: str) -> bytes:
        """Encrypt under the master key, bound to ``context`` (authenticated)."""
        ...

    def unwrap(self, wrapped: bytes, *, context: str) -> bytes: ...

    def webhook_secrets(self, source: str) -> tuple[str, ...]:
        """The secrets (``whsec_…``) accepted from one billing system, newest first; empty = unknown source."""
        ...
