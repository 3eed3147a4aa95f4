"""The signature that a node's ssh-keygen verifies, byte by byte (OpenSSH, PROTOCOL.sshsig)."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from orchestrator.drivers.ssh.sshsig import allowed_signers, armored, signed_data

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
NAMESPACE = "node-agent@orchestrator"


def verify(directory: Path, message: bytes, *, signature: str, signers: str, namespace: str = NAMESPACE) -> bool:
    (directory / "sig").write_text(signature)
    (directory / "signers").write_text(signers)
    call = ["ssh-keygen", "-Y", "verify", "-f", "signers", "-I", "controller", "-n", namespace, "-s", "sig"]
    return subprocess.run(call, input=message, cwd=directory, capture_output=True, timeout=30, check=False).returncode == 0


def sign(message: bytes, key: Ed25519PrivateKey = KEY) -> str:
    return armored(message, namespace=NAMESPACE, public_key=key.public_key().public_bytes_raw(), sign=key.sign)


SIGNERS = allowed_signers(PUBLIC, principal="controller", namespace=NAMESPACE)


def test_the_signed_bytes_hold_namespace_hash_and_digest_as_the_protocol_says() -> None:
    def text(data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + data

    digest = hashlib.sha512(b"message").digest()
    assert signed_data(b"message", "ns") == b"SSHSIG" + text(b"ns") + text(b"") + text(b"sha512") + text(digest)


@pytest.mark.parametrize("message", [b"", b"x", b"\0" * 100_000])
def test_openssh_verifies_it(message: bytes, tmp_path: Path) -> None:
    assert verify(tmp_path, message, signature=sign(message), signers=SIGNERS)


def test_openssh_refuses_another_message_key_principal_or_purpose(tmp_path: Path) -> None:
    other = Ed25519PrivateKey.generate()
    good = sign(b"message")
    assert not verify(tmp_path, b"messagf", signature=good, signers=SIGNERS)
    assert not verify(tmp_path, b"message", signature=sign(b"message", other), signers=SIGNERS)
    assert not verify(tmp_path, b"message", signature=good, signers=SIGNERS.replace("controller", "somebody"))
    assert not verify(tmp_path, b"message", signature=good, signers=SIGNERS, namespace="file")


def test_the_public_half_is_the_one_that_openssh_prints(tmp_path: Path) -> None:
    encoded = SIGNERS.split()[-1]
    (tmp_path / "key.pub").write_text(f"ssh-ed25519 {encoded}\n")
    done = subprocess.run(
        ["ssh-keygen", "-l", "-f", "key.pub"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True
    )
    fingerprint = base64.b64encode(hashlib.sha256(base64.b64decode(encoded)).digest()).decode().rstrip("=")
    assert f"SHA256:{fingerprint}" in done.stdout
