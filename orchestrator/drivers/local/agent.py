"""The agent on the controller's own machine, called without SSH: for what only the controller may do to backups.

It is the zipapp that is shipped to nodes, from memory, as the user that the controller runs as, with its files under a directory
of the controller's own: a node on the same machine has nothing in common with it.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from orchestrator.domain.errors import PermanentDriverError, TransientDriverError
from orchestrator.drivers.agent_answers import Completed, LineReader, outcome
from orchestrator.drivers.calls import logged
from orchestrator.drivers.words import plain
from orchestrator.ports.node_transport import Progress

GRACE_SECONDS = 15.0
"""What the agent has to end what it began, after nobody listens to it any more."""

OUTPUT_LIMIT = 16 << 20
ERROR_LIMIT = 64 << 10
_READ = 64 << 10
_POLL_SECONDS = 0.5
_NAME = "the controller's own machine"
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/"}
_PROGRAM = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
os.umask(0o077)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from pathlib import Path
from agents.node.main import run
from agents.node.place import Place
sys.exit(run(sys.argv[3:], sys.stdin.buffer, sys.stdout.buffer, place=Place(Path(sys.argv[2]))))
"""


class LocalTransport:
    """The port NodeTransport to it. ``zipapp`` is the built agent, ``root`` the directory under which its files lie."""

    def __init__(self, *, zipapp: bytes, root: Path) -> None:
        self._root = root
        self._zipapp = os.memfd_create("node-agent")
        with os.fdopen(os.dup(self._zipapp), "wb") as stream:
            stream.write(zipapp)

    def call(
        self, command: str, request: Mapping[str, Any], *, deadline: float, progress: Progress | None = None
    ) -> dict[str, Any]:
        """See the port. The call is a process of its own; nothing that it began is left when this returns or raises."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        reader, end = LineReader(progress), time.monotonic() + deadline
        words = [sys.executable, "-I", "-c", _PROGRAM, f"/proc/self/fd/{self._zipapp}", str(self._root), command]
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(self._zipapp,),
            env=_ENVIRONMENT,
            start_new_session=True,
        )
        with logged(command, by="agent", node=_NAME):
            try:
                done = _Conversation(process, reader).hold(json.dumps(dict(request)).encode(), command, end)
            finally:
                _end(process)
            return outcome(reader, done, node=_NAME)

    def close(self) -> None:
        if self._zipapp >= 0:
            os.close(self._zipapp)
            self._zipapp = -1


class _Conversation:
    def __init__(self, process: subprocess.Popen[bytes], reader: LineReader) -> None:
        self._process, self._reader = process, reader
        self._stdout, self._stderr = bytearray(), bytearray()

    def hold(self, request: bytes, command: str, end: float) -> Completed:
        """Ask, and hear all of the answer. Raises TransientDriverError when the time is up."""
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        with suppress(BrokenPipeError):  # it has ended already, and says why
            stdin.write(request)  # the agent reads all of it before it does anything, so this cannot hang
            stdin.close()
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ, self._hear)
            selector.register(stderr, selectors.EVENT_READ, self._mind)
            while selector.get_map():
                if time.monotonic() > end:
                    raise TransientDriverError(f"{command} did not end in time on {_NAME}")
                for key, _ in selector.select(_POLL_SECONDS):
                    data = os.read(key.fd, _READ)
                    if not data:
                        selector.unregister(key.fileobj)
                    key.data(data)
        status = self._process.wait()
        return Completed(status if status >= 0 else -1, bytes(self._stdout), plain(self._stderr.decode(errors="replace")))

    def _hear(self, data: bytes) -> None:
        self._stdout += data
        if len(self._stdout) > OUTPUT_LIMIT:
            raise PermanentDriverError(f"the agent on {_NAME} answered with more than {OUTPUT_LIMIT} bytes")
        self._reader.feed(data)

    def _mind(self, data: bytes) -> None:
        self._stderr += data
        del self._stderr[:-ERROR_LIMIT]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop listening, by which the agent knows that it has to end what it began; then kill it, which ends that too."""
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
