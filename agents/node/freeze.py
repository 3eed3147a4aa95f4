"""Holding a running guest's file systems still for the moment in which its disk is frozen (through its guest agent).

A guest that stays frozen is a guest that is down. So what freezes is a process of its own, which thaws in any case: when it is
told to, or when its time is up, whatever became of the call, the connection and the controller.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, NoReturn

from agents.node.call import Call
from agents.node.place import Place
from agents.node.protocol import AgentError

HOLD_SECONDS = 8.0
"""How long file systems stay frozen when nobody says more; Windows' own limit is 10 s, and a shop notices more."""

THAW_SECONDS = 10.0
THAW_ATTEMPTS = 6
LATE_SECONDS = 300.0
"""How long a freeze that did not return in time is waited for, to thaw what it freezes after all."""


def guest_freeze(call: Call) -> dict[str, Any]:
    """``{"frozen": count of file systems}``, or ``{"frozen": 0, "why"}`` where the guest cannot be frozen in time.

    Raises AgentError (wrong-state) where it is frozen by a call before this one.
    """
    guest, seconds = call.arguments["guest"], float(call.arguments["seconds"])
    with call.place.lock(f"freeze {guest}"):
        if _path(call.place, guest).exists() and _thaw_order(call.place, guest) is not None:
            raise AgentError("wrong-state", f"{guest} was frozen already, and thawed now")
        reader, writer = os.pipe()
        listening = _listen(call.place, guest)
        if os.fork() == 0:
            os.close(reader)
            _watch(guest, seconds, listening, writer, _path(call.place, guest))
        os.close(writer)
        listening.close()
        with os.fdopen(reader, "rb") as words:
            ready = select.select([words], [], [], seconds + THAW_SECONDS)[0]
            line = words.readline() if ready else b""
        return dict(json.loads(line)) if line else {"frozen": 0, "why": "the process that freezes did not answer"}


def guest_thaw(call: Call) -> dict[str, Any]:
    """``held``: the guest was frozen until now, ``seconds`` long. Where it is not, it is told to thaw all the same."""
    held = _thaw_order(call.place, call.arguments["guest"])
    if held is not None:
        return {"held": True, "seconds": held}
    _thaw(call.arguments["guest"])
    return {"held": False, "seconds": 0.0}


# -- the process that freezes and thaws ------------------------------------------------------------------------------------


def _watch(guest: str, seconds: float, listening: socket.socket, writer: int, path: Path) -> NoReturn:
    """Never returns, and ends with the guest thawed. It is in a session of its own: no hang-up and no Ctrl-C reaches it."""
    try:
        os.setsid()
        for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(ending, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        _hold(guest, seconds, listening, writer)
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os._exit(0)


def _hold(guest: str, seconds: float, listening: socket.socket, writer: int) -> None:
    def tell(word: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # nobody may listen any more
            os.write(writer, json.dumps(word).encode() + b"\n")

    freezing = subprocess.Popen(_virsh("domfsfreeze", guest), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        said = freezing.communicate(timeout=seconds)[0].decode(errors="replace").strip()
    except subprocess.TimeoutExpired:
        tell({"frozen": 0, "why": f"its guest agent did not freeze it within {seconds:g} s"})
        with contextlib.suppress(subprocess.TimeoutExpired):
            freezing.communicate(timeout=LATE_SECONDS)
        freezing.kill()
        _thaw(guest)
        return
    if freezing.returncode != 0:
        tell({"frozen": 0, "why": said[-300:] or "virsh gave no reason"})
        _thaw(guest)
        return
    since = time.monotonic()
    tell({"frozen": _count(said)})
    asked = select.select([listening], [], [], HOLD_SECONDS)[0]
    _thaw(guest)
    if asked:
        with contextlib.suppress(OSError):
            answer, _ = listening.accept()
            answer.sendall(json.dumps(round(time.monotonic() - since, 3)).encode() + b"\n")
            answer.close()


def _thaw(guest: str) -> None:
    """Until the guest says that it is thawed; its agent answers nothing else meanwhile."""
    for _ in range(THAW_ATTEMPTS):
        with contextlib.suppress(subprocess.TimeoutExpired, OSError):
            if subprocess.run(_virsh("domfsthaw", guest), capture_output=True, timeout=THAW_SECONDS, check=False).returncode == 0:
                return
        time.sleep(0.2)


def _virsh(verb: str, guest: str) -> list[str]:
    return ["virsh", "--connect", "qemu:///system", verb, guest]


def _count(said: str) -> int:
    """``Froze 2 filesystem(s)``"""
    numbers = [int(word) for word in said.split() if word.isdigit()]
    return numbers[0] if numbers else 0


# -- the order to thaw -----------------------------------------------------------------------------------------------------


def _path(place: Place, guest: str) -> Path:
    return place.locks / f"{guest}.frozen"


def _listen(place: Place, guest: str) -> socket.socket:
    path = _path(place, guest)
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    path.chmod(0o600)
    listening.listen(1)
    return listening


def _thaw_order(place: Place, guest: str) -> float | None:
    """Tell the process that holds the guest to let go; how long it held it. None where none does, or it had let go already."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as order:
        order.settimeout(THAW_ATTEMPTS * THAW_SECONDS)
        try:
            order.connect(str(_path(place, guest)))
            answer = order.makefile("rb").readline()
        except OSError:
            return None
    return float(json.loads(answer)) if answer else None
