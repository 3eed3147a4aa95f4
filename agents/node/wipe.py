"""Destroying a volume's data where it lies on the medium, and showing it.

``crypto-erase`` destroys what opens a LUKS-encrypted qcow2 image: the LUKS header with its key slots, the qcow2 header and
the L1 table, with random bytes, then zeros. ``overwrite`` writes over every allocated extent of a file, preallocated ones
too. Both write in place and prove it: the same blocks before and after (FIEMAP), read back from the device behind the
file system and not through the file. Renaming the volume to ``….wiping`` is the visible point of no return; a wipe that
was interrupted goes on from its record.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from agents.node import amounts, files, proof, qcow2
from agents.node import extents as ex
from agents.node.arguments import CRYPTO_ERASE, OVERWRITE
from agents.node.call import Call
from agents.node.extents import Extent
from agents.node.medium import COPY_ON_WRITE, Medium, limits, medium
from agents.node.overwrite import Fill, overwrite, pattern, zeros
from agents.node.protocol import AgentError
from agents.node.records import Plan, Records, utc_now

WIPING = ".wiping"
SETTLED_NS = 10**9

Progress = Callable[[float, str], None]

_CURSOR_EVERY = 32 * 1024 * 1024
_NOT_VERIFIED = "The device behind the file system could not be read here ({}): what the medium holds now was not verified."
_FREED_BEFORE = (
    "Blocks that the volume gave back earlier (discarded by the guest) belong to the file system and were not touched."
)
_DATA_STAYS = "The encrypted data itself stays on the medium until its blocks are used again; nothing is left that opens it."


def volume_state(call: Call) -> dict[str, Any]:
    """present, wiping or absent, with the file's size and allocation; ``report`` of a finished wipe where one is kept.

    ``mark``: as long as it is the same nobody has written to the file, nor changed anything of it.
    """
    path = call.arguments["path"]
    records = Records(call.place, path)
    with files.pool_of(call.place, path) as (pool, name):
        for state, candidate in (("present", files.volume_name(name)), ("wiping", name + WIPING)):
            fd = files.open_in(pool, candidate)
            if fd is not None:
                status = os.fstat(fd)
                os.close(fd)
                found = {"state": state, "allocated_bytes": status.st_blocks * 512, "size": status.st_size}
                return {**found, "mark": mark(status, now=time.time_ns())}
    found = {"state": "absent", "allocated_bytes": 0, "size": 0}
    report = records.report()
    return found if report is None else {**found, "report": report}


def mark(status: os.stat_result, *, now: int) -> str:
    """'' where it would prove nothing: what was changed a moment ago could be changed again within the same tick of the clock."""
    if now - max(status.st_ctime_ns, status.st_mtime_ns) < SETTLED_NS:
        return ""
    return f"{status.st_ino}:{status.st_size}:{status.st_blocks}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def volume_wipe(call: Call) -> dict[str, Any]:
    """Wipe the volume and remove it.

    Wiped before: the kept report again. Never there, or its record cleaned away: ``{"absent": true}``.
    """
    path, method, count = call.arguments["path"], call.arguments["method"], call.arguments["samples"]
    records = Records(call.place, path)
    with call.place.lock(path), files.pool_of(call.place, path) as (pool, name):
        with _volume(pool, files.volume_name(name)) as volume:
            if volume is None:
                return records.report() or {"path": path, "absent": True}
            report = _destroy(volume, records, path=path, method=method, count=count, say=call.progress)
            # Still open, so that its number cannot have gone to another file.
            files.require_same(pool, name + WIPING, volume.fd)
            records.finish(report)
            files.require_same(pool, name + WIPING, volume.fd)
            os.unlink(name + WIPING, dir_fd=pool)
            os.fsync(pool)
        records.forget_plan()
        return report


@dataclass(frozen=True, slots=True)
class _Volume:
    """The open volume. ``begun``: it is called ``….wiping`` already; ``begin`` renames it so, the point of no return."""

    fd: int
    name: str
    begun: bool
    begin: Callable[[], None]


@contextmanager
def _volume(pool: int, name: str) -> Iterator[_Volume | None]:
    """The volume, whole or with its wipe begun; None where neither is there. Refuses links, other names, and a file in use."""
    flags = os.O_RDWR | os.O_DIRECT
    whole, begun = files.open_in(pool, name, flags), files.open_in(pool, name + WIPING, flags)
    opened = [fd for fd in (whole, begun) if fd is not None]
    try:
        if len(opened) == 2:
            raise AgentError("wrong-state", f"{name} exists beside {name}{WIPING}", hint="an operator must look which is which")
        if not opened:
            yield None
            return
        files.refuse_other_names(opened[0], name)
        files.refuse_in_use(opened[0], name)

        def begin() -> None:
            files.require_same(pool, name, opened[0])
            os.rename(name, name + WIPING, src_dir_fd=pool, dst_dir_fd=pool)
            os.fsync(pool)

        yield _Volume(opened[0], name, whole is None, begin)
    finally:
        for fd in opened:
            os.close(fd)


def _destroy(volume: _Volume, records: Records, *, path: str, method: str, count: int, say: Progress) -> dict[str, Any]:
    os.fsync(volume.fd)
    found = medium(volume.fd)
    status = os.fstat(volume.fd)
    extents = _extents_in_place(volume, found)
    plan = _plan(volume, records, extents, found, method=method, count=count)
    _write(volume.fd, plan, records, say)
    proof.prove_same_places(plan.extents, ex.file_extents(volume.fd), name=volume.name)
    samples, problem = proof.read_back(plan.extents, plan.samples, found, _passes(plan)[-1][1])
    return {
        "path": path,
        "method": plan.method,
        "medium": found.facts(),
        "allocated_bytes": sum(e.length for e in extents),
        "size": status.st_size,
        "bytes_overwritten": sum(e.length for e in plan.extents),
        "extents": len(plan.extents),
        "passes": [name for name, _ in _passes(plan)],
        "verified": not problem,
        "samples": samples,
        "limits": [*plan.limits, *limits(found), *([_NOT_VERIFIED.format(problem)] if problem else [])],
        "started_at": plan.started_at,
        "finished_at": utc_now(),
    }


def _extents_in_place(volume: _Volume, found: Medium) -> tuple[Extent, ...]:
    if found.file_system in COPY_ON_WRITE:
        raise AgentError(
            "refused",
            f"{volume.name} lies on {found.file_system}, which writes anew elsewhere instead of in place: no overwriting"
            " would reach its blocks",
            hint="keep the storage pool on ext4 or xfs; an operator must decide about this volume",
        )
    try:
        extents = ex.file_extents(volume.fd)
    except OSError as exc:
        raise AgentError(
            "refused",
            f"{found.file_system or 'the file system'} does not tell where {volume.name} lies on the medium: {exc.strerror}",
            hint="keep the storage pool on ext4 or xfs; an operator must decide about this volume",
        ) from None
    reason = ex.why_not_in_place(extents)
    if reason:
        raise AgentError("refused", f"{volume.name}: {reason}", hint="an operator must decide about this volume")
    return extents


def _plan(volume: _Volume, records: Records, extents: tuple[Extent, ...], found: Medium, *, method: str, count: int) -> Plan:
    """The plan of the interrupted wipe if it still fits the file, else a new one; then the point of no return is passed.

    A plan beside a volume that was never renamed is old: the guest may have run and written since.
    """
    kept = records.plan() if volume.begun else None
    if kept is not None and _fits(kept, extents) and (kept.method == OVERWRITE or method == CRYPTO_ERASE):
        return kept
    says: tuple[str, ...] = (_FREED_BEFORE,)
    block = os.fstatvfs(volume.fd).f_bsize
    targets = extents
    if method == CRYPTO_ERASE:
        try:
            material = qcow2.key_material(_reader(volume.fd))
        except qcow2.NotEncrypted as exc:
            raise AgentError(
                "refused", f"{volume.name} cannot be erased by destroying its keys: {exc}", hint="use the method 'overwrite'"
            ) from None
        targets = ex.clip(extents, _blocks(material, block))
        says = (_DATA_STAYS,)
    plan = Plan(
        method=method,
        seed=secrets.token_hex(32),
        started_at=utc_now(),
        extents=targets,
        samples=proof.samples_before(targets, found, count=count, block=block),
        limits=says,
    )
    records.begin(plan)
    if not volume.begun:
        volume.begin()
    return plan


def _fits(plan: Plan, extents: tuple[Extent, ...]) -> bool:
    """Whether the plan's blocks are still those of the file, and all of them where all are to be overwritten."""
    now = extents if plan.method == OVERWRITE else ex.clip(extents, [(e.logical, e.length) for e in plan.extents])
    return ex.places(now) == ex.places(plan.extents)


def _blocks(material: qcow2.KeyMaterial, block: int) -> list[tuple[int, int]]:
    """The key material widened to whole blocks, overlaps joined; the piece with the LUKS header, what matters most, first."""
    joined: list[tuple[int, int]] = []
    for offset, length in sorted(material.ranges):
        first, end = offset // block * block, -(-(offset + length) // block) * block
        if joined and first <= sum(joined[-1]):
            first, last = joined.pop()
            end = max(end, first + last)
        joined.append((first, end - first))
    luks = material.luks[0]
    return sorted(joined, key=lambda piece: not piece[0] <= luks < sum(piece))


def _reader(fd: int) -> qcow2.ReadAt:
    """Reads through a second descriptor: the volume's own is O_DIRECT and takes aligned reads only."""

    def read_at(offset: int, length: int) -> bytes:
        plain = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(plain, length, offset)
        finally:
            os.close(plain)

    return read_at


def _passes(plan: Plan) -> list[tuple[str, Fill]]:
    random = ("random", pattern(bytes.fromhex(plan.seed)))
    return [random, ("zeros", zeros)] if plan.method == CRYPTO_ERASE else [random]


def _write(fd: int, plan: Plan, records: Records, say: Progress) -> None:
    """All passes, from where the record says they were left."""
    passes = _passes(plan)
    size = sum(e.length for e in plan.extents)
    done_passes, done = records.cursor()
    noted = done
    for index in range(done_passes, len(passes)):
        name, fill = passes[index]

        def written(length: int, index: int = index, name: str = name) -> None:
            nonlocal done, noted
            done += length
            if done - noted >= _CURSOR_EVERY:
                noted = done
                os.fdatasync(fd)  # what the cursor calls done has to be on the medium
                records.set_cursor(index, done)
            say(
                (index * size + done) / (len(passes) * size), f"{amounts.size(done)} of {amounts.size(size)} overwritten ({name})"
            )

        overwrite(fd, plan.extents, fill, skip=done, written=written)
        done = noted = 0
        records.set_cursor(index + 1, 0)
