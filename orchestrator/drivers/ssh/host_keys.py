"""What host keys a machine presents. Asking trusts nothing and logs in nowhere."""

from __future__ import annotations

import base64
import hashlib
import socket

import paramiko

from orchestrator.domain.errors import TransientDriverError
from orchestrator.domain.plans import Node
from orchestrator.drivers.ssh.connection import CONNECT_SECONDS, Deadline
from orchestrator.drivers.ssh.errors import translated
from orchestrator.ports.enrolment import HostKey

# One way to ask for each kind of host key; an RSA key is presented under the names of its signature algorithms.
ALGORITHMS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512")


def host_keys(node: Node, *, deadline: float) -> tuple[HostKey, ...]:
    """Every kind of key, in the order of ALGORITHMS; raises TransientDriverError where nothing answers."""
    limit = Deadline(deadline)
    name = f"{node.address}:{node.port}"
    found = []
    for algorithm in ALGORITHMS:
        if limit.left() <= 0:
            raise TransientDriverError(f"{name} does not answer", node=name)
        with translated(name):
            key = _presented(node, algorithm, seconds=min(CONNECT_SECONDS, limit.left()))
        if key is not None:
            found.append(key)
    if not found:
        raise TransientDriverError(f"{name} presents no host key of a kind we know", node=name)
    return tuple(found)


def _presented(node: Node, algorithm: str, *, seconds: float) -> HostKey | None:
    with socket.create_connection((node.address, node.port), timeout=seconds) as plain:
        transport = paramiko.Transport(plain)
        try:
            transport.get_security_options().key_types = (algorithm,)
            transport.start_client(timeout=seconds)
            key = transport.get_remote_server_key()
        except paramiko.ssh_exception.IncompatiblePeer:
            return None
        finally:
            transport.close()
    return host_key(key.get_name(), key.asbytes())


def host_key(kind: str, blob: bytes) -> HostKey:
    """The key with its fingerprint as ``ssh-keygen -l`` prints it."""
    fingerprint = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return HostKey(kind=kind, fingerprint=f"SHA256:{fingerprint}", line=f"{kind} {base64.b64encode(blob).decode()}")
