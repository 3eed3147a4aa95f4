"""The commands on repositories: what each does, over the parts beside this file."""

from __future__ import annotations

import json
import re
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from agents.node.call import Call
from agents.node.hosting import restored
from agents.node.protocol import AgentError
from agents.node.restic import argv, check, locks, packs, view
from agents.node.restic.backend import KINDS, Backend
from agents.node.restic.gate import SAMPLES_KEPT, Gate, Most
from agents.node.restic.known import Known
from agents.node.restic.measure import Walk
from agents.node.restic.outcome import DONE, NO_REPOSITORY, PARTIAL, WRONG_PASSWORD, Said, damage, failure, items
from agents.node.restic.places import backend
from agents.node.restic.repository import REST, Repository
from agents.node.restic.running import Restic, cache_directory, files_of
from agents.node.restic.view import View

_CONNECT_SECONDS = 10.0
_THERE = re.compile(r"config file already exists|already contains keys|already initialized", re.IGNORECASE)
VIEW = "view"
"""The directory below the agent's own in /run where restic sees what it backs up or restores, in a namespace of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One call's work on one repository, until ``end`` (of time.monotonic)."""

    repository: Repository
    files: argv.Files
    restic: Restic
    known: Known
    end: float

    def backend(self) -> Backend:
        return backend(self.repository, self.files, end=self.end)


@contextmanager
def session(call: Call, *, alone: bool) -> Iterator[Session]:
    """restic on the request's repository. ``alone``: no other call of this node may change the repository meanwhile."""
    repository: Repository = call.arguments["repository"]
    end = time.monotonic() + call.arguments["seconds"]
    limits = call.arguments.get("limits", argv.Limits())
    with ExitStack() as held:
        if alone:
            held.enter_context(call.place.lock(f"the repository {repository.location}"))
        files = held.enter_context(files_of(call.place, repository))
        reached(repository)
        restic = Restic(call.place, repository, files=files, limits=limits, say=call.progress, end=end)
        try:
            known = Known(cache_directory(call.place, repository.location), repository)
            yield Session(repository=repository, files=files, restic=restic, known=known, end=end)
        except AgentError as exc:
            if exc.details.get("reason") == "network":
                backend(repository, files, end=end).require_way_in()
            if exc.details.get("reason") == "no-repository":  # none in its place, or no place
                backend(repository, files, end=end).require_place()
            raise


def reached(repository: Repository) -> None:
    """Raises AgentError (driver-transient) where a rest-server does not answer: restic would try for a quarter of an hour."""
    if repository.kind != REST:
        return
    try:
        socket.create_connection((repository.host.strip("[]"), repository.port), timeout=_CONNECT_SECONDS).close()
    except OSError as exc:
        why = exc.strerror or "no answer in time"
        raise AgentError("driver-transient", f"{repository.location} is not reached: {why}", reason="network") from None


@contextmanager
def seen(call: Call, path: str, *, write: bool = False) -> Iterator[View]:
    """The directory as restic will see it. Raises AgentError (not-found, refused) before restic is started."""
    place = call.place.locks / VIEW
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with view.opened(path) as fd:
        yield View(directory=path, place=str(place), identity=view.identity(fd), write=write)


def directory_measure(call: Call) -> dict[str, Any]:
    """What the directory holds (``measure``). Raises AgentError: not-found, refused, driver-transient (the time is up)."""
    path = call.arguments["path"]
    with view.opened(path) as fd:
        without = restored.left_out(call.place, path)
        walk = Walk(fd, path, say=call.progress, end=time.monotonic() + call.arguments["seconds"], without=without)
        walk.run()
        return walk.report()


def repository_create(call: Call) -> dict[str, Any]:
    """Make the repository; one that is there and opens with this key is success. The directory that it lies in has to be there:
    restic would make that, too, on whatever disk is there when its own is not mounted.

    Raises AgentError: already-exists (it opens with another key), driver-transient (no such directory).
    """
    location = call.arguments["repository"].location
    doing = f"making the repository {location}"
    with session(call, alone=True) as work:
        work.backend().require_place()
        new = work.restic.run(argv.create(), doing=doing)
        if new.status == DONE and not new.stopped:
            return {"created": True, "id": str(_object(new, doing).get("id", ""))}
        if not _THERE.search(new.everything):
            raise failure(new, doing)
        old = work.restic.run(argv.opens(), doing=doing)
        if old.status == DONE and not old.stopped:
            return {"created": False, "id": str(_object(old, doing).get("id", ""))}
        if old.status == WRONG_PASSWORD:
            raise AgentError("already-exists", f"{doing}: there is one, and this key does not open it", reason="wrong-password")
        if old.status != NO_REPOSITORY:
            raise failure(old, doing)
        # Keys without a repository: its making was broken off, or it was damaged. Only where it holds nothing it is begun anew.
        work.backend().discard_unfinished()
        new = work.restic.done(argv.create(), doing=doing)
        return {"created": True, "id": str(_object(new, doing).get("id", ""))}


def repository_snapshots(call: Call) -> dict[str, Any]:
    """Every snapshot that carries all of the ``tags``, oldest first. Takes no lock."""
    with session(call, alone=False) as work:
        found = listed(work, f"listing the snapshots of {call.arguments['repository'].location}")
    wanted = set(call.arguments["tags"])
    return {"snapshots": [each for each in found if wanted <= set(each["tags"])]}


def directory_backup(call: Call) -> dict[str, Any]:
    """A snapshot of the directory. ``whole`` is false where some of it could not be read: the snapshot is there, and the items
    that failed are told. Raises AgentError before restic starts where the directory is missing.

    ``over``: it holds more than ``most_bytes`` or ``most_inodes``, as ``measured`` tells; then restic was not started, or was
    ended. Where it was found only at the very end there is a snapshot all the same, and it does not count.
    """
    given = call.arguments
    doing = f"backing up {given['path']}"
    without = restored.left_out(call.place, given["path"])
    most = Most(bytes=given["most_bytes"], inodes=given["most_inodes"])
    with seen(call, given["path"]) as source, session(call, alone=True) as work:
        gate = Gate(given["path"], most, say=call.progress, end=work.end, without=without)
        if gate.measure(samples=SAMPLES_KEPT):
            return _refused(gate)
        expected = gate.found.file_bytes
        verb = argv.backup(
            host=given["host"],
            tags=given["tags"],
            limits=given["limits"],
            without=[f"{source.place}/{name}" for name in without],
            parent=given["parent"],
            scan=given["scan"],
            full=given["full"],
        )
        said = work.restic.run(verb, doing=doing, view=source, watch=gate.watch, expected=expected)
        if gate.over and said.status not in (DONE, PARTIAL):
            return _refused(gate)
        told = made(said, doing)
        directories = sum(told[f"dirs_{what}"] for what in ("new", "changed", "unmodified")) - _above(source.place)
        over = gate.read(told["files"], told["bytes"], more_directories=directories - gate.found.directories)
        work.known.add(made_row(told, given), gate.samples, source=source.identity)
        return {**told, "over": over, "whole": told["whole"] and not over, "measured": gate.report}


def _above(place: str) -> int:
    """The directories on the way to the one that was backed up, which are in the snapshot, too."""
    return len(place.strip("/").split("/"))


def _refused(gate: Gate) -> dict[str, Any]:
    """No snapshot was made."""
    return {"over": True, "snapshot": "", "whole": False, "measured": gate.report}


def made_row(told: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The snapshot as restic will list it, but for the moment between restic's own start and that of its reading."""
    return {
        "id": told["snapshot"],
        "time": told["started_at"],
        "host": given["host"],
        "tags": list(given["tags"]),
        **{name: told[name] for name in ("files", "bytes", "bytes_stored")},
    }


def made(said: Said, doing: str) -> dict[str, Any]:
    """What a run of ``backup`` made. Raises the AgentError of one that left no snapshot that is known."""
    summary = said.summary
    if said.stopped or said.status not in (DONE, PARTIAL) or summary is None or not summary.text("snapshot_id"):
        raise failure(said, doing)
    if said.status == PARTIAL and damage(said):
        raise failure(said, doing)
    counts = ("files_new", "files_changed", "files_unmodified", "dirs_new", "dirs_changed", "dirs_unmodified")
    return {
        "snapshot": summary.text("snapshot_id"),
        "whole": said.status == DONE and said.error_count == 0,
        "files": summary.count("total_files_processed"),
        "bytes": summary.count("total_bytes_processed"),
        "bytes_added": summary.count("data_added"),
        "bytes_stored": summary.count("data_added_packed"),
        **{name: summary.count(name) for name in counts},
        "started_at": summary.text("backup_start"),
        "ended_at": summary.text("backup_end"),
        "failed": items(said),
        "failed_count": said.error_count,
    }


def directory_restore(call: Call) -> dict[str, Any]:
    """The snapshot, or some paths of it, into the directory, which is made where it is missing. What must be so where that is an
    account's is in ``hosting.restored``."""
    given = call.arguments
    doing = f"restoring into {given['path']}"
    beat = partial(call.progress, 0.0, doing)
    with ExitStack() as held:
        only = held.enter_context(restored.guarded(call.place, given["path"], given["only"], beat=beat))
        view.make_directory(given["path"])
        target = held.enter_context(seen(call, given["path"], write=True))
        work = held.enter_context(session(call, alone=False))
        verb = argv.restore(given["snapshot"], only=only, delete=given["delete"], verify=given["verify"])
        said = work.restic.run(verb, doing=doing, view=target)
    summary = said.summary
    if said.stopped or summary is None or (said.status != DONE and not said.error_count):
        raise failure(said, doing)
    return {
        "whole": said.status == DONE and said.error_count == 0,
        "files": summary.count("files_restored"),
        "bytes": summary.count("bytes_restored"),
        "files_skipped": summary.count("files_skipped"),
        "bytes_skipped": summary.count("bytes_skipped"),
        "files_deleted": summary.count("files_deleted"),
        "total_files": summary.count("total_files"),
        "total_bytes": summary.count("total_bytes"),
        "failed": items(said),
        "failed_count": said.error_count,
    }


def repository_check(call: Call) -> dict[str, Any]:
    """Read structure, index, a part of the packs and all that are new since the last check, and compare sampled files of the
    source, where one is given.

    Damage and differences are the answer (``sound`` false). Raises AgentError where the check could not be made.
    """
    given = call.arguments
    location = given["repository"].location
    doing = f"checking {location}"
    if given["part"] > given["of"]:
        raise AgentError("request-invalid", f"there is no part {given['part']} of {given['of']}")
    with session(call, alone=True) as work:
        row = check.require(listed(work, doing), given["snapshot"], location)
        place = work.backend()
        stored = {kind: place.sizes(kind) for kind in KINDS}
        said = work.restic.run(argv.check(part=given["part"], of=given["of"]), doing=doing)
        found = check.soundness(said, doing)
        if not found["errors"]:
            found |= packs.read_new(call, place, location, stored["data"], end=work.end)
        compared = check.Compared()
        if given["path"] and given["samples"] and not found["errors"]:
            with view.opened(given["path"]) as source:
                taken_ns = check.moment_ns(row["time"])
                samples = (
                    work.known.samples(given["snapshot"], view.identity(source)) if given["samples"] <= SAMPLES_KEPT else None
                )
                if samples is None:
                    samples = check.chosen(
                        source,
                        given["path"],
                        without=restored.left_out(call.place, given["path"]),
                        wanted=given["samples"],
                        taken_ns=taken_ns,
                        say=call.progress,
                        end=work.end,
                    )
                comparing = check.Comparing(source, taken_ns, doing=f"{doing}: comparing it with {given['path']}")
                compared = comparing.run(work.restic, given["snapshot"], samples, given["samples"], scratch=work.files.scratch)
    return {
        **found,
        "sound": not found["errors"] and not compared.differing,
        "compared": compared.compared,
        "changed": compared.changed,
        "differing": compared.differing,
        "stored_bytes": sum(size for sizes in stored.values() for size in sizes.values()),
    }


def repository_forget(call: Call) -> dict[str, Any]:
    """Forget these snapshots and no other, see that they are gone, then prune if asked."""
    given = call.arguments
    doomed: tuple[str, ...] = given["snapshots"]
    doing = f"forgetting {len(doomed)} snapshots of {given['repository'].location}"
    with session(call, alone=True) as work:
        verb = argv.forget(doomed, prune=given["prune"]) if doomed else argv.prune() if given["prune"] else None
        said = work.restic.run(verb, doing=doing) if verb else None
        if said is not None and (said.stopped or said.status not in (DONE, PARTIAL)):
            raise failure(said, doing)
        # It says nothing of those that it could not remove, or that were gone before: what is listed counts.
        left = [row["id"] for row in listed(work, doing)]
        stayed = [each[:8] for each in left if each in doomed]
        if stayed and said is not None:
            raise failure(said, f"{doing}: still there: {', '.join(stayed)}")
    return {"left": left, "pruned": given["prune"]}


def repository_unlock(call: Call) -> dict[str, Any]:
    """Remove the locks of this node's own dead runs; every lock is told (see ``locks``)."""
    location = call.arguments["repository"].location
    with session(call, alone=True) as work:
        doing = f"looking for locks in {location}"
        return {"locks": locks.unlock(work.restic, call.place, work.backend(), location, doing=doing)}


def repository_destroy(call: Call) -> dict[str, Any]:
    """Remove the repository, keys first, see that it is gone, and remove this node's cache of it."""
    given = call.arguments
    location = given["repository"].location
    with session(call, alone=True) as work:
        if not given["only_cache"]:
            place = work.backend()
            place.destroy(call.progress)
            left = place.left()
            if left:
                told = ", ".join(left)[:300]
                raise AgentError(
                    "driver-permanent", f"{location} is not gone: {told}", hint="an operator must look at what is left"
                )
    cache = cache_directory(call.place, location)
    packs.forget(call.place, location)
    had_cache = cache.exists()
    if had_cache:
        shutil.rmtree(cache)
    return {"gone": not given["only_cache"], "cache_removed": had_cache}


def listed(work: Session, doing: str) -> list[dict[str, Any]]:
    """The snapshots of a repository, oldest first: as they are known, where it holds those that are known and no other."""
    try:
        known = work.known.rows(work.backend().files_of("snapshots"))
    except AgentError:  # restic will say it in its own words
        known = None
    if known is not None:
        work.known.keep(known)
        return known
    said = work.restic.done(argv.snapshots(), doing=doing)
    try:
        rows = json.loads(said.plain)
        found = sorted((_snapshot(row) for row in rows or []), key=lambda each: str(each["time"]))
    except (ValueError, TypeError, AttributeError, KeyError):
        raise AgentError("driver-permanent", f"{doing}: restic's answer cannot be read") from None
    work.known.keep(found)
    return found


def _snapshot(row: dict[str, Any]) -> dict[str, Any]:
    summary = row.get("summary") or {}
    return {
        "id": str(row["id"]),
        "time": str(row["time"]),
        "host": str(row.get("hostname", "")),
        "tags": [str(tag) for tag in row.get("tags") or []],
        "files": int(summary.get("total_files_processed", 0)),
        "bytes": int(summary.get("total_bytes_processed", 0)),
        "bytes_stored": int(summary.get("data_added_packed", 0)),
    }


def _object(said: Said, doing: str) -> dict[str, Any]:
    try:
        value = json.loads(said.plain)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise AgentError("driver-permanent", f"{doing}: restic's answer cannot be read")
    return value
