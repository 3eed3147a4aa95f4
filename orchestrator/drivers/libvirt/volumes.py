"""Volumes and their secrets through libvirt's storage and secret drivers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import libvirt

from orchestrator.domain.errors import (
    AlreadyExists,
    NoCapacity,
    NotFound,
    OrchestratorError,
    PermanentDriverError,
    TransientDriverError,
)
from orchestrator.drivers.libvirt.connection import Budget, Connection, Session
from orchestrator.drivers.libvirt.errors import code_of, translate
from orchestrator.drivers.libvirt.pools import POLL_SECONDS, find_surely, find_volume, open_pool, refresh, refresh_now
from orchestrator.drivers.libvirt.volume_xml import (
    Backing,
    ParsedVolume,
    pool_path,
    read_volume,
    secret_volume,
    secret_xml,
    volume_xml,
)
from orchestrator.ports.volumes import VolumeFacts, VolumeSpec

KEY_BYTES = 32
CHUNK_BYTES = 256 * 1024
WIPING = ".wiping"  # how the node agent renames a volume before it destroys it
UNMEASURED = "Unable to get accurate CPU usage"


class LibvirtVolumes:
    """The VolumeStore of one node's pool. ``random(n)`` gives n unpredictable bytes (``secrets.token_bytes``).

    The key of an encrypted volume passes through this process once, on its way to the node, and is kept nowhere else.
    """

    def __init__(self, connection: Connection, *, pool: str, random: Callable[[int], bytes]) -> None:
        self._connection = connection
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
        budget = self._connection.budget(deadline)

        def work(session: Session) -> VolumeFacts:
            pool = open_pool(session, self._pool)
            _check_name(spec.name)
            path = f"{pool_path(pool.XMLDesc())}/{spec.name}"
            left = _keys(session).get(path, "") if spec.encrypted else ""
            # Where a key stands already it is replaced only once it is certain that it opens nothing.
            if (find_surely(session, pool, spec.name, budget) if left else find_volume(pool, spec.name)) is not None:
                raise AlreadyExists(f"a volume named {spec.name} is already there")
            template = _template(session, pool, spec, budget) if spec.template else None
            secret = self._make_secret(session, spec.name, path, left) if spec.encrypted else None
            try:
                volume = _make_surely(pool, spec, template, secret_uuid=secret.UUIDString() if secret else "", budget=budget)
            except libvirt.libvirtError as error:
                ours = _creation_error(error, spec, has_template=template is not None)
                if not isinstance(ours, AlreadyExists):
                    _take_back(pool, spec.name)
                if secret is not None and not (left and isinstance(ours, AlreadyExists)):
                    _undefine_if_possible(secret)
                raise ours from error
            return _facts(read_volume(volume.XMLDesc()), _keys(session))

        return self._connection.run(f"making the volume {spec.name}", work, deadline=deadline)

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
            volume = pool.createXML(volume_xml(name, capacity_bytes=0, kind="raw"))
            try:
                _upload(session, volume, content)
            except (libvirt.libvirtError, OrchestratorError):
                _take_back(pool, name)
                raise
            refresh(session, pool, budget)
            facts = self._look(session, pool, name, budget)
            if facts is None or facts.capacity_bytes != len(content):
                raise TransientDriverError(f"the volume {name} is not whole on the node after it was written")
            return facts

        return self._connection.run(f"writing the volume {name}", work, deadline=deadline)

    def delete(self, name: str, *, deadline: float) -> None:
        budget = self._connection.budget(deadline)

        def work(session: Session) -> None:
            volume = find_surely(session, open_pool(session, self._pool), name, budget)
            if volume is not None:
                _remove(volume)
            for secret in session.conn.listAllSecrets():
                if _secret_volume(secret, self._pool) == name:
                    _undefine(secret)

        self._connection.run(f"deleting the volume {name}", work, deadline=deadline)

    def secrets(self, *, deadline: float) -> tuple[str, ...]:
        def work(session: Session) -> tuple[str, ...]:
            names = (_secret_volume(secret, self._pool) for secret in session.conn.listAllSecrets())
            return tuple(sorted(name for name in names if name))

        return self._connection.run("listing the secrets", work, deadline=deadline)

    def close(self) -> None:
        self._connection.close()

    def _look(self, session: Session, pool: Any, name: str, budget: Budget) -> VolumeFacts | None:
        """None only where the pool was read anew and has no such volume; raises TransientDriverError while it is being made."""
        found = find_volume(pool, name)
        parsed = None if found is None else _parsed(found)
        if parsed is None:
            refresh(session, pool, budget)
            found = find_volume(pool, name)
            parsed = None if found is None else _parsed(found)
        if parsed is None:
            return None
        if parsed.format == "qcow2":
            _require_whole(session, found)
        return _facts(parsed, _keys(session))

    def _make_secret(self, session: Session, name: str, path: str, left: str) -> Any:
        """A secret with a new key; ``left`` is the uuid of one that a broken-off creation left, and is used again."""
        secret = session.conn.secretDefineXML(secret_xml(pool=self._pool, volume=name, path=path, uuid=left))
        try:
            # As hex digits: QEMU takes a passphrase as text and refuses bytes that are no UTF-8.
            secret.setValue(self._random(KEY_BYTES).hex().encode(), 0)
        except libvirt.libvirtError:
            _undefine_if_possible(secret)
            raise
        return secret


# -- volumes ---------------------------------------------------------------------------------------------------------------------


def _check_name(name: str) -> None:
    if not name or "/" in name or name.startswith("."):
        raise PermanentDriverError(f"{name!r} is no name of a volume")


def _parsed(volume: Any) -> ParsedVolume | None:
    """The volume as it is now; None where its file is gone although libvirt still lists it."""
    try:
        volume.info()  # reads the file anew; the XML alone would tell what was true at the last refresh
        return read_volume(volume.XMLDesc())
    except libvirt.libvirtError as error:
        if code_of(error) == libvirt.VIR_ERR_NO_STORAGE_VOL or "No such file or directory" in str(error):
            return None
        raise


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


def _require_whole(session: Session, volume: Any) -> None:
    """Raise libvirt's error while the volume is being made, by a call whose caller may be gone.

    libvirt shows such a volume as if it were finished; only a call that would touch its content is refused. So ask for one byte.
    """
    stream = session.conn.newStream()
    volume.download(stream, 0, 1, 0)
    stream.abort()


def _template(session: Session, pool: Any, spec: VolumeSpec, budget: Budget) -> Any:
    """The template's volume, after a look at what it is now."""
    volume = find_volume(pool, spec.template)
    if volume is None or _parsed(volume) is None:
        refresh(session, pool, budget)
        volume = find_volume(pool, spec.template)
    if volume is None:
        raise NotFound(f"the template {spec.template} is missing in the storage pool")
    parsed = read_volume(volume.XMLDesc())
    if parsed.format != spec.template_format:
        raise PermanentDriverError(
            f"the template {spec.template} is no {spec.template_format} image but looks like {parsed.format}"
        )
    if spec.capacity_bytes < parsed.capacity_bytes:
        raise PermanentDriverError(f"{spec.name} would be smaller than its template {spec.template}")
    return volume


def _make_surely(pool: Any, spec: VolumeSpec, template: Any, *, secret_uuid: str, budget: Budget) -> Any:
    """Make the volume, again where QEMU could not measure how long LUKS may take.

    qemu-img times its key derivation by the thread's CPU time and gives up where the kernel's coarse count has not moved.
    """
    while True:
        try:
            return _make(pool, spec, template, secret_uuid=secret_uuid)
        except libvirt.libvirtError as error:
            if UNMEASURED not in str(error) or budget.remaining <= POLL_SECONDS:
                raise
            budget.sleep(POLL_SECONDS)


def _make(pool: Any, spec: VolumeSpec, template: Any, *, secret_uuid: str) -> Any:
    if template is not None and spec.full_copy:
        xml = volume_xml(spec.name, capacity_bytes=spec.capacity_bytes, kind="qcow2", secret_uuid=secret_uuid)
        volume = pool.createXMLFrom(xml, template)
        # libvirt makes the copy as large as its source. Growing it comes last, so that only a whole copy has the full size.
        if read_volume(volume.XMLDesc()).capacity_bytes < spec.capacity_bytes:
            volume.resize(spec.capacity_bytes)
        return volume
    backing = None if template is None else Backing(path=template.path(), format=spec.template_format)
    return pool.createXML(
        volume_xml(spec.name, capacity_bytes=spec.capacity_bytes, kind="qcow2", backing=backing, secret_uuid=secret_uuid)
    )


def _creation_error(error: libvirt.libvirtError, spec: VolumeSpec, *, has_template: bool) -> OrchestratorError:
    ours = translate(error, f"making the volume {spec.name}")
    if isinstance(ours, (NoCapacity, TransientDriverError, AlreadyExists)) or not has_template:
        return ours
    return PermanentDriverError(f"{ours.message} (the template {spec.template} may be corrupt)")


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
        if code_of(error) != libvirt.VIR_ERR_NO_STORAGE_VOL:
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
