"""A text sealed with a passphrase: scrypt (RFC 7914) makes the key, AES-256-GCM (NIST SP 800-38D) seals it.

A sealed file is text: a line that names the form, one with the parameters, then base64. docs/backups.md has the few lines of
Python that open one without this software.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import textwrap
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from orchestrator.domain.errors import ConfigError, RequestError
from orchestrator.drivers.local.files import make_file, read_secret

FORM = "orchestrator-escrow-1"
LEAST_PASSPHRASE = 12
# 128 MiB and about half a second: OWASP's advice for scrypt is at least 2^17.
_N, _R, _P = 2**17, 8, 1
_LARGEST_N = 2**20
_LARGEST = 64 << 20
_KEY_BYTES, _SALT_BYTES, _NONCE_BYTES = 32, 16, 12


def seal(plain: str, passphrase: str) -> str:
    """Raises RequestError for a passphrase that is too short."""
    if len(passphrase) < LEAST_PASSPHRASE:
        raise RequestError(
            f"a passphrase has at least {LEAST_PASSPHRASE} characters", hint="several words that nobody else knows"
        )
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    parameters = json.dumps({"n": _N, "r": _R, "p": _P, "salt": _text(salt), "nonce": _text(nonce)})
    key = Scrypt(salt=salt, length=_KEY_BYTES, n=_N, r=_R, p=_P).derive(passphrase.encode())
    sealed = AESGCM(key).encrypt(nonce, plain.encode(), f"{FORM}\n{parameters}\n".encode())
    return "\n".join([FORM, parameters, *textwrap.wrap(_text(sealed), 76)]) + "\n"


def is_sealed(content: str) -> bool:
    return content.startswith(FORM + "\n")


def unseal(content: str, passphrase: str) -> str:
    """Raises ConfigError where it is none of ours, or was altered, or the passphrase is another."""
    form, _, rest = content.partition("\n")
    parameters, _, body = rest.partition("\n")
    try:
        given = json.loads(parameters)
        salt, nonce = base64.b64decode(given["salt"]), base64.b64decode(given["nonce"])
        n, r, p = int(given["n"]), int(given["r"]), int(given["p"])
        sealed = base64.b64decode("".join(body.split()), validate=True)
        if form != FORM or not 2 <= n <= _LARGEST_N or (r, p) != (_R, _P):
            raise ValueError
        key = Scrypt(salt=salt, length=_KEY_BYTES, n=n, r=r, p=p).derive(passphrase.encode())
    except (ValueError, TypeError, KeyError, binascii.Error) as exc:
        raise ConfigError("this is no escrow file of a form that is known") from exc
    try:
        return AESGCM(key).decrypt(nonce, sealed, f"{FORM}\n{parameters}\n".encode()).decode()
    except (InvalidTag, ValueError) as exc:
        raise ConfigError("the escrow file does not open: another passphrase, or it was altered") from exc


def write(path: Path, content: str) -> None:
    """Raises ConfigError where something stands there already, or it cannot be written."""
    if not make_file(path, content.encode()):
        raise ConfigError(f"{path} is there already, and is left as it is", hint="name another file")


def read(path: Path) -> str:
    """Raises ConfigError."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc
    if len(content) > _LARGEST:
        raise ConfigError(f"{path} is larger than an escrow file can be")
    return content.decode("utf-8", "replace")


def passphrase_of(path: Path) -> str:
    """What stands in the file, which nobody else may read. Raises ConfigError."""
    return read_secret(path, what="passphrase").decode("utf-8", "replace").strip("\r\n")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
