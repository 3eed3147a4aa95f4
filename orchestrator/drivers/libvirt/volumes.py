"""Volumes and their secrets through libvirt's storage and secret drivers."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import libvirt

from orchestrator.domain.errors import (
    AlreadyExists,
    NoCapacity,
    OrchestratorError,
    PermanentDriverError,
    TransientDriverError,
)
from orchestrator.drivers.libvirt.connection import Budget, Connection, Session
from orchestrator.drivers.libvirt.errors import code_of
from orchestrator.drivers.libvirt.pools import find_surely, find_volume, open_pool, refresh, refresh_now
from orchestrator.drivers.libvirt.volume_xml import (
    ParsedVolume,
    pool_path,
    read_volume,
    secret_volume,
    secret_xml,
    volume_xml,
)
from orchestrator.ports.node_transport import NodeTransport
from orchestrator.ports.volumes import VolumeFacts, VolumeSpec

KEY_BYTES = 32
CHUNK_BYTES = 256 * 1024
WIPING = ".wiping"  # how the node agent renames a volume before it destroys it
_AVAILABLE = 3  # where virStoragePoolGetInfo puts the free bytes
CLEAN_SECONDS = 15.0  # to take back what a failed creation left, whatever was left of its own time


class LibvirtVolumes:
    """The VolumeStore of one node's pool. ``random(n)`` gives n unpredictable bytes (``secrets.token_bytes``).

    ``agent`` makes the volumes; it is not closed here. The key of an encrypted volume passes through this process once, on
    its way to the node, and is kept nowhere else.
    """

    def __init__(self, connection: Connection, *, agent: NodeTransport, pool: str, random: Callable[[int], bytes]) -> None:
        self._connection = connection
        self._agent = agent
        self._pool = pool
        self._random = random

    def volumes(self, *, deadline: float) -> tuple[VolumeFacts, ...]:
        budget = self._connection.budget(deadline)

        def work(session: Session) -> tuple[VolumeFacts, ...]:
            pool = open_pool(session, self._pool)
            refresh(session, pool, budget)
            keys = _keys(session)
            parsed = (_parsed(volume) for volume in pool.listAllVolumes())
            return tuple(sorted((_facts(p, keys) for p in parsed if p is not None), key=lambda facts: facts.name))

        return self._connection.run(f"listing the volumes of {self._pool}", work, deadline=deadline)

    def volume(self, name: str, *, deadline: float) -> VolumeFacts | None:
        budget = self._connection.budget(deadline)

        def work(session: Session) -> VolumeFacts | None:
            return self._look(session, open_pool(session, self._pool), name, budget)

        return self._connection.run(f"looking at the volume {name}", work, deadline=deadline)

    def create(self, spec: VolumeSpec, *, deadline: float) -> VolumeFacts:
        """The node's agent makes it: libvirt's own way knows no iteration time for LUKS (docs/decisions/0005).

        After a TransientDriverError the key stays: the agent may have made the volume, or be at it still.
        """
        return self._create(spec, deadline, lasting=True)

    def create_passing(self, spec: VolumeSpec, *, deadline: float) -> VolumeFacts:
        """The same, for what is of use only now: the key is in libvirtd's memory, and on no disk."""
        return self._create(spec, deadline, lasting=False)

    def _create(self, spec: VolumeSpec, deadline: float, *, lasting: bool) -> VolumeFacts:
        budget = self._connection.budget(deadline)
        doing = f"making the volume {spec.name}"
        wanted = self._connection.run(doing, lambda session: self._prepare(session, spec, budget, lasting), deadline=deadline)
        try:
            self._agent.call(
                "volume-make", {**wanted, "seconds": math.ceil(max(1.0, budget.remaining))}, deadline=budget.remaining
            )
        except TransientDriverError:
            raise
        except AlreadyExists as error:
            if not spec.encrypted:
                raise
            # It was not there when its key was replaced: a call that was given up has made it, with a key that is no more.
            self.delete(spec.name, deadline=CLEAN_SECONDS)
            raise TransientDriverError(f"{doing}: an earlier call had just made it, with a key that is gone") from error
        except OrchestratorError:
            with contextlib.suppress(OrchestratorError):  # a key that stays is found by its tag later, and used again
                self._drop_secrets(spec.name, deadline=CLEAN_SECONDS)
            raise
        made = self.volume(spec.name, deadline=budget.remaining)
        if made is None:
            raise TransientDriverError(f"{doing}: it is not in the pool after it was made")
        return made

    def _prepare(self, session: Session, spec: VolumeSpec, budget: Budget, lasting: bool) -> dict[str, Any]:
        """What the agent is asked for, once it is certain that no such volume is there; the key is libvirt's already."""
        pool = open_pool(session, self._pool)
        _check_name(spec.name)
        directory = pool_path(pool.XMLDesc())
        path = f"{directory}/{spec.name}"
        if find_surely(session, pool, spec.name, budget) is not None:
            raise AlreadyExists(f"a volume named {spec.name} is already there")
        wanted: dict[str, Any] = {"path": path, "capacity_bytes": spec.capacity_bytes, "full_copy": spec.full_copy}
        if spec.template:
            wanted |= {"template": f"{directory}/{spec.template}", "template_format": spec.template_format}
        if spec.encrypted:
            wanted["passphrase"] = self._new_key(session, spec.name, path, lasting)
        return wanted

    def put(self, name: str, content: bytes, *, deadline: float) -> VolumeFacts:
        """The file grows while it is written: only a whole one has the full size, so that a torso can be told apart."""
        budget = self._connection.budget(deadline)

        def work(session: Session) -> VolumeFacts:
            pool = open_pool(session, self._pool)
            _check_name(name)
            refresh_now(pool)  # a file that libvirt does not know would be in the way
            old = find_volume(pool, name)
            if old is not None:
                _remove(old)
            volume = pool.createXML(volume_xml(name))
            try:
                _upload(session, volume, content)
            except (libvirt.libvirtError, OrchestratorError):
                _take_back(pool, name)
                raise
            refresh(session, pool, budget)
            facts = self._look(session, pool, name, budget)
            if facts is not None and facts.capacity_bytes == len(content):
                return facts
            _take_back(pool, name)
            refresh(session, pool, budget)
            if pool.info()[_AVAILABLE] < len(content):  # libvirt does not always tell that a write failed
                raise NoCapacity(f"the storage pool {self._pool} is full")
            raise TransientDriverError(f"the volume {name} is not whole on the node after it was written")

        return self._connection.run(f"writing the volume {name}", work, deadline=deadline)

    def delete(self, name: str, *, deadline: float) -> None:
        budget = self._connection.budget(deadline)

        def work(session: Session) -> None:
            pool = open_pool(session, self._pool)
            # In this order: without the half-made one an agent that is at it still cannot bring the volume into place.
            for each in filter(None, (making_name(name), name)):
                volume = find_surely(session, pool, each, budget)
                if volume is not None:
                    _remove(volume)

        self._connection.run(f"deleting the volume {name}", work, deadline=deadline)
        self._drop_secrets(name, deadline=budget.remaining)

    def _drop_secrets(self, name: str, *, deadline: float) -> None:
        def work(session: Session) -> None:
            for secret in session.conn.listAllSecrets():
                if _secret_volume(secret, self._pool) == name:
                    _undefine(secret)

        self._connection.run(f"deleting the key of {name}", work, deadline=deadline)

    def secrets(self, *, deadline: float) -> tuple[str, ...]:
        def work(session: Session) -> tuple[str, ...]:
            names = (_secret_volume(secret, self._pool) for secret in session.conn.listAllSecrets())
            return tuple(sorted(name for name in names if name))

        return self._connection.run("listing the secrets", work, deadline=deadline)

    def close(self) -> None:
        self._connection.close()

    def _look(self, session: Session, pool: Any, name: str, budget: Budget) -> VolumeFacts | None:
        """None only where the pool was read anew and has no such volume."""
        found = find_volume(pool, name)
        parsed = None if found is None else _parsed(found)
        if parsed is None:
            refresh(session, pool, budget)
            found = find_volume(pool, name)
            parsed = None if found is None else _parsed(found)
        if parsed is None:
            return None
        return _facts(parsed, _keys(session))

    def _new_key(self, session: Session, name: str, path: str, lasting: bool) -> str:
        """A new key, in a new secret or in the one that a broken-off creation left.

        As hex digits: QEMU takes a passphrase as text and refuses bytes that are no UTF-8.
        """
        left = _keys(session).get(path, "")
        secret = session.conn.secretDefineXML(secret_xml(pool=self._pool, volume=name, path=path, uuid=left, lasting=lasting))
        key = self._random(KEY_BYTES).hex()
        try:
            secret.setValue(key.encode(), 0)
        except libvirt.libvirtError:
            _undefine_if_possible(secret)
            raise
        return key


# -- volumes ---------------------------------------------------------------------------------------------------------------------


def making_name(name: str) -> str:
    """What the agent calls a service's volume while it makes it; '' for a name that is no service's."""
    product, _, rest = name.partition(".")
    service, _, rest = rest.partition(".")
    return f"{product}.{service}.making.{rest}" if product == "orch" and rest else ""


def _check_name(name: str) -> None:
    if not name or "/" in name or name.startswith("."):
        raise PermanentDriverError(f"{name!r} is no name of a volume")


def _parsed(volume: Any) -> ParsedVolume | None:
    """The volume as it is now; None where its file is gone although libvirt still lists it."""
    try:
        volume.info()  # reads the file anew; the XML alone would tell what was true at the last refresh
        return read_volume(volume.XMLDesc())
    except libvirt.libvirtError as error:
        if _is_gone(error):
            return None
        raise


def _is_gone(error: libvirt.libvirtError) -> bool:
    return code_of(error) == libvirt.VIR_ERR_NO_STORAGE_VOL or "No such file or directory" in str(error)


def _facts(parsed: ParsedVolume, keys: dict[str, str]) -> VolumeFacts:
    return VolumeFacts(
        name=parsed.name,
        path=parsed.path,
        format=parsed.format,
        capacity_bytes=parsed.capacity_bytes,
        allocated_bytes=parsed.allocated_bytes,
        backing_path=parsed.backing_path,
        secret_uuid=_key_of(parsed, keys),
    )


def _key_of(parsed: ParsedVolume, keys: dict[str, str]) -> str:
    """The uuid of the secret that opens the volume, or opened it before its wipe began; '' where none does.

    The key of a creation that was broken off may stand beside a torso that is not encrypted: it opens nothing.
    """
    if parsed.path.endswith(WIPING):
        return keys.get(parsed.path.removesuffix(WIPING), "")
    return keys.get(parsed.path, "") if parsed.encrypted else ""


def _take_back(pool: Any, name: str) -> None:
    """Leave nothing of a failed creation."""
    with contextlib.suppress(libvirt.libvirtError):
        left = find_volume(pool, name)
        if left is not None:
            _remove(left)


def _remove(volume: Any) -> None:
    try:
        volume.delete(0)
    except libvirt.libvirtError as error:
        if not _is_gone(error):
            raise


def _upload(session: Session, volume: Any, content: bytes) -> None:
    stream = session.conn.newStream()
    volume.upload(stream, 0, len(content), 0)
    try:
        sent = 0
        while sent < len(content):
            sent += stream.send(content[sent : sent + CHUNK_BYTES])
    except libvirt.libvirtError:
        with contextlib.suppress(libvirt.libvirtError):
            stream.abort()
        raise
    stream.finish()


# -- secrets ---------------------------------------------------------------------------------------------------------------------


def _keys(session: Session) -> dict[str, str]:
    """The secrets that open volumes: path of the volume -> uuid of the secret."""
    found = {}
    for secret in session.conn.listAllSecrets():
        if secret.usageType() == libvirt.VIR_SECRET_USAGE_TYPE_VOLUME:
            found[secret.usageID()] = secret.UUIDString()
    return found


def _secret_volume(secret: Any, pool: str) -> str:
    try:
        return secret_volume(secret.XMLDesc(), pool=pool)
    except libvirt.libvirtError as error:
        if code_of(error) == libvirt.VIR_ERR_NO_SECRET:
            return ""
        raise


def _undefine(secret: Any) -> None:
    try:
        secret.undefine()
    except libvirt.libvirtError as error:
        if code_of(error) != libvirt.VIR_ERR_NO_SECRET:
            raise


def _undefine_if_possible(secret: Any) -> None:
    """What cannot be removed now is found by its tag later, and used again."""
    with contextlib.suppress(libvirt.libvirtError):
        secret.undefine()
