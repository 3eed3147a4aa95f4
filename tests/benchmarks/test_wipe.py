"""Wiping a volume, against overwriting as many bytes with dd past the page cache."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.node.main import run
from tests.benchmarks.book import Row, pairs, timed, write
from tests.disk import Disk, disk, tool
from tests.lab.environment import Lab

MIB = 1 << 20
SIZE = 192 * MIB
ROUNDS = 3
PASSPHRASE = b"correct horse battery staple"


@pytest.fixture
def ground(lab: Lab, tmp_path: Path) -> Iterator[Disk]:
    with disk(tmp_path, megabytes=600) as made:
        yield made


def _wipe(ground: Disk, path: Path, method: str) -> dict[str, Any]:
    request = {"path": str(path), "method": method, "samples": 16}
    out = io.BytesIO()
    code = run(["volume-wipe"], io.BytesIO(json.dumps(request).encode()), out, place=ground.place)
    last = json.loads(out.getvalue().splitlines()[-1])
    assert code == 0, last
    report: dict[str, Any] = last["result"]
    assert report["verified"] is True
    return report


def _filled(path: Path) -> Path:
    with path.open("wb") as file:
        for _ in range(SIZE // MIB):
            file.write(os.urandom(MIB))
        file.flush()
        os.fsync(file.fileno())
    return path


def _encrypted(ground: Disk) -> Path:
    """An encrypted image into which as many bytes were written as the plain one has."""
    path, key = ground.pool / "orch.vps-1.disk.j1.qcow2", ground.place.root / "key"
    key.write_bytes(PASSPHRASE)
    secret = ("--object", f"secret,id=s,file={key}")
    options = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=100"
    for attempt in range(50):  # qemu-img gives up where it cannot measure its own CPU time: a busy machine
        done = subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", *secret, "-o", options, str(path), str(SIZE)],
            capture_output=True,
            timeout=60,
        )
        if done.returncode == 0:
            break
        assert attempt < 49, done.stderr
    image = f"driver=qcow2,file.filename={path},encrypt.key-secret=s"
    tool("qemu-io", *secret, "--image-opts", image, "-c", f"write -P 165 0 {SIZE}")
    os.sync()
    return path


def test_wiping_a_volume(ground: Disk) -> None:
    erased: list[dict[str, Any]] = []

    def dd() -> float:
        path = _filled(ground.pool / "bare.raw")
        command = [
            "dd",
            "if=/dev/zero",
            f"of={path}",
            "bs=4M",
            f"count={SIZE // (4 * MIB)}",
            "oflag=direct",
            "conv=notrunc,fsync",
        ]
        taken = timed(lambda: subprocess.run(command, check=True, capture_output=True, timeout=120))
        path.unlink()
        return taken

    def overwrite() -> float:
        path = _filled(ground.pool / "orch.vps-1.disk.j1.raw")
        return timed(lambda: _wipe(ground, path, "overwrite"))

    def erase() -> float:
        path = _encrypted(ground)
        return timed(lambda: erased.append(_wipe(ground, path, "crypto-erase")))

    over = pairs(overwrite, dd, rounds=ROUNDS)
    crypto = pairs(erase, dd, rounds=ROUNDS)
    write(
        "Wiping",
        f"A volume of {SIZE // MIB} MiB, all of it written. Ours: the agent's `volume-wipe`, from the rename until the "
        "file is removed: extents read, overwritten past the page cache, read back from the device below the file system."
        " Bare: `dd if=/dev/zero oflag=direct conv=notrunc,fsync` over as many bytes.",
        [
            over.row("overwriting a plain volume"),
            Row("the same, a second", f"{SIZE / over.ours / 1e6:.0f} MB", f"{SIZE / over.bare / 1e6:.0f} MB"),
            crypto.row("erasing header and keys of an encrypted one"),
            Row("bytes overwritten for that", f"{erased[-1]['bytes_overwritten'] / 1e6:.1f} MB", f"{SIZE / 1e6:.0f} MB"),
        ],
    )
