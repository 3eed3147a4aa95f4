"""Runs restic: in a session of its own that ends with the agent, lighter than the rest of the node, watched to its end.

It is told to end (SIGINT) where nobody listens any more or its time is up, so that it can take its lock out of the repository;
where it does not, it is killed. Nothing of it is left when a call returns.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from agents.node import amounts
from agents.node.kernel import die_with_parent
from agents.node.place import Place
from agents.node.protocol import AgentError
from agents.node.restic import argv, messages, processes
from agents.node.restic.messages import ExitError, ItemError, Plain, Status, Summary
from agents.node.restic.outcome import DONE, ITEMS_TOLD, NO_VIEW, TAKES_ITS_LOCK_AWAY, Said, failure, scrub
from agents.node.restic.repository import Repository
from agents.node.restic.view import View

BEAT = 0.5
"""Seconds between two looks at whether anybody still waits for the call."""

GRACE = 10.0
"""Seconds that restic has to clean up after it was told to end."""

OUTPUT_LIMIT = 4 << 20
STDERR_KEPT = 16 << 10
_READ = 64 << 10

Say = Callable[[float, str], None]
Watch = Callable[[int, int], str]
"""Gets the files and bytes that were read so far; says why the run is to be ended, or ''."""


class Restic:
    """Calls of restic on one repository. ``say`` hears how far it is and, by raising, ends it; so does the time ``end`` (of
    time.monotonic)."""

    def __init__(
        self, place: Place, repository: Repository, *, files: argv.Files, limits: argv.Limits, say: Say, end: float
    ) -> None:
        self._place, self._repository, self._files, self._limits = place, repository, files, limits
        self._say, self._end = say, end

    def done(self, verb: Sequence[str], *, doing: str, view: View | None = None) -> Said:
        """A run that must go well; raises the AgentError of one that did not."""
        said = self.run(verb, doing=doing, view=view)
        if said.status != DONE or said.stopped:
            raise failure(said, doing)
        return said

    def stream(self, verb: Sequence[str], *, doing: str, consume: Callable[[BinaryIO], None]) -> Said:
        """A run that must go well, whose output is no message but content, read by ``consume`` in a thread of its own.

        Raises what ``consume`` raises, after restic has ended.
        """
        with _Stream(consume) as stream:
            said = self.run(verb, doing=doing, take=stream.take)
        if stream.problem is not None:
            raise stream.problem
        if said.status != DONE or said.stopped:
            raise failure(said, doing)
        return said

    def run(
        self,
        verb: Sequence[str],
        *,
        doing: str,
        view: View | None = None,
        take: Callable[[bytes], None] | None = None,
        watch: Watch | None = None,
        expected: int = 0,
    ) -> Said:
        """How it ended. Raises what ``say`` and ``watch`` raise, after restic has ended. ``take`` gets its output as it comes,
        unread. ``expected`` bytes are to be read, where restic does not count them first."""
        words = argv.words(self._repository, self._files, self._limits, verb)
        parent = os.getpid()

        def become() -> None:
            """In the child: bound to the agent's life, on record, in its directory."""
            try:
                die_with_parent()
                if os.getppid() != parent:
                    os._exit(NO_VIEW)
                processes.note(self._place, self._repository.location)
                if view is not None:
                    view.enter()
            except OSError as exc:
                os.write(2, f"{exc.filename or 'preparing restic'}: {exc.strerror}\n".encode(errors="replace"))
                os._exit(NO_VIEW)

        processes.directory(self._place).mkdir(mode=0o700, parents=True, exist_ok=True)
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=argv.environment(self._repository, self._files),
            cwd="/",
            start_new_session=True,
            preexec_fn=become,  # the agent has one thread
        )
        hearing = _Hearing(process, self._repository.secrets, take)
        try:
            while not hearing.listen(BEAT):
                self._say(hearing.fraction or hearing.bytes_done / max(expected, 1), f"{doing}{hearing.progress}")
                if time.monotonic() > self._end:
                    hearing.stopped = "it did not end in time"
                if watch is not None and not hearing.stopped:
                    hearing.stopped = watch(hearing.files_done, hearing.bytes_done)
                if hearing.stopped:
                    break
        finally:
            _end(process, hearing)
            if process.returncode in TAKES_ITS_LOCK_AWAY and not hearing.killed:
                # What was killed, or failed, stays on record until its lock is looked for: without it that would be nobody's.
                processes.record_path(self._place, process.pid).unlink(missing_ok=True)
        return hearing.said(process.returncode)


@dataclass
class _Hearing:
    """Takes both streams of a run as they come."""

    process: subprocess.Popen[bytes]
    secrets: tuple[str, ...]
    take: Callable[[bytes], None] | None = None
    stopped: str = ""
    killed: bool = False
    fraction: float = 0.0
    files_done: int = 0
    bytes_done: int = 0
    progress: str = ""
    _summary: Summary | None = None
    _exit: ExitError | None = None
    _errors: list[ItemError] = field(default_factory=list)
    _error_count: int = 0
    _plain: list[str] = field(default_factory=list)
    _plain_size: int = 0
    _stderr: str = ""
    _rest: dict[int, bytes] = field(default_factory=dict)
    _selector: selectors.DefaultSelector = field(default_factory=selectors.DefaultSelector)

    def __post_init__(self) -> None:
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self._rest[stream.fileno()] = b""
            self._selector.register(stream, selectors.EVENT_READ)

    def listen(self, seconds: float) -> bool:
        """Hear what comes within so long; true at the end of both streams and of restic."""
        until = time.monotonic() + seconds
        while self._selector.get_map() and (left := until - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                data = os.read(key.fd, _READ)
                if data and self.take is not None and key.fd == self._out():
                    self.take(data)
                    continue
                if not data:
                    self._take(key.fd, b"\n")
                    self._selector.unregister(key.fileobj)
                    continue
                self._take(key.fd, data)
        if self._selector.get_map():
            return False
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, until - time.monotonic()))
        return self.process.poll() is not None

    def close(self) -> None:
        self._selector.close()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def said(self, status: int) -> Said:
        if self._plain_size > OUTPUT_LIMIT:
            raise AgentError("driver-permanent", f"restic answered with more than {OUTPUT_LIMIT} bytes")
        return Said(
            status=status,
            summary=self._summary,
            exit_error=self._exit,
            errors=tuple(self._errors),
            error_count=self._error_count,
            plain="\n".join(self._plain),
            stderr=self._stderr,
            stopped=self.stopped,
        )

    def _take(self, fd: int, data: bytes) -> None:
        *lines, rest = (self._rest[fd] + data).split(b"\n")
        # Of a line that is too long only so much is kept that it is known for one.
        self._rest[fd] = rest[: messages.LINE_LIMIT + 1]
        for line in lines:
            self._line(fd, line)

    def _out(self) -> int:
        return -1 if self.process.stdout is None else self.process.stdout.fileno()

    def _line(self, fd: int, line: bytes) -> None:
        message = messages.read(line)
        if isinstance(message, Status):
            self.fraction, self.files_done, self.bytes_done = message.fraction, message.files_done, message.bytes_done
            self.progress = f": {message.files_done} files, {amounts.size(message.bytes_done)}"
        elif isinstance(message, Summary):
            self._summary = message
        elif isinstance(message, ExitError):
            self._exit = ExitError(message.code, self._clean(message.message))
        elif isinstance(message, ItemError):
            self._error_count += 1
            if len(self._errors) < ITEMS_TOLD:
                self._errors.append(ItemError(self._clean(message.item), message.during, self._clean(message.message)))
        elif isinstance(message, Plain) and fd == self._out():
            self._plain_size += len(message.text)
            if self._plain_size <= OUTPUT_LIMIT:
                self._plain.append(message.text)
        elif isinstance(message, Plain):
            self._stderr = (self._stderr + self._clean(message.text) + "\n")[-STDERR_KEPT:]

    def _clean(self, text: str) -> str:
        return scrub(text, self.secrets)


class _Stream:
    """Hands on to a thread what is taken, for who reads rather than is told. The thread begins with the first of it, when restic
    has been started (a process is not forked where there are threads)."""

    def __init__(self, consume: Callable[[BinaryIO], None]) -> None:
        self._consume = consume
        self._reader, self._writer = os.pipe()
        self._thread: threading.Thread | None = None
        self.problem: BaseException | None = None

    def __enter__(self) -> _Stream:
        return self

    def take(self, data: bytes) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        left = memoryview(data)
        with suppress(BrokenPipeError):  # the reader gave up, and has said why; the rest is of no use
            while left and self.problem is None:
                left = left[os.write(self._writer, left) :]

    def __exit__(self, *_: object) -> None:
        os.close(self._writer)
        if self._thread is None:
            os.close(self._reader)
        else:
            self._thread.join()

    def _work(self) -> None:
        with os.fdopen(self._reader, "rb") as stream:
            try:
                self._consume(stream)
                while stream.read(_READ):  # what stands behind the end of what was read (the padding of an archive)
                    pass
            except BaseException as problem:  # noqa: BLE001 - raised again by who waits for the run
                self.problem = problem


def _end(process: subprocess.Popen[bytes], hearing: _Hearing) -> None:
    """End what still runs: asked first, then killed, and whatever it started with it."""
    try:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            until = time.monotonic() + GRACE
            while time.monotonic() < until and not hearing.listen(0.2):
                pass
        if process.poll() is None:
            hearing.killed = True
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for left in processes.session_members(process.pid):  # ssh is in a group of its own
            with suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)
    finally:
        hearing.close()


def cache_directory(place: Place, location: str) -> Path:
    """restic's cache of one repository: it goes when the repository goes."""
    return place.state / "restic" / "cache" / sha256(location.encode()).hexdigest()[:32]


@contextmanager
def files_of(place: Place, repository: Repository) -> Iterator[argv.Files]:
    """The files of one call: SSH's in a private directory in memory, scratch on disk; both go with the call.

    What a killed agent left of such is removed by the next call: nobody holds its lock any more.
    """
    secret_base, scratch_base = place.locks / "restic", place.state / "restic" / "scratch"
    cache = cache_directory(place, repository.location)
    for base in (secret_base, scratch_base, cache.parent):
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{os.getpid()}.{time.monotonic_ns()}"
    secret, scratch = secret_base / name, scratch_base / name
    with place.lock("the files of restic's calls"):
        _sweep(secret_base, scratch_base)
        secret.mkdir(mode=0o700)
        held = os.open(secret, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(held, fcntl.LOCK_EX)
        scratch.mkdir(mode=0o700)
    try:
        yield argv.Files(
            cache=str(cache),
            scratch=str(scratch),
            ssh_key=_private(secret / "key", repository.ssh_key),
            ssh_known_hosts=_private(secret / "known_hosts", repository.ssh_known_hosts),
        )
    finally:
        shutil.rmtree(secret, ignore_errors=True)
        shutil.rmtree(scratch, ignore_errors=True)
        os.close(held)


def _sweep(secret_base: Path, scratch_base: Path) -> None:
    for old in secret_base.iterdir():
        fd = os.open(old, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # its call goes on
        else:
            shutil.rmtree(scratch_base / old.name, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            os.close(fd)
    held = {each.name for each in secret_base.iterdir()}
    for scratch in scratch_base.iterdir():
        if scratch.name not in held:  # of before the last boot, which has emptied /run
            shutil.rmtree(scratch, ignore_errors=True)


def _private(path: Path, text: str) -> str:
    if not text:
        return ""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as stream:
        stream.write(text if text.endswith("\n") else text + "\n")
    return str(path)
