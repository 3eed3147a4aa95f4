"""Repositories of restic's that open quickly.

``restic init`` makes a key that takes half a second to derive from the password, at each start of restic, and it takes two more
to find out how. A test that is about something else has its repository copied from one that was made once, with a key that is
derived at once (restic's design document, "Keys, Encryption and MAC"): the same repository in all else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.poly1305 import Poly1305

QUICK = {"N": 2, "r": 8, "p": 1}
_NONCE = _MAC = 16


def plant(place: Path, password: str) -> None:
    """A new repository at ``place``, which is not there, or empty."""
    for name, content in _made(password).items():
        path = place / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if content is None:
            path.mkdir(mode=0o700, exist_ok=True)
        else:
            path.write_bytes(content)
            path.chmod(0o400)


def quicken(repository: Path, password: str) -> None:
    """In place of its only key the same one, derived from the password at once."""
    (old,) = (repository / "keys").iterdir()
    kept = json.loads(old.read_bytes())
    salt, sealed = base64.b64decode(kept["salt"]), base64.b64decode(kept["data"])
    plain = _opened(_derived(password, salt, kept), sealed)
    quick = {**kept, **QUICK, "data": base64.b64encode(_sealed(_derived(password, salt, QUICK), plain)).decode()}
    content = json.dumps(quick).encode()
    new = repository / "keys" / hashlib.sha256(content).hexdigest()
    new.write_bytes(content)
    new.chmod(0o400)
    old.unlink()


@cache
def _made(password: str) -> dict[str, bytes | None]:
    """The files of an empty repository, and its directories (None)."""
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "repository"
        environment = {**os.environ, "RESTIC_PASSWORD": password, "RESTIC_CACHE_DIR": f"{scratch}/cache"}
        subprocess.run(["restic", "--repo", str(made), "init", "-q"], env=environment, check=True, timeout=120)
        quicken(made, password)
        shutil.rmtree(Path(scratch) / "cache", ignore_errors=True)
        return {str(path.relative_to(made)): path.read_bytes() if path.is_file() else None for path in sorted(made.rglob("*"))}


def _derived(password: str, salt: bytes, parameters: dict[str, int]) -> bytes:
    """For encryption 32 bytes, and for the MAC 16 of its key and 16 of its r."""
    scrypt = Scrypt(salt=salt, length=64, n=parameters["N"], r=parameters["r"], p=parameters["p"])
    return scrypt.derive(password.encode())


def _opened(key: bytes, sealed: bytes) -> bytes:
    nonce, body, mac = sealed[:_NONCE], sealed[_NONCE:-_MAC], sealed[-_MAC:]
    Poly1305.verify_tag(_one_time(key, nonce), body, mac)
    return _counted(key, nonce, body)


def _sealed(key: bytes, plain: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    body = _counted(key, nonce, plain)
    return nonce + body + Poly1305.generate_tag(_one_time(key, nonce), body)


def _counted(key: bytes, nonce: bytes, data: bytes) -> bytes:
    """AES-256 in counter mode, which is its own reverse."""
    worker = Cipher(algorithms.AES(key[:32]), modes.CTR(nonce)).encryptor()
    return worker.update(data) + worker.finalize()


def _one_time(key: bytes, nonce: bytes) -> bytes:
    """Poly1305-AES: r, and the nonce under the MAC's key."""
    worker = Cipher(algorithms.AES(key[32:48]), modes.ECB()).encryptor()
    return key[48:64] + worker.update(nonce) + worker.finalize()
