"""The controller's keys in files (port Secrets).

``<state>/keys/master.key`` wraps everything else; ``signing.key`` is the Ed25519 key that certificates and specs are signed
with, wrapped by the master key; ``signing.pub`` is its public half (PEM), to be published. Losing the master key loses all
that is wrapped: keep a copy of it elsewhere.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from orchestrator.domain.certificates import key_id
from orchestrator.domain.errors import ConfigError, PermanentDriverError
from orchestrator.drivers.local.files import is_there, make_file, make_private_directory, read_secret
from orchestrator.ports.secrets import Signature

MASTER_PREFIX = b"orchestrator-master-key-1:"
MASTER, SIGNING = "master.key", "signing.key"
# Only there while a new master key is put in place of the old one (``rotation``).
MASTER_NEXT, MASTER_PREVIOUS = "master.next.key", "master.previous.key"
SIGNING_CONTEXT = "orchestrator/signing-key/1"

# Wrapped form, version 1: one byte 1, a random nonce of 12 bytes, AES-256-GCM (NIST SP 800-38D) with the context as AAD.
WRAP_VERSION = b"\x01"
NONCE_BYTES = 12

# Standard Webhooks: a secret is 24 to 64 random bytes, in base64 behind this prefix.
WEBHOOK_PREFIX = "whsec_"
WEBHOOK_BYTES = range(24, 65)


def init_keys(state_dir: Path) -> str:
    """Make the master key and the signing key where they are missing, and return the id of the signing key.

    Repeatable. Raises ConfigError where wrapped keys stand without their master key: a new one would open none of them.
    """
    directory = state_dir / "keys"
    make_private_directory(directory)
    master, signing = directory / "master.key", directory / "signing.key"
    if is_there(signing) and not is_there(master):
        raise ConfigError(
            f"{master} is missing, but {signing} was wrapped with it", hint="bring the master key back from its copy"
        )
    make_file(master, new_master_key())
    box = _Box(directory)
    private = Ed25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    make_file(signing, box.wrap(private, SIGNING_CONTEXT))
    public = _signing_key(box, signing).public_key()
    make_file(directory / "signing.pub", public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), mode=0o644)
    return key_id(public.public_bytes_raw())


def new_master_key() -> bytes:
    """The content of a file that holds a fresh one."""
    return MASTER_PREFIX + base64.b64encode(os.urandom(32)) + b"\n"


def check_master_key(path: Path) -> None:
    """Raises ConfigError where the file holds none."""
    _master_key(path)


def only_new(state_dir: Path) -> LocalSecrets:
    """Secrets that open nothing but what the present master key has wrapped."""
    return LocalSecrets(state_dir, {}, previous=False)


class _Box:
    """Wraps with the master key of a directory. What another wrapped before, while it is being replaced, opens too."""

    def __init__(self, directory: Path, *, previous: bool = True) -> None:
        self._master = AESGCM(_master_key(directory / MASTER))
        before = directory / MASTER_PREVIOUS
        self._all = [self._master]
        if previous and is_there(before):
            self._all.append(AESGCM(_master_key(before)))

    def wrap(self, secret: bytes, context: str) -> bytes:
        return _wrap(self._master, secret, context)

    def unwrap(self, wrapped: bytes, context: str) -> bytes:
        """Raises PermanentDriverError."""
        *others, last = self._all
        for box in others:
            with suppress(PermanentDriverError):
                return _unwrap(box, wrapped, context)
        return _unwrap(last, wrapped, context)


class LocalSecrets:
    """Keys of ``state_dir`` (made by ``init_keys``) and, by billing source, the files of its webhook secrets, newest first.

    ``previous``: what the master key before wrapped opens too, while the rest is being wrapped anew.
    Raises ConfigError where a file is missing, malformed or open to other users.
    """

    def __init__(self, state_dir: Path, webhook_files: Mapping[str, Sequence[Path]], *, previous: bool = True) -> None:
        directory = state_dir / "keys"
        if not is_there(directory / "master.key"):
            raise ConfigError(f"there is no master key in {directory}", hint="run: orchestrator init")
        self._box = _Box(directory, previous=previous)
        self._signing = _signing_key(self._box, directory / "signing.key")
        self._public = self._signing.public_key()
        self._key_id = key_id(self._public.public_bytes_raw())
        of_both = hmac.digest(_master_key(directory / MASTER), b"orchestrator/fingerprint/1" + self._key_id.encode(), "sha256")
        self._fingerprint = of_both.hex()[:32]
        self._webhook_files = {source: tuple(files) for source, files in webhook_files.items()}
        for source in self._webhook_files:
            self.webhook_secrets(source)

    def fingerprint(self) -> str:
        """A word that only these keys give, and that gives none of them away."""
        return self._fingerprint

    def sign(self, payload: bytes) -> Signature:
        """See the port."""
        return Signature(key_id=self._key_id, value=base64.b64encode(self._signing.sign(payload)).decode())

    def verify(self, payload: bytes, signature: Signature) -> bool:
        """See the port. False for another key's signature and for a malformed one."""
        if signature.key_id != self._key_id:
            return False
        try:
            self._public.verify(base64.b64decode(signature.value, validate=True), payload)
        except (InvalidSignature, ValueError):
            return False
        return True

    def public_key(self) -> bytes:
        """See the port."""
        return self._public.public_bytes_raw()

    def wrap(self, secret: bytes, *, context: str) -> bytes:
        """See the port."""
        return self._box.wrap(secret, context)

    def unwrap(self, wrapped: bytes, *, context: str) -> bytes:
        """See the port. Raises PermanentDriverError for another master key, another context or an altered value."""
        return self._box.unwrap(wrapped, context)

    def webhook_secrets(self, source: str) -> tuple[str, ...]:
        """See the port. Read anew at each call, so that a rotation needs no restart."""
        return tuple(webhook_secret(path) for path in self._webhook_files.get(source, ()))


def webhook_secret(path: Path) -> str:
    """The one ``whsec_…`` secret in the file; raises ConfigError, without its content, where it is none."""
    text = read_secret(path, what="webhook secret").decode("utf-8", "replace").strip()
    try:
        raw = base64.b64decode(text.removeprefix(WEBHOOK_PREFIX).encode(), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not text.startswith(WEBHOOK_PREFIX) or len(raw) not in WEBHOOK_BYTES:
        raise ConfigError(
            f"webhook secret: {path} holds no secret of the form whsec_…",
            hint="24 to 64 random bytes in base64 behind 'whsec_' (Standard Webhooks)",
        )
    return text


def _master_key(path: Path) -> bytes:
    content = read_secret(path, what="master key").strip()
    try:
        key = base64.b64decode(content.removeprefix(MASTER_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not content.startswith(MASTER_PREFIX) or len(key) != 32:
        raise ConfigError(f"master key: {path} does not hold a master key", hint="bring it back from its copy")
    return key


def _signing_key(box: _Box, path: Path) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(box.unwrap(read_secret(path, what="signing key"), SIGNING_CONTEXT))
    except (PermanentDriverError, ValueError) as exc:
        raise ConfigError(f"signing key: {path} cannot be opened with the master key beside it") from exc


def _wrap(box: AESGCM, secret: bytes, context: str) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return WRAP_VERSION + nonce + box.encrypt(nonce, secret, context.encode())


def _unwrap(box: AESGCM, wrapped: bytes, context: str) -> bytes:
    if wrapped[:1] != WRAP_VERSION:
        raise PermanentDriverError("the wrapped secret is of a form that this version does not know")
    nonce, sealed = wrapped[1 : 1 + NONCE_BYTES], wrapped[1 + NONCE_BYTES :]
    try:
        return box.decrypt(nonce, sealed, context.encode())
    except (InvalidTag, ValueError) as exc:
        raise PermanentDriverError(
            "the wrapped secret cannot be opened: it was altered, or wrapped for something else or with another master key"
        ) from exc
