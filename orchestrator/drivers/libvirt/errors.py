"""From libvirt's error codes to ours.

The codes are those of ``virErrorNumber`` (libvirt/virterror.h). What the table does not name is permanent: an error
that nobody has thought about is never tried again blindly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import libvirt

from orchestrator.domain.errors import (
    AlreadyExists,
    NoCapacity,
    NotFound,
    OrchestratorError,
    PermanentDriverError,
    Refused,
    TransientDriverError,
    Unreachable,
    WrongState,
)

# What is not there, or there already.
_STATE: dict[int, type[OrchestratorError]] = {
    libvirt.VIR_ERR_NO_DOMAIN: NotFound,
    libvirt.VIR_ERR_NO_STORAGE_POOL: NotFound,
    libvirt.VIR_ERR_NO_STORAGE_VOL: NotFound,
    libvirt.VIR_ERR_NO_SECRET: NotFound,
    libvirt.VIR_ERR_NO_NWFILTER: NotFound,
    libvirt.VIR_ERR_NO_NETWORK: NotFound,
    libvirt.VIR_ERR_DOM_EXIST: AlreadyExists,
    libvirt.VIR_ERR_STORAGE_VOL_EXIST: AlreadyExists,
    libvirt.VIR_ERR_OPERATION_INVALID: WrongState,
    libvirt.VIR_ERR_HOOK_SCRIPT_FAILED: Refused,
}

# The connection: libvirtd, or its node, is away.
_AWAY = frozenset(
    {
        libvirt.VIR_ERR_NO_CONNECT,
        libvirt.VIR_ERR_INVALID_CONN,
        libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_SSH,
        libvirt.VIR_ERR_NO_SERVER,
        libvirt.VIR_ERR_NO_CLIENT,
    }
)

# A libvirtd or QEMU that is busy just now.
_TRANSIENT = frozenset(
    {
        libvirt.VIR_ERR_OPERATION_TIMEOUT,
        libvirt.VIR_ERR_OPERATION_ABORTED,
        libvirt.VIR_ERR_RESOURCE_BUSY,
        libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
        libvirt.VIR_ERR_AGENT_UNSYNCED,
    }
)

# Where libvirt has one code for everything (internal error, system error) only the text tells.
# The first that matches counts.
_TEXTS: tuple[tuple[re.Pattern[str], type[OrchestratorError]], ...] = (
    (
        re.compile(r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|Permission denied \("),
        PermanentDriverError,
    ),
    (re.compile(r"No space left on device|Disk quota exceeded"), NoCapacity),
    (
        re.compile(r"is still being allocated|has asynchronous jobs running|is still in use"),
        TransientDriverError,
    ),
    (
        re.compile(
            r"[Cc]annot recv data|[Cc]annot write data|End of file while (reading|writing) data|client socket is closed"
            r"|Connection (reset|refused|timed out)|Failed to connect socket|Broken pipe|keepalive timeout|connection closed"
        ),
        Unreachable,
    ),
    (
        re.compile(r"Failed to terminate process|[Uu]nable to (read from|write to) monitor|cannot acquire state change lock"),
        TransientDriverError,
    ),
    (re.compile(r"Cannot allocate memory"), NoCapacity),
    (re.compile(r"volume target path '.*' already exists"), AlreadyExists),
)

# How libvirt reports a hook that said no: the hook's own words are the last part.
_HOOK = re.compile(r"unexpected (?:exit status|fatal signal) \d+(?:: (?P<words>.*))?$", re.DOTALL)


def translate(error: libvirt.libvirtError, doing: str) -> OrchestratorError:
    """Our error for libvirt's. ``doing`` begins the sentence ("starting orch.s1 on n1")."""
    code = error.get_error_code()
    said = (error.get_error_message() or "libvirt gave no reason").strip()
    message = f"{doing}: {said}"
    if code == libvirt.VIR_ERR_HOOK_SCRIPT_FAILED:
        return Refused(f"{doing}: {hook_words(said)}", libvirt_code=code)
    for pattern, kind in _TEXTS:
        if pattern.search(said):
            return kind(message, libvirt_code=code)
    if code in _AWAY:
        return Unreachable(message, libvirt_code=code)
    if code in _TRANSIENT:
        return TransientDriverError(message, libvirt_code=code)
    return _STATE.get(code, PermanentDriverError)(message, libvirt_code=code)


def hook_words(said: str) -> str:
    """What the host's hook wrote when it refused, out of libvirt's message about it."""
    found = _HOOK.search(said)
    words = (found.group("words") or "").strip() if found else ""
    return words or "the host's hook refused"


def code_of(error: libvirt.libvirtError) -> int:
    """libvirt's number of the error; -1 where it has none."""
    code = error.get_error_code()
    return -1 if code is None else int(code)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn every libvirt error raised inside into ours."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise translate(error, doing) from error
