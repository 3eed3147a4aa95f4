"""The controller's state as files (port StateFiles), and back again from a copy.

``MANIFEST.json`` says what each part is and has the SHA-256 of every file; ``config/`` is the directory of the configuration,
``state/`` has the keys and the database, ``elsewhere/`` what the configuration names outside of both, under its whole path. The
master key is among them in clear: the repository that they go to is encrypted with a key of its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from orchestrator.domain.backups.state import CONFIG, ELSEWHERE, MANIFEST, STATE, Manifest, manifest_of
from orchestrator.domain.errors import ConfigError, WrongState
from orchestrator.drivers.local.files import check_private_directory, make_private_directory, require_owner

STAGING = "state-copy"
KEYS = "keys"
LARGEST_FILE = 64 << 20
_LOCK = "state-copy.lock"
_BLOCK = 1 << 20
# Of a configuration's directory: what tools leave there, and what is no file of it.
_NOT_CONFIG = frozenset({".git", "__pycache__"})


class LocalStateFiles:
    """``about``: the manifest without files and database. ``elsewhere``: files outside of both directories that are needed."""

    def __init__(
        self,
        *,
        config_dir: Path,
        state_dir: Path,
        elsewhere: tuple[Path, ...],
        copy_database: Callable[[Path, Manifest], Manifest],
        about: Callable[[], Manifest],
    ) -> None:
        self._config_dir = config_dir
        self._state_dir = state_dir
        self._elsewhere = tuple(path for path in elsewhere if not (_below(path, config_dir) or _below(path, state_dir)))
        self._copy_database = copy_database
        self._about = about

    @contextmanager
    def staged(self) -> Iterator[Path]:
        """See the port."""
        directory = self._state_dir / STAGING
        with self.alone():
            _remove(directory)
            make_private_directory(directory)
            try:
                self._fill(directory)
                yield directory.resolve()  # who backs it up follows no links
            finally:
                _remove(directory)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See the port."""
        with self._alone() as mine:
            if not mine:
                raise WrongState("the controller's state is being copied already", hint="wait until that has ended")
            yield

    def clear(self) -> None:
        """See the port."""
        with self._alone() as mine:
            if mine:
                _remove(self._state_dir / STAGING)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        check_private_directory(self._state_dir)
        require_owner(self._state_dir)
        try:
            descriptor = os.open(self._state_dir / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            raise ConfigError(f"the state directory {self._state_dir} cannot be written: {exc.strerror}") from exc
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(descriptor)

    def _fill(self, directory: Path) -> None:
        keys = self._state_dir / KEYS
        for path, below in _plain_files(keys):
            _copy(path, directory / STATE / KEYS / below, needed=True)
        about = self._copy_database(directory / STATE, replace(self._about(), files={}))
        for path, below in _plain_files(directory / STATE / KEYS):
            if not (keys / below).is_file() or digest_of(keys / below) != digest_of(path):
                raise WrongState("the keys were changed while the database was copied", hint="try again when that has ended")
        for path, below in _plain_files(self._config_dir, without=self._state_dir):
            _copy(path, directory / CONFIG / below)
        for path in self._elsewhere:
            _copy(path, directory / ELSEWHERE / str(path).lstrip("/"), needed=True)
        manifest = replace(about, files={str(below): digest_of(path) for path, below in _plain_files(directory)})
        _write(directory / MANIFEST, manifest.text().encode())


def _below(path: Path, directory: Path) -> bool:
    return path.is_relative_to(directory)


def _plain_files(directory: Path, *, without: Path | None = None) -> Iterator[tuple[Path, Path]]:
    """Every plain file below the directory, with its path in it. Links are followed, each real directory is seen once."""
    seen = {os.path.realpath(directory)}
    if without is not None:
        seen.add(os.path.realpath(without))
    waiting = [directory]
    while waiting:
        here = waiting.pop()
        try:
            entries = sorted(here.iterdir())
        except OSError as exc:
            if isinstance(exc, PermissionError) and here != directory:
                continue  # as of a file: what the controller may not read it does not live by
            raise ConfigError(f"{here} cannot be read: {exc.strerror}") from exc
        for path in entries:
            try:
                mode = path.stat().st_mode
            except OSError:  # a link that leads nowhere, as editors leave them
                continue
            if stat.S_ISDIR(mode) and path.name not in _NOT_CONFIG and os.path.realpath(path) not in seen:
                seen.add(os.path.realpath(path))
                waiting.append(path)
            elif stat.S_ISREG(mode):
                yield path, path.relative_to(directory)


def _copy(path: Path, target: Path, *, needed: bool = False) -> None:
    """Raises ConfigError where it is needed and cannot be read, or is no file of a configuration for its size."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        if not needed and isinstance(exc, PermissionError):
            return  # what the controller may not read it does not live by
        raise ConfigError(f"{path} cannot be read: {exc.strerror}", hint="run it as the controller's user") from exc
    with os.fdopen(descriptor, "rb") as source:
        content = source.read(LARGEST_FILE + 1)
        mode = stat.S_IMODE(os.fstat(source.fileno()).st_mode)
    if len(content) > LARGEST_FILE:
        raise ConfigError(f"{path} is larger than a file of the configuration can be", hint="keep it elsewhere")
    _write(target, content, mode=mode)


def _write(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    try:
        _make_private(path.parent)
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(content)
            os.fchmod(file.fileno(), mode & 0o755)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be written: {exc.strerror}", hint="is there room on its disk?") from exc


def _make_private(directory: Path) -> None:
    """With all above it that is missing: ``mkdir`` gives those what the umask leaves, and a state directory is nobody else's."""
    if not directory.is_dir():
        _make_private(directory.parent)
        directory.mkdir(mode=0o700)


def digest_of(path: Path) -> str:
    """SHA-256 of the file's content."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc


def _remove(directory: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(directory)


# -- back ------------------------------------------------------------


def require_free(target: Path) -> None:
    """Raises ConfigError where anything stands there: a store is never written over."""
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise ConfigError(f"{target} is there already, and is left as it is", hint="name a directory that is not there yet")
    if not target.parent.is_dir():
        raise ConfigError(f"there is no directory {target.parent}", hint="make it first")


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A private directory beside it, that takes its place at the end; where something is raised nothing is left."""
    unfinished = target.with_name(f".{target.name}.unfinished")
    _remove(unfinished)
    try:
        unfinished.mkdir(mode=0o700)
        yield unfinished
        if target.exists():
            target.rmdir()
        unfinished.rename(target)
    except OSError as exc:
        raise ConfigError(f"{target} cannot be made: {exc.strerror}") from exc
    finally:
        _remove(unfinished)


def close(directory: Path) -> None:
    """Let no others into what was restored, whatever the umask was when it was copied: from here it goes to its place."""
    for path in (directory, *(path for path in directory.rglob("*") if path.is_dir() and not path.is_symlink())):
        path.chmod(0o700)


def checked(directory: Path) -> Manifest:
    """What was restored there, each file as its manifest has it. Raises ConfigError."""
    try:
        found = manifest_of((directory / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else exc
        raise ConfigError(f"this is no copy of a controller's state: its {MANIFEST} cannot be used: {why}") from exc
    for name, digest in found.files.items():
        path = directory / name
        if ".." in path.parts or path.is_symlink() or not path.is_file() or digest_of(path) != digest:
            raise ConfigError(f"the copy is not whole: {name} is not as it was copied", hint="take an earlier one: --snapshot")
    return found
