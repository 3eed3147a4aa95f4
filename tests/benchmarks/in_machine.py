"""Runs in the deploy image in place of its agent, as the machine's last process: how fast an image comes onto the disk.

From the same ramdisk to the same disk: by the agent's own ``write``, and by hand. Each round is told on the console as one line
of JSON behind ``MARK``; at the end the machine is off.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from agents.deploy import drives, inspecting, writing
from agents.deploy.place import Place

MARK = "measured: "
IMAGE = "/bench/image"
ROUNDS = 3


class Ram:
    """The image as the desk gives it, in parts; out of the ramdisk."""

    def image(self, name: str, size: int, *, start: int = 0) -> Iterator[bytes]:
        with Path(name).open("rb") as file:
            file.seek(start)
            while part := file.read(drives.BLOCK):
                yield part


def shell(command: str) -> float:
    began = time.monotonic()
    subprocess.run(["sh", "-c", command], check=True, timeout=600)
    return time.monotonic() - began


def main() -> None:
    place, size = Place(), Path(IMAGE).stat().st_size
    (disk,) = inspecting.inspect(place)["disks"]
    device, blocks = f"/dev/{disk['name']}", -(-size // drives.BLOCK)
    with Path(IMAGE).open("rb") as file:
        wanted = hashlib.file_digest(file, "sha256").hexdigest()
    arguments = {"image": IMAGE, "sha256": wanted, "bytes": size, "serial": disk["serial"], "seed": {}}
    dd = f"busybox dd bs={drives.BLOCK}"
    for _ in range(ROUNDS):
        copied = shell(f"{dd} if={IMAGE} of={device} oflag=direct conv=notrunc,fsync 2>/dev/null")
        proven = shell(
            f"busybox sha256sum {IMAGE} >/run/a; {dd} if={device} count={blocks} iflag=direct 2>/dev/null"
            f" | busybox head -c {size} | busybox sha256sum >/run/b"
        )
        began = time.monotonic()
        writing.write(place, Ram(), arguments, lambda _fraction, _says: None)
        told = {"ours": time.monotonic() - began, "copied": copied, "proven": proven, "bytes": size}
        sys.stderr.write(f"{MARK}{json.dumps(told)}\n")
        sys.stderr.flush()
    ctypes.CDLL(None).reboot(0x4321FEDC)  # LINUX_REBOOT_CMD_POWER_OFF


if __name__ == "__main__":
    main()
