"""Files that hold secrets: read only where nobody else could, made so that they are whole or not there."""

from __future__ import annotations

import os
import pwd
import stat
import tempfile
from pathlib import Path

from orchestrator.domain.errors import ConfigError

LARGEST = 64 * 1024
_AS_WHOM = "run it as the controller's user, and check state_dir: in orchestrator.yaml"


def read_secret(path: Path, *, what: str) -> bytes:
    """The content of a secret file.

    Raises ConfigError where it is missing, is no plain file, belongs to another user (root's is fine), can be read or
    written by group or others, or is larger than 64 KiB.
    """
    return _read(path, what, allowed=0o700)


def read_trusted(path: Path, *, what: str) -> bytes:
    """The same of a file that anybody may read, but nobody else may write."""
    return _read(path, what, allowed=0o755)


def _read(path: Path, what: str, *, allowed: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as exc:
        raise ConfigError(f"{what}: there is no file {path}", hint="make it, or correct the path in the configuration") from exc
    except OSError as exc:
        raise ConfigError(f"{what}: {path} cannot be read: {exc.strerror}") from exc
    try:
        _refuse_unsafe(os.fstat(descriptor), path, what, allowed)
        content = os.read(descriptor, LARGEST + 1)
    finally:
        os.close(descriptor)
    if len(content) > LARGEST:
        raise ConfigError(f"{what}: {path} is larger than a secret can be")
    return content


def _refuse_unsafe(status: os.stat_result, path: Path, what: str, allowed: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{what}: {path} is no plain file")
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"{what}: {path} belongs to another user", hint=f"chown {os.geteuid()} {path}")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o777 & ~allowed:
        hint = "chmod 600" if allowed == 0o700 else "chmod 644"
        raise ConfigError(f"{what}: {path} can be used by other users of this machine (mode {mode:04o})", hint=f"{hint} {path}")


def make_file(path: Path, content: bytes, *, mode: int = 0o600) -> bool:
    """Make the file whole and on disk, or leave one that is there untouched; whether it was made.

    Raises ConfigError where it cannot be written.
    """
    try:
        return _make_file(path, content, mode)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be written: {exc.strerror}", hint=_AS_WHOM) from exc


def _make_file(path: Path, content: bytes, mode: int) -> bool:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # made with mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # unlike a rename it never takes the place of what another process made meanwhile
        except FileExistsError:
            return False
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)
    return True


def replace_file(path: Path, content: bytes) -> None:
    """Put the content (mode 0600) in the file's place, whole: a reader finds the old one or the new one.

    Raises ConfigError where it cannot be written.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be written: {exc.strerror}", hint=_AS_WHOM) from exc


def make_private_directory(path: Path) -> None:
    """Make the directory (and its parents) for this user alone.

    Raises ConfigError where it cannot be made, or where one stands that others may write.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"the directory {path} cannot be made: {exc.strerror}", hint=_AS_WHOM) from exc
    check_private_directory(path)


def check_private_directory(path: Path) -> None:
    """Raises ConfigError where others may write into the directory, or where this user may not look at it.

    One that is missing is left to whoever needs it.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    except OSError as exc:
        raise ConfigError(f"the directory {path} cannot be used: {exc.strerror}", hint=_AS_WHOM) from exc
    if status.st_mode & 0o022:
        raise ConfigError(f"other users of this machine can write into {path}", hint=f"chmod 700 {path}")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(f"the directory {path} cannot be used by this user", hint=_AS_WHOM)


def require_owner(state_dir: Path) -> None:
    """Raises ConfigError where the directory is another user's, root's own acts included: what root leaves there the
    controller's user could neither read nor take away. One that is missing is left to whoever needs it.
    """
    try:
        owner = state_dir.stat().st_uid
    except OSError:
        return
    if owner != os.geteuid():
        name = _user(owner)
        hint = f"run it as that user: sudo -u {name} orchestrator …"
        raise ConfigError(f"the state directory {state_dir} belongs to another user, {name}", hint=hint)


def _user(uid: int) -> str:
    """As sudo(8) takes it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"'#{uid}'"


def is_there(path: Path) -> bool:
    """Whether something stands there; raises ConfigError where this user cannot tell."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as exc:
        raise ConfigError(f"{path} cannot be looked at: {exc.strerror}", hint=_AS_WHOM) from exc
    return True


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
