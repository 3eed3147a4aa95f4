"""Putting an account's vhosts before nginx: tested before every reload, one reload for all that wait, and one bad file is put
aside, so that all others go on being served."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from agents.node.hosting import tree, web
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.marks import node_lock
from agents.node.hosting.run import Done, allow_many_files, must, run
from agents.node.protocol import AgentError

# By its place among our directories alone: a customer may call a site or a domain as he likes, also as his neighbour.
_CULPRIT = re.compile(
    r"/(?:nginx/orchestrator|orchestrator/tls|log/orchestrator|orchestrator/fpm|srv/h)/(h[1-9][0-9]{5,8})(?=[./-])"
)
# errno(3): EIO, ENOMEM, ENFILE, EMFILE, ENOSPC, EROFS.
_NOBODYS = re.compile(r"\((5|12|23|24|28|30): ")
_PENDING, _RELOADING = "nginx", "nginx.reloading"
_MOST_BAD = 50
_NEW_WORKERS = 15.0
"""Seconds that the workers of the former configuration are waited for to let go of the ports."""


def ipv6(node: Node) -> bool:
    return node.under("proc/net/if_inet6").exists()


def publish(home: Home, text: str | None, *, certificates: Callable[[], None] = lambda: None) -> list[str]:
    """nginx serves the account by ``text`` (None = not at all). Returns the accounts whose files nginx refused and were
    put aside.

    Raises AgentError (driver-permanent) where nginx refuses it: what was before goes on. ``certificates`` puts them back.
    """
    before = tree.read(home.vhost)
    if text is not None:
        tree.remove(home.quarantined)
    if text != before:
        wait_for_reload(home.node)
        if text is None:
            tree.remove(home.vhost)
        else:
            tree.write(home.vhost, text, mode=0o644)

    def put_back() -> None:
        certificates()
        if before is None:
            tree.remove(home.vhost)
        else:
            tree.write(home.vhost, before, mode=0o644)

    aside = settle(home.node, own=home, put_back=put_back)
    if text is not None and tree.read(home.vhost) != text:
        raise AgentError(
            "driver-permanent", f"nginx refuses the sites of {home.user}; they were put aside", hint="apply it again"
        )
    return aside


def settle(node: Node, *, own: Home | None = None, put_back: Callable[[], None] = lambda: None) -> list[str]:
    """Test and reload if anything waits for it; another call may have done so for this one, too."""
    with node_lock(node.place, "nginx"):
        return _settle(node, own, put_back)


def change(node: Node, act: Callable[[], None], *, put_back: Callable[[], None]) -> list[str]:
    """``act`` changes what is no account's vhost, while nobody else tests or reloads. Where nginx refuses what is there then, it
    is put back, and the error raised."""
    with node_lock(node.place, "nginx"):
        act()
        wait_for_reload(node)
        try:
            return _settle(node, None, lambda: None)
        except BaseException:
            put_back()
            wait_for_reload(node)
            with suppress(AgentError):
                _settle(node, None, lambda: None)
            raise


def _settle(node: Node, own: Home | None, put_back: Callable[[], None]) -> list[str]:
    if not (node.pending / _PENDING).exists() and not (node.pending / _RELOADING).exists():
        return []
    tree.write(node.pending / _RELOADING, "")
    tree.remove(node.pending / _PENDING)
    aside, refused = _test(node, own, put_back)
    _reload(node)
    tree.remove(node.pending / _RELOADING)
    if refused:
        raise AgentError("driver-permanent", refused)
    return aside


def test() -> Done:
    """nginx reads all that it would serve by. It opens every log and certificate for that, more than a process may by default."""
    allow_many_files()
    return run(["nginx", "-t", "-q"])


def shown() -> str:
    """All that nginx would serve by, having tested it as ``test`` does. Raises AgentError where it refuses that."""
    allow_many_files()
    return must(["nginx", "-T", "-q"], doing="reading what nginx serves")


def _test(node: Node, own: Home | None, put_back: Callable[[], None]) -> tuple[list[str], str]:
    """Until nginx takes what is there: who was put aside, and why the caller's own file was taken back ('' = it was not)."""
    aside: list[str] = []
    refused = ""
    for _ in range(_MOST_BAD):
        done = test()
        if done.status == 0:
            return aside, refused
        if nobodys_fault(done.err):
            wait_for_reload(node)
            raise AgentError("driver-transient", f"nginx cannot test its configuration: {done.said}", hint="nginx -t")
        guilty = culprit(node, done.err)
        if guilty is None:
            wait_for_reload(node)
            raise AgentError(
                "driver-permanent", f"nginx refuses its configuration, and no account's part of it: {done.said}", hint="nginx -t"
            )
        if own is not None and guilty.user == own.user and not refused:
            refused = f"nginx refuses the sites of {own.user}, what served before goes on: {done.said}"
            put_back()
        else:
            guilty.vhost.replace(guilty.quarantined)
            aside.append(guilty.user)
    raise AgentError("driver-permanent", f"more than {_MOST_BAD} accounts' sites are refused by nginx: {', '.join(aside)[:300]}")


def nobodys_fault(said: str) -> bool:
    """Whether nginx lacked something of the node's, whoever's log or certificate it was at."""
    return any("[emerg]" in line and _NOBODYS.search(line) for line in said.splitlines())


def culprit(node: Node, said: str) -> Home | None:
    """The account whose file or certificate an error names."""
    for line in said.splitlines():
        if "[emerg]" in line:
            # The place that nginx names comes last; a certificate or log lies in a directory of the user's name.
            for user in reversed(_CULPRIT.findall(line)):
                home = Home(node, user)
                if home.vhost.exists():
                    return home
    return None


def wait_for_reload(node: Node) -> None:
    """Note that something changed that nginx has read at its start: the next call of ``settle`` reloads it."""
    tree.write(node.pending / _PENDING, "")


def _reload(node: Node) -> None:
    master = _master(node)
    before = _workers(node, master)
    must(["systemctl", "try-reload-or-restart", "nginx.service"], doing="reloading nginx")
    end = time.monotonic() + _NEW_WORKERS
    while before and time.monotonic() < end:
        now = _workers(node, master)
        if now and not now & before:
            return
        time.sleep(0.05)


def let_go(home: Home) -> None:
    """No worker sends files of the account any more. One of a former configuration goes on for as long as its slowest reader
    likes: it ends at once where it has a file of the account open, which is out of nginx or suspended by now."""
    node = home.node
    directory = f"{home.chroot}/"
    for pid, leaving in _titles(node, _master(node)):
        if leaving and any(path.startswith(directory) for path in _open_files(node, pid)):
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)


def _open_files(node: Node, pid: str) -> Iterator[str]:
    directory = node.under("proc") / pid / "fd"
    for name in tree.names(directory):
        with suppress(OSError):
            yield str((directory / name).readlink())


def _master(node: Node) -> str:
    return (tree.read(node.under("run/nginx.pid")) or "").strip()


def _workers(node: Node, master: str) -> set[str]:
    """The workers that take connections: those that are shutting down say so in their titles."""
    return {pid for pid, leaving in _titles(node, master) if not leaving}


def _titles(node: Node, master: str) -> list[tuple[str, bool]]:
    """Its workers, and whether each is shutting down."""
    found = []
    with suppress(OSError):
        for child in (node.under("proc") / master / "task" / master / "children").read_text().split():
            with suppress(OSError):
                title = Path(node.under("proc") / child / "cmdline").read_bytes()
                if b"worker process" in title:
                    found.append((child, b"shutting down" in title))
    return found


def taken(home: Home, domains: set[str]) -> list[str]:
    """Those of the domains that another account's vhosts serve, each as ``domain (user)``."""
    found = []
    for name in tree.names(home.node.vhosts):
        user = name.removesuffix(".conf")
        if user != home.user and name.endswith(".conf"):
            text = tree.read(home.node.vhosts / name) or ""
            if any(domain in text for domain in domains):
                found += [f"{domain} ({user})" for site in web.read(text) for domain in site.domains if domain in domains]
    return found
