"""``account-tarball`` and ``account-import``: an account moves in with its files, databases and settings; ``account-import-undo``
takes out again what an import that came to nothing has put there."""

from __future__ import annotations

import json
import os
import resource
import shutil
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO

from agents.node.call import Call
from agents.node.hosting import databases, loading, manifest, marks, packing, quota, sql, sweep, tarball, tree, unpacked
from agents.node.hosting.attended import as_account, attend
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.tarball import Contents, Most
from agents.node.protocol import AgentError

_MEMORY = 2 << 30
"""Of this process while it reads what a stranger made."""

_COPY = 1 << 20
# As the account's own user: nobody else's files can be made, and a directory that is there keeps its mode.
TAR = ["tar", "--extract", "--file=-", "--no-same-owner", "--no-same-permissions", "--no-overwrite-dir"]
TAR += ["--delay-directory-restore"]


def account_tarball(call: Call) -> dict[str, Any]:
    """What is in it, having looked through all of it. Raises AgentError: not-found, refused, no-capacity."""
    most = Most(call.arguments["most_bytes"], call.arguments["most_inodes"])
    with tarball.opened(call.place, call.arguments["file"]) as stream:
        found = _examined(call, stream, most, share=1.0)
    return tarball.told(found)


def account_import(call: Call) -> dict[str, Any]:
    """Files first, then databases. Nothing is written before the whole tarball was looked through and seen to fit.

    Raises AgentError: refused, wrong-state (another file than was looked at, a database that holds something), no-capacity.
    """
    node = Node(call.place)
    home = Home(node, call.arguments["user"])
    with (
        marks.account_lock(node, home.user),
        tarball.opened(call.place, call.arguments["file"]) as stream,
    ):
        marks.require_ours(home, call.arguments["service_id"])
        sweep.probes(home)
        found = _examined(call, stream, _room(home), share=0.3)
        if found.sha256 != call.arguments["sha256"]:
            raise AgentError("wrong-state", "the tarball is another than the one that was looked at", hint="ask for it once more")
        names, job_id = sorted(found.dumps), call.arguments["job_id"]
        begun = _require_empty(home, names, job_id=job_id)
        unpacked.note(home, tarball.in_home(stream), job_id=job_id, look=partial(call.progress, 0.4, "noting what is there"))
        _unpack(call, home, stream)
        begun.unpacked = True
        begun.save(home)
        loaded = _load(call, home, stream, names, begun) if names else []
    return {**tarball.told(found), "loaded": loaded}


def account_import_undo(call: Call) -> dict[str, Any]:
    """Files that this job's import has put there go, where they are as it has left them; the databases that it began to load are
    empty again, as they were. Nothing of another job's, or of the customer's, is touched. Repeatable.

    ``removed``: how many names; ``left``: the first of those that are not as they were unpacked, of ``left_count``; ``emptied``.
    """
    node, job_id = Node(call.place), call.arguments["job_id"]
    home = Home(node, call.arguments["user"])
    with marks.account_lock(node, home.user):
        marks.require_ours(home, call.arguments["service_id"])
        sweep.probes(home)
        begun = Begun.read(home)
        if begun.job_id != job_id:
            return {"removed": 0, "left": [], "left_count": 0, "emptied": []}
        look = partial(call.progress, 0.5, "taking out what was unpacked")
        taken = unpacked.take_out(home, job_id=job_id, uid=home.uid, whole=begun.unpacked, look=look)
        for name in begun.loading:
            loading.empty(home, name)
        unpacked.forget(home)
        tree.remove(_note(home))
    return {
        "removed": taken.removed,
        "left": [ascii(name)[1:-1] for name in taken.left],
        "left_count": taken.left_count,
        "emptied": begun.loading,
    }


def _examined(call: Call, stream: BinaryIO, most: Most, *, share: float) -> Contents:
    size = max(os.fstat(stream.fileno()).st_size, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, hard))
    try:
        return tarball.examine(stream, most, lambda read: call.progress(share * read / size, "looking through the tarball"))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _room(home: Home) -> Most:
    """What the account may still take: its quota, less what it holds."""
    found = quota.get(home.node.homes, home.uid)
    if found is None or not found.disk_bytes:
        raise AgentError("wrong-state", f"{home.user} has no quota: nothing is unpacked into it")
    return Most(max(found.disk_bytes - found.used_bytes, 0), max(found.inodes - found.used_inodes, 0))


@dataclass(slots=True, kw_only=True)
class Begun:
    """Which job has begun to move in: the same one may do it again, whatever became of its answer. ``loading``: the databases
    that it began to load, all of which were empty; ``unpacked``: all files are there."""

    job_id: str = ""
    unpacked: bool = False
    loading: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, home: Home) -> Begun:
        try:
            return cls(**json.loads(tree.read(_note(home)) or "{}"))
        except (ValueError, TypeError):
            return cls()

    def save(self, home: Home) -> None:
        manifest.directory(home)
        tree.write(_note(home), json.dumps(asdict(self)) + "\n", sync=True)


def _note(home: Home) -> Path:
    return home.records / "import.json"


def _require_empty(home: Home, names: list[str], *, job_id: str) -> Begun:
    """What a customer has in a database is not replaced. That the job has begun is noted."""
    seen = databases.see()
    if seen.away:
        raise AgentError("driver-transient", seen.away)
    lacking = [name for name in names if f"{home.user}_{name}" not in seen.databases_of(home.user)]
    if lacking:
        raise AgentError("not-found", f"{home.user} has no database {', '.join(lacking[:10])}")
    begun = Begun.read(home)
    if begun.job_id != job_id:
        begun = Begun(job_id=job_id)
    for name in names:
        if name in begun.loading:
            continue
        if databases.ask(sql.holds(f"{home.user}_{name}"), doing=f"looking at {home.user}_{name}"):
            raise AgentError(
                "wrong-state",
                f"the database {home.user}_{name} holds something already: nothing is loaded over it",
                hint="its customer has to empty it first, or leave its dump out",
            )
    begun.unpacked = False  # until it is, once more
    begun.save(home)
    return begun


def _unpack(call: Call, home: Home, stream: BinaryIO) -> None:
    """By tar, with the rights and limits of the account and no others."""
    words = as_account(home, [*TAR, f"--directory=/srv/h/{home.user}/home"])
    look = partial(call.progress, 0.5, "unpacking the files")
    before = os.umask(0o022)  # as of what its owner puts there: nginx has to read it
    try:
        done = attend(words, look=look, given=tarball.files(stream))
    finally:
        os.umask(before)
    if done.status != 0:
        full = "quota exceeded" in done.err or "No space left" in done.err
        raise AgentError(
            "no-capacity" if full else "driver-permanent",
            f"the files cannot be unpacked: {done.said}",
            hint="it can be done again",
        )


def _lay_aside(text: IO[bytes], file: BinaryIO, name: str) -> None:
    """Packed it may have been a thousand times smaller, and it lies where no quota counts it."""
    while piece := text.read(_COPY):
        if not packing.has_room(Path(file.name)):
            raise AgentError("no-capacity", f"the dump of {name} has no room on the node's own file system")
        file.write(piece)


def _load(call: Call, home: Home, stream: BinaryIO, names: list[str], begun: Begun) -> list[dict[str, Any]]:
    """Each dump from a file of root's own, by the account's login."""
    aside = home.records / "import"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    loaded = []
    try:
        with loading.lent(home, names):
            for name, text in tarball.dumps(stream):
                path = aside / f"{name}.sql"
                with path.open("xb") as file:
                    _lay_aside(text, file, name)
                if name not in begun.loading:
                    begun.loading.append(name)
                    begun.save(home)
                look = partial(call.progress, 0.7, f"loading {home.user}_{name}")
                loaded.append({"name": name, "bytes": loading.fresh(home, name, path, look=look)})
                path.unlink()
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return loaded
