"""The controller's own SSH key, which nodes let in to their agent and to libvirt, and to nothing else."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from orchestrator.drivers.ssh.connection import load_key

COMMENT = "orchestrator-controller"


def ensure_identity(path: Path) -> str:
    """Make the key (Ed25519, OpenSSH format, 0600) if it is not there; returns its public half as authorized_keys holds it.

    Raises PermanentDriverError where the file is there and is no key.
    """
    if not path.exists():
        private = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as stream:
            stream.write(private)
            stream.flush()
            os.fsync(fd)
        temporary.replace(path)
    key = load_key(path)
    return f"{key.get_name()} {key.get_base64()} {COMMENT}"
