"""Restores into accounts: what must be so before restic writes there as root, and ``account-restored``, which shows or removes
what was restored aside.

In place restic writes into a home that its customer has shaped. No link leads out of the mount that it sees (``restic.view``);
here it is looked after that nobody of the account's works in there meanwhile, that nothing is mounted there, and that no name
there is another user's file: what restic finds unchanged it gives to the account's user, and that file is not his.

Aside it writes into ``restored/<backup>/``, which is root's alone until it is shown. What is shown is root's and can be read by
the account's group: the customer's quota does not count it, and nothing of his can change it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from agents.node.call import Call
from agents.node.hosting import loading, marks, packing, sweep, tree, walk
from agents.node.hosting.fields import BACKUP, USER
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.walk import Beat
from agents.node.place import Place
from agents.node.protocol import AgentError

LEFT_OUT = ("restored", "backup.making", packing.REMOVING)
"""Names in an account's directory that belong to no backup of it."""

IN_PLACE = ("/home", "/backup")
"""All that a restore in place may touch of it."""

_TOLD = 10


def of_path(place: Place, path: str) -> tuple[Home, str] | None:
    """The account whose directory this is, and the backup that is restored aside there ('' = in place); None for any other."""
    node = Node(place)
    parts = Path(path).parts
    above = len(node.homes.parts)
    if parts[:above] != node.homes.parts or len(parts) == above:
        return None
    user, below = parts[above], parts[above + 1 :]
    if not USER.fullmatch(user):
        return None
    if not below:
        return Home(node, user), ""
    if len(below) == 2 and below[0] == "restored" and BACKUP.fullmatch(below[1]):
        return Home(node, user), below[1]
    raise AgentError("refused", f"{path} is no place for a restore", hint=f"/srv/h/{user} or /srv/h/{user}/restored/BACKUP")


def left_out(place: Place, path: str) -> Sequence[str]:
    """What of a directory belongs to no backup of it."""
    parts = Path(path).parts
    above = Node(place).homes.parts
    return LEFT_OUT if parts[:-1] == above and USER.fullmatch(parts[-1]) else ()


@contextmanager
def guarded(place: Place, path: str, only: Sequence[str], *, beat: Beat) -> Iterator[Sequence[str]]:
    """While restic writes there. Gives what of the snapshot it may write (nothing = all).

    Raises AgentError: wrong-state (the account is open), refused (what is in the way is named); then nothing was written.
    """
    found = of_path(place, path)
    if found is None:
        yield only
        return
    home, backup = found
    with marks.account_lock(home.node, home.user):
        if marks.mark(home) is None:
            raise AgentError("wrong-state", f"{home.user} is no account of the controller's on this node")
        sweep.probes(home)
        packing.require_roots(home)
        if backup:
            _make_aside(home, backup)
            yield only
            return
        loading.require_closed(home)
        wanted = only or IN_PLACE
        make_safe(home, wanted, beat=beat)
        yield wanted


def make_safe(home: Home, wanted: Sequence[str], *, beat: Beat) -> None:
    """Nothing is mounted in the account's directory, and it holds no name of another user's file. Raises AgentError (refused)
    that names what is.

    Where restic is to write, pipes and sockets go: it would wait for somebody to read from the one, and cannot write over the
    other. Nothing runs that they could lead to, and nothing is in them.
    """
    mounted = tree.mounts_below(home.chroot, tree.mountinfo(home.node.place.root))
    if mounted:
        raise AgentError(
            "refused", f"something is mounted in the account's directory: {', '.join(mounted[:_TOLD])}", hint="unmount it first"
        )
    way = walk.in_the_way(home.chroot, home.uid, beat=beat)
    if way.foreign:
        told = ", ".join(f"{home.chroot}/{path}" for path in way.foreign[:_TOLD])
        raise AgentError(
            "refused",
            f"files of other users have names in the account's directory: {told}",
            hint="remove these names first: the files have others",
        )
    for path in way.unread:
        if any(f"/{path}" == each or f"/{path}".startswith(f"{each.rstrip('/')}/") for each in wanted):
            walk.unlink(home.chroot, path)


def _make_aside(home: Home, backup: str) -> None:
    """Root's alone from now on, also where it was shown before."""
    for path, mode, group in ((home.restored, 0o750, home.uid), (home.restored / backup, 0o700, 0)):
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise AgentError("refused", f"{path} is no directory")
        path.mkdir(mode=0o700, exist_ok=True)
        _give(path, mode, group)


def account_restored(call: Call) -> dict[str, Any]:
    """``restored``: the backups of ``keep`` that are there, which the account's user can read now. All others are removed."""
    node = Node(call.place)
    home, keep = Home(node, call.arguments["user"]), call.arguments["keep"]
    with marks.account_lock(node, home.user):
        marks.require_ours(home, call.arguments["service_id"])
        sweep.probes(home)
        packing.require_roots(home)
        names = [name for name in tree.names(home.restored) if name != packing.REMOVING]
        kept = [name for name in names if name in keep]
        for name in names:
            if name in kept:
                _show(home, home.restored / name, beat=partial(call.progress, 0.0, f"showing {home.restored / name}"))
            else:
                packing.discard(home.restored / name)
        if not kept:
            packing.discard(home.restored)
    return {"restored": kept}


def _show(home: Home, path: Path, *, beat: Beat) -> None:
    """First all that is in it, then itself; settings hold secrets and stay root's own."""
    _give(path, 0o700, 0)
    walk.show(path, home.uid, beat=beat)
    with suppress(FileNotFoundError), tree.opened(path / "backup") as directory:
        os.chown(packing.SETTINGS, 0, 0, dir_fd=directory, follow_symlinks=False)
        os.chmod(packing.SETTINGS, 0o600, dir_fd=directory)
    _give(path, 0o750, home.uid)


def _give(path: Path, mode: int, group: int) -> None:
    with tree.opened(path) as fd:
        os.fchown(fd, 0, group)
        os.fchmod(fd, mode)
