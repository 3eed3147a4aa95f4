"""Destroying the key of an encrypted volume where libvirt keeps it."""

from __future__ import annotations

import base64
import os
import secrets
from typing import Any

from agents.node import extents as ex
from agents.node import files
from agents.node.call import Call
from agents.node.medium import COPY_ON_WRITE, limits, medium
from agents.node.protocol import AgentError

_SIZE_LIMIT = 64 * 1024
_NOT_IN_PLACE = "The key's file could not be overwritten in place ({}): an older copy of its block may be left."


def secret_wipe(call: Call) -> dict[str, Any]:
    """Overwrite the value of a libvirt secret, before libvirt undefines it (which only removes the file).

    libvirt keeps a persistent secret's value in /etc/libvirt/secrets/<uuid>.base64 (src/conf/virsecretobj.c). What is written
    instead is random and again base64 of the same length, so that a libvirtd started in between reads a well-formed file.
    """
    uuid, place = call.arguments["uuid"], call.place
    directory = place.root / "etc/libvirt/secrets"
    with place.lock(f"secret {uuid}"):
        try:
            parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return {"uuid": uuid, "absent": True}
        try:
            fd = files.open_in(parent, f"{uuid}.base64", os.O_RDWR | os.O_SYNC)
        finally:
            os.close(parent)
        if fd is None:
            return {"uuid": uuid, "absent": True}
        try:
            return {"uuid": uuid, **_overwrite(fd, f"{uuid}.base64")}
        finally:
            os.close(fd)


def _overwrite(fd: int, name: str) -> dict[str, Any]:
    files.refuse_other_names(fd, name)
    size = os.fstat(fd).st_size
    if size > _SIZE_LIMIT:
        raise AgentError("refused", f"{name} has {size} bytes: that is no key of ours")
    found = medium(fd)
    said = limits(found)
    os.fsync(fd)
    before, problem = _places(fd)
    if found.file_system in COPY_ON_WRITE:
        problem = f"{found.file_system} writes anew elsewhere"
    os.pwrite(fd, _like(os.pread(fd, size, 0)), 0)
    os.fsync(fd)
    after, _ = _places(fd)
    if not problem and before != after:
        problem = "the file system moved it"
    return {
        "wiped": True,
        "bytes_overwritten": size,
        "in_place": not problem,
        "limits": [*said, *([_NOT_IN_PLACE.format(problem)] if problem else [])],
    }


def _like(value: bytes) -> bytes:
    """Random, of the same length and, where ``value`` is base64, as long when decoded."""
    try:
        length = len(base64.b64decode(value, validate=True))
    except ValueError:
        return secrets.token_bytes(len(value))
    return base64.b64encode(secrets.token_bytes(length))[: len(value)].ljust(len(value))


def _places(fd: int) -> tuple[tuple[tuple[int, int, int], ...], str]:
    try:
        extents = ex.file_extents(fd)
    except OSError as exc:
        return (), f"the file system does not tell where it lies: {exc.strerror}"
    return ex.places(extents), ex.why_not_in_place(extents)
