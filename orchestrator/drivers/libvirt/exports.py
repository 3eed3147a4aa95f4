"""Exports of running guests' disks by libvirt's pull-mode backup (https://libvirt.org/kbase/live_full_disk_backup.html).

A checkpoint begins with each export, in the same moment: QEMU notes in a bitmap of the image what the guest writes from then on.
The next export names that checkpoint and gets its bitmap beside the data. A bitmap is lost where QEMU crashes or the image is
made anew; libvirt then refuses to begin, and the export begins once more without it.

What the guest overwrites while its disk is exported is kept in a scratch file. That of an encrypted disk is encrypted, too, with
a key for this one file that libvirt forgets as soon as QEMU has opened it: whoever finds the file finds nothing.

The socket lies in the directory that libvirt makes for each run of a guest. Debian confines QEMU with AppArmor, by a profile that
virt-aa-helper(8) writes from the guest's definition: of the places where a socket can be made it allows that directory alone. The
scratch file needs no such place: libvirt adds it to the profile when it hands it to QEMU.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr

import libvirt

from orchestrator.domain.errors import OrchestratorError, WrongState
from orchestrator.drivers.libvirt.connection import Budget, Connection, Session
from orchestrator.drivers.libvirt.domains import find, require
from orchestrator.drivers.libvirt.errors import code_of
from orchestrator.drivers.libvirt.guest_xml import parse
from orchestrator.drivers.libvirt.volumes import LibvirtVolumes
from orchestrator.ports.disk_exports import Export
from orchestrator.ports.volumes import VolumeSpec

TARGET = "vda"
EXPORT = "disk"
SOCKET = "orch.disk.nbd"
BITMAP = "changed"
CHECKPOINT_PREFIX = "orch."
"""How checkpoints of ours are called: others' are left alone, and never taken for a base."""

_POLL_SECONDS = 0.1
_SHORT_NAME = 20  # characters (libvirt's VIR_DOMAIN_SHORT_NAME_MAX)
# What libvirt answers where a bitmap or checkpoint cannot be used: gone, broken off, of another size.
_NO_BITMAP = (
    libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT,
    libvirt.VIR_ERR_CHECKPOINT_INCONSISTENT,
    libvirt.VIR_ERR_INVALID_ARG,
    libvirt.VIR_ERR_OPERATION_FAILED,
    libvirt.VIR_ERR_INTERNAL_ERROR,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scratch:
    """What an encrypted disk's scratch file has to be. ``key``: the uuid of the secret that opens it, '' where it is not made."""

    path: str
    capacity_bytes: int
    key: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class LibvirtExports:
    """The DiskExports of one node. ``directory``: libvirt's own of QEMU. The scratch files of plain disks lie there, and sockets
    below it; the scratch files of encrypted disks are ``volumes`` beside the disk.
    """

    def __init__(self, connection: Connection, *, volumes: LibvirtVolumes, directory: str = "/var/lib/libvirt/qemu") -> None:
        self._connection = connection
        self._volumes = volumes
        self._directory = directory

    def prepare(self, guest: str, *, deadline: float) -> None:
        budget = self._connection.budget(deadline)
        scratch = self._look(guest, budget)
        if scratch is not None:
            self._volumes.delete(scratch.name, deadline=budget.remaining)
            spec = VolumeSpec(name=scratch.name, capacity_bytes=scratch.capacity_bytes)
            self._volumes.create_passing(spec, deadline=budget.remaining)

    def begin(self, guest: str, *, checkpoint: str, since: str, deadline: float) -> Export:
        """Where it was not prepared, or that was used already, it is now."""
        budget = self._connection.budget(deadline)
        scratch = self._look(guest, budget)
        if scratch is not None and not scratch.key:
            self.prepare(guest, deadline=budget.remaining)
            scratch = self._look(guest, budget)

        def work(session: Session) -> Export:
            domain = require(session, guest)
            usable = since if since and since in _ours(domain) else ""
            try:
                return self._begin(domain, guest, checkpoint, usable, scratch)
            except libvirt.libvirtError as error:
                if not usable or code_of(error) not in _NO_BITMAP:
                    raise
            return self._begin(domain, guest, checkpoint, "", scratch)

        made = self._connection.run(f"freezing the disk of {guest}", work, deadline=budget.remaining)
        if scratch is not None:
            self._forget(scratch, budget)
        return made

    def _look(self, guest: str, budget: Budget) -> _Scratch | None:
        """What is open ends; None for a disk that is not encrypted."""

        def work(session: Session) -> _Scratch | None:
            domain = require(session, guest)
            self._free(domain, guest, budget)
            path = _scratch_path(domain, guest)
            if not path:
                return None
            return _Scratch(path=path, capacity_bytes=domain.blockInfo(TARGET)[0], key=_key_of(session, path))

        return self._connection.run(f"looking at the disk of {guest}", work, deadline=budget.remaining)

    def _forget(self, scratch: _Scratch, budget: Budget) -> None:
        """QEMU has the file open: nobody needs its key again. One that stays is found by its tag, and replaced the next time."""

        def work(session: Session) -> None:
            with contextlib.suppress(libvirt.libvirtError):
                session.conn.secretLookupByUUIDString(scratch.key).undefine()

        with contextlib.suppress(OrchestratorError):
            self._connection.run(f"forgetting the key of {scratch.name}", work, deadline=budget.remaining)

    def end(self, guest: str, *, deadline: float) -> None:
        budget = self._connection.budget(deadline)

        def work(session: Session) -> str:
            domain = find(session, guest)
            if domain is None:
                return ""
            if domain.isActive():
                self._free(domain, guest, budget)
            return _scratch_path(domain, guest)

        path = self._connection.run(f"ending the export of {guest}", work, deadline=deadline)
        if path:
            self._volumes.delete(path.rpartition("/")[2], deadline=budget.remaining)

    def checkpoints(self, guest: str, *, deadline: float) -> tuple[str, ...]:
        def work(session: Session) -> tuple[str, ...]:
            domain = find(session, guest)
            return () if domain is None else _ours(domain)

        return self._connection.run(f"looking at the checkpoints of {guest}", work, deadline=deadline)

    def drop(self, guest: str, checkpoint: str, *, deadline: float) -> None:
        def work(session: Session) -> None:
            domain = find(session, guest)
            if domain is None or checkpoint not in _ours(domain):
                return
            found = domain.checkpointLookupByName(checkpoint)
            try:
                found.delete(0)
            except libvirt.libvirtError as error:
                if code_of(error) != libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT:
                    _give_up(domain, checkpoint)

        self._connection.run(f"dropping the checkpoint {checkpoint}", work, deadline=deadline)

    def close(self) -> None:
        self._connection.close()

    def _begin(self, domain: Any, guest: str, checkpoint: str, since: str, scratch: _Scratch | None) -> Export:
        socket = _socket_of(domain, self._directory)
        path, key = (f"{self._directory}/{guest}.scratch", "") if scratch is None else (scratch.path, scratch.key)
        described = backup_xml(socket=socket, scratch=path, key=key, since=since)
        flags = libvirt.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL if key else 0
        domain.backupBegin(described, checkpoint_xml(checkpoint), flags)
        return Export(guest=guest, socket=socket, name=EXPORT, checkpoint=checkpoint, since=since, bitmap=BITMAP if since else "")

    def _free(self, domain: Any, guest: str, budget: Budget) -> None:
        """End an export of ours. Raises WrongState where the guest does not run, or another's job works on it."""
        if not domain.isActive():
            raise WrongState(f"{guest} does not run")
        while (socket := _export_of(domain)) is not None:
            # Versions before had it beside the directory of the guest; an export may be left from then.
            if socket not in (_socket_of(domain, self._directory), f"{self._directory}/{guest}.nbd"):
                raise WrongState(f"somebody else's backup of {guest} is under way", hint="virsh domjobinfo tells of it")
            with contextlib.suppress(libvirt.libvirtError):  # it may end by itself in this moment
                domain.abortJob()
            if budget.passed:
                raise WrongState(f"the export of {guest} does not end")
            budget.sleep(_POLL_SECONDS)


def backup_xml(*, socket: str, scratch: str, since: str, key: str = "") -> str:
    """https://libvirt.org/formatbackup.html; every other disk (the seed image) is left out. ``key``: the uuid of the secret that
    opens the scratch file; '' = it is plain, and libvirt makes it."""
    incremental = f"<incremental>{_text(since)}</incremental>" if since else ""
    bitmap = f" exportbitmap={quoteattr(BITMAP)}" if since else ""
    driver = "<driver type='qcow2'/>" if key else ""
    lock = f"<encryption format='luks'><secret type='passphrase' uuid={quoteattr(key)}/></encryption>" if key else ""
    return (
        f"<domainbackup mode='pull'>{incremental}<server transport='unix' socket={quoteattr(socket)}/><disks>"
        f"<disk name='{TARGET}' backup='yes' type='file' exportname={quoteattr(EXPORT)}{bitmap}>"
        f"{driver}<scratch file={quoteattr(scratch)}>{lock}</scratch></disk></disks></domainbackup>"
    )


def checkpoint_xml(name: str) -> str:
    """https://libvirt.org/formatcheckpoint.html"""
    disks = f"<disks><disk name='{TARGET}' checkpoint='bitmap'/></disks>"
    return f"<domaincheckpoint><name>{_text(name)}</name>{disks}</domaincheckpoint>"


def _text(value: str) -> str:
    return quoteattr(value)[1:-1]


def _socket_of(domain: Any, directory: str) -> str:
    """Where the guest's QEMU may make one: in libvirt's directory of this run of it (virDomainDefGetShortName). All guests' are
    called alike, so that the path has 74 bytes at most; a socket's may have 107 (unix(7))."""
    return f"{directory}/domain-{domain.ID()}-{domain.name()[:_SHORT_NAME]}/{SOCKET}"


def _scratch_path(domain: Any, guest: str) -> str:
    """Where what is overwritten of an encrypted disk is kept: beside it, by the service's name, so that whatever looks for a
    service's volumes finds it. '' for a disk that is not encrypted."""
    for disk in parse(domain.XMLDesc()).iterfind("devices/disk"):
        target, source = disk.find("target"), disk.find("source")
        if target is None or source is None or target.get("dev") != TARGET:
            continue
        sealed = source.find("encryption") is not None or disk.find("encryption") is not None
        return f"{source.get('file', '').rpartition('/')[0]}/{guest}.scratch.qcow2" if sealed else ""
    return ""


def _key_of(session: Session, path: str) -> str:
    try:
        found = session.conn.secretLookupByUsage(libvirt.VIR_SECRET_USAGE_TYPE_VOLUME, path)
    except libvirt.libvirtError as error:
        if code_of(error) == libvirt.VIR_ERR_NO_SECRET:
            return ""
        raise
    return str(found.UUIDString())


def _export_of(domain: Any) -> str | None:
    """The socket of the backup that is under way, '' where it has none (a push-mode one), None where there is none."""
    try:
        described = domain.backupGetXMLDesc(0)
    except libvirt.libvirtError as error:
        if code_of(error) == libvirt.VIR_ERR_NO_DOMAIN_BACKUP:
            return None
        raise
    server = parse(described).find("server")
    return "" if server is None else server.get("socket", "")


def _give_up(domain: Any, checkpoint: str) -> None:
    """Forget a note that cannot be merged into the one before it, as of a guest that is off or whose QEMU crashed, and with it
    all before it: without what it noted they would tell less than what has changed, and nobody would see that."""
    names = _ours(domain)
    for name in names[: names.index(checkpoint) + 1] if checkpoint in names else ():
        domain.checkpointLookupByName(name).delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)


def _ours(domain: Any) -> tuple[str, ...]:
    """Our checkpoints, parents before children."""
    found = domain.listAllCheckpoints(libvirt.VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL)
    return tuple(name for name in (checkpoint.getName() for checkpoint in found) if name.startswith(CHECKPOINT_PREFIX))
