"""A stopped guest's volume behind an NBD socket (qemu-nbd(8)), for as long as a block of code runs.

QEMU's own locks on the image refuse what would harm: a volume that a running guest has open cannot be opened here.
"""

from __future__ import annotations

import os
import re
import socket as socket_module
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agents.node.image import key_file
from agents.node.protocol import AgentError

START_SECONDS = 20.0
_GREETING = b"NBDMAGIC"
_LEASH = ("setpriv", "--pdeathsig", "KILL")
_IN_USE = re.compile(r"Failed to get .*lock|Is another process using the image")
_SAID_LIMIT = 500


def words(path: str, kind: str, socket: str, *, writing: bool, key: int | None) -> list[str]:
    """``kind``: qcow2 or raw; ``key``: the descriptor of a file with the passphrase of an encrypted qcow2 image, or None."""
    options = f"driver={kind},file.driver=file,file.filename={path.replace(',', ',,')}"
    if key is not None:
        options += ",encrypt.key-secret=key"
    secret = [] if key is None else ["--object", f"secret,id=key,file=/proc/self/fd/{key}"]
    mode = ["--discard=unmap", "--detect-zeroes=unmap", "--cache=writeback"] if writing else ["--read-only"]
    return ["qemu-nbd", "--persistent", "--shared=4", f"--socket={socket}", *mode, *secret, "--image-opts", options]


@contextmanager
def served(path: str, kind: str, *, socket: str, passphrase: str = "", writing: bool = False) -> Iterator[str]:
    """The socket. Raises AgentError: driver-transient where the volume is in use, driver-permanent where it cannot be opened."""
    Path(socket).unlink(missing_ok=True)
    with key_file(passphrase) as key:
        process = subprocess.Popen(
            [*_LEASH, *words(path, kind, socket, writing=writing, key=key)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=() if key is None else (key,),
            env={**os.environ, "LC_ALL": "C"},
        )
        try:
            _await(process, socket, path)
            yield socket
        finally:
            # The end of the server flushes what was written; it is waited for. It leaves its socket.
            process.terminate()
            try:
                process.communicate(timeout=START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
            Path(socket).unlink(missing_ok=True)


def _answers(path: str) -> bool:
    """Whether the server greets a client (NBD protocol, "Fixed newstyle negotiation")."""
    with socket_module.socket(socket_module.AF_UNIX) as client, suppress(OSError):
        client.settimeout(START_SECONDS)
        client.connect(path)
        return client.recv(len(_GREETING)) == _GREETING
    return False


def _await(process: subprocess.Popen[bytes], socket: str, path: str) -> None:
    """It listens before it has opened the image: only who answers has the disk."""
    end = time.monotonic() + START_SECONDS
    while not _answers(socket):
        if process.poll() is not None:
            said = " ".join(process.communicate()[1].decode(errors="replace").split())[:_SAID_LIMIT]
            code = "driver-transient" if _IN_USE.search(said) else "driver-permanent"
            raise AgentError(code, f"{Path(path).name} cannot be opened: {said}")
        if time.monotonic() > end:
            raise AgentError("driver-transient", f"{Path(path).name} could not be opened in time")
        time.sleep(0.02)
