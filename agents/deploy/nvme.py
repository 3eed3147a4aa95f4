"""Erasing an NVMe drive by its own commands (NVM Express Base 2.0): sanitize where it is known, format else."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import time
from collections.abc import Callable

from agents.deploy.failure import Failed

_IOCTL_ADMIN = 0xC0484E41  # NVME_IOCTL_ADMIN_CMD, linux/nvme_ioctl.h
_COMMAND = "<BBHIIIQQIIIIIIIIII"  # struct nvme_passthru_cmd
_IDENTIFY, _GET_LOG, _FORMAT, _SANITIZE = 0x06, 0x02, 0x80, 0x84
_SANITIZE_LOG, _EVERYWHERE = 0x81, 0xFFFFFFFF
_BLOCK_ERASE, _CRYPTO_ERASE = 2, 4
_LONGEST = 4 * 3600
METHODS = {
    "nvme-sanitize-crypto": (_SANITIZE, _CRYPTO_ERASE),
    "nvme-sanitize-block": (_SANITIZE, _BLOCK_ERASE),
    "nvme-format-crypto": (_FORMAT, 2),
    "nvme-format": (_FORMAT, 1),
}


def offered(controller: bytes) -> tuple[str, ...]:
    """What the drive offers, the best first, out of Identify Controller (5.17.2.1): SANICAP, OACS and FNA."""
    oacs, fna = struct.unpack_from("<H", controller, 256)[0], controller[524]
    (sanicap,) = struct.unpack_from("<I", controller, 328)
    found = []
    if sanicap & 1:
        found.append("nvme-sanitize-crypto")
    if sanicap & 2:
        found.append("nvme-sanitize-block")
    if oacs & 2:
        found += ["nvme-format-crypto"] if fna & 4 else []
        found.append("nvme-format")
    return tuple(found)


def progress_of(log: bytes) -> tuple[float, int]:
    """How far a sanitize is, from 0 to 1, and its state (5.16.1.25): 1 done, 2 running, 3 failed, 4 done without deallocation."""
    sprog, sstat = struct.unpack_from("<HH", log, 0)
    state = sstat & 7
    return (1.0 if state in (1, 4) else sprog / 65536), state


def controller_of(name: str) -> str:
    """nvme0n1 -> nvme0."""
    return name[: name.rindex("n")]


def identify(device: str) -> bytes:
    """Identify Controller. Raises Failed."""
    return _admin(device, _IDENTIFY, data=4096, cdw10=1)


def erase(device: str, method: str, *, namespace: int, told: Callable[[float], None]) -> None:
    """``device``: of the controller, such as /dev/nvme0. Returns when the drive says that it is done. Raises Failed."""
    opcode, how = METHODS[method]
    if opcode == _FORMAT:
        flbas = _admin(device, _IDENTIFY, data=4096, nsid=namespace)[26]
        keep = flbas & 0x0F | (flbas & 0x60) >> 5 << 12  # the size of its blocks stays as it is
        _admin(device, _FORMAT, nsid=namespace, cdw10=keep | how << 9, seconds=_LONGEST)
        return
    _admin(device, _SANITIZE, cdw10=how, seconds=600)
    until = time.monotonic() + _LONGEST
    while True:
        fraction, state = progress_of(_admin(device, _GET_LOG, data=512, nsid=_EVERYWHERE, cdw10=_SANITIZE_LOG | 127 << 16))
        if state in (1, 4):
            return
        if state == 3:
            raise Failed("the drive says that its sanitize operation failed")
        if time.monotonic() > until:
            raise Failed(f"the drive's sanitize operation was not done after {_LONGEST} s")
        told(fraction)
        time.sleep(2)


def _admin(device: str, opcode: int, *, data: int = 0, nsid: int = 0, cdw10: int = 0, seconds: int = 60) -> bytes:
    room = ctypes.create_string_buffer(max(data, 1))
    address = ctypes.addressof(room) if data else 0
    head = (opcode, 0, 0, nsid, 0, 0, 0, address, 0, data, cdw10)
    command = bytearray(struct.pack(_COMMAND, *head, 0, 0, 0, 0, 0, seconds * 1000, 0))
    try:
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as exc:
        raise Failed(f"{device} cannot be opened: {exc.strerror}") from exc
    try:
        status = fcntl.ioctl(fd, _IOCTL_ADMIN, command, True)
    except OSError as exc:
        raise Failed(f"the drive's controller does not take the command {opcode:#x}: {exc.strerror}") from exc
    finally:
        os.close(fd)
    if status:
        raise Failed(f"the drive refuses the command {opcode:#x} with the status {status:#x}")
    return room.raw[:data]
