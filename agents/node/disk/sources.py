"""Where a guest's disk is read or written: a volume that nobody uses, or a frozen export of a running guest's."""

from __future__ import annotations

import base64
import hashlib
import os
import posixpath
import re
import socket as socket_module
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.node import files
from agents.node.call import Call
from agents.node.disk.server import served
from agents.node.disk.showing import Exported
from agents.node.place import Place
from agents.node.protocol import AgentError

_SOCKET = re.compile(r"/[A-Za-z0-9_./-]*/orch\.[A-Za-z0-9][A-Za-z0-9_-]{0,47}\.nbd")


@contextmanager
def volume(call: Call, given: Mapping[str, Any], *, writing: bool = False) -> Iterator[Exported]:
    """The volume at ``given["path"]``, of a declared pool. Raises AgentError: refused, not-found, driver-transient (in use)."""
    path = given["path"]
    with call.place.lock(path), files.pool_of(call.place, path) as (pool, name):
        fd = files.open_in(pool, files.volume_name(name))
        if fd is None:
            raise AgentError("not-found", f"there is no volume {name}")
        try:
            files.refuse_other_names(fd, name)
        finally:
            os.close(fd)
        # A socket's path may have 107 bytes (unix(7)).
        socket = str(call.place.locks / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.nbd")
        passphrase = key(call.place, given["secret_uuid"]) if given["secret_uuid"] else ""
        with served(path, given["format"], socket=socket, passphrase=passphrase, writing=writing) as listening:
            yield Exported(socket=listening)


@contextmanager
def source(call: Call, given: Mapping[str, Any]) -> Iterator[Exported]:
    """What is to be backed up: the export at ``socket``, or the volume at ``path``."""
    if not given["socket"]:
        with volume(call, given) as found:
            yield found
        return
    if not _SOCKET.fullmatch(given["socket"]) or posixpath.normpath(given["socket"]) != given["socket"]:
        raise AgentError("refused", f"{given['socket']} is not where a guest's disk is exported")
    try:
        yield Exported(socket=given["socket"], export=given["export"], bitmap=given["bitmap"])
    finally:
        _drop_if_dead(given["socket"])


def _drop_if_dead(path: str) -> None:
    """A guest whose QEMU was killed leaves the socket of its export, and nobody else removes it."""
    with socket_module.socket(socket_module.AF_UNIX) as client:
        try:
            client.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
        except OSError:
            return


def key(place: Place, uuid: str) -> str:
    """The passphrase of an encrypted volume, where libvirt keeps it (src/conf/virsecretobj.c). Raises AgentError (not-found)."""
    path = place.root / "etc/libvirt/secrets" / f"{uuid}.base64"
    try:
        return base64.b64decode(path.read_bytes()).decode("ascii")
    except FileNotFoundError:
        raise AgentError("not-found", f"the node has no key {uuid} for the volume") from None
    except ValueError:
        raise AgentError("driver-permanent", f"the key {uuid} of the volume cannot be read") from None
