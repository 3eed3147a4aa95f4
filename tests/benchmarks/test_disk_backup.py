"""The second backup of a guest's disk, against restic reading all of the same disk from its standard input."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agents.build import zipapp
from agents.node.disk.segments import SEGMENT_BYTES, count
from tests.benchmarks.book import Pair, Row, pairs, timed, write
from tests.disk import tool
from tests.lab.daemons import wait_until
from tests.lab.environment import Lab
from tests.local_agent import LocalAgent

GIB = 1 << 30
SIZE = 4 * GIB
WRITE = 64 * 1024
WRITES = 100
ROUNDS = 3
PASSWORD = "a key that nobody guesses"


class Ground:
    """A disk of 4 GiB, full of random bytes, in an image that notes what is written to it; and a repository of each kind."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.image = directory / "disk.qcow2"
        self.socket = lab.directory / "orch.bench.nbd"  # a socket's path is 107 bytes at most
        built = directory / "agent.pyz"
        built.write_bytes(zipapp())
        self.agent = LocalAgent(directory / "agent", [directory], zipapp=built)
        self.repository = {"location": str(directory / "ours"), "password": PASSWORD}
        self.bare = {**os.environ, "RESTIC_PASSWORD": PASSWORD, "RESTIC_REPOSITORY": str(directory / "bare")}
        self.bare["RESTIC_CACHE_DIR"] = str(directory / "cache")
        self.random = random.Random(1)  # the same places in every run
        raw = directory / "disk.raw"
        with raw.open("wb") as stream:
            for _ in range(SIZE // (64 << 20)):
                stream.write(os.urandom(64 << 20))
        tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(self.image))
        raw.unlink()
        self.agent.call("repository-create", {"repository": self.repository, "seconds": 60}, deadline=90)
        subprocess.run(["restic", "init", "-q"], env=self.bare, check=True, timeout=60)
        self.snapshot = ""

    @contextmanager
    def exported(self, bitmap: str) -> Iterator[None]:
        noted = ["-B", bitmap] if bitmap else []
        server = subprocess.Popen(
            [
                "qemu-nbd",
                "--read-only",
                "--persistent",
                "--shared=4",
                "-k",
                str(self.socket),
                *noted,
                "-f",
                "qcow2",
                str(self.image),
            ]
        )
        try:
            wait_until("qemu-nbd", self.socket.exists)
            yield
        finally:
            server.terminate()
            server.wait(30)
            self.socket.unlink(missing_ok=True)

    def note(self, name: str) -> None:
        tool("qemu-img", "bitmap", "--add", str(self.image), name)

    def forget(self, name: str) -> None:
        tool("qemu-img", "bitmap", "--remove", str(self.image), name)

    def write(self, segments: list[int]) -> None:
        """64 KiB at a random place of a segment, for each that is named."""
        places = [number * SEGMENT_BYTES + self.random.randrange(SEGMENT_BYTES // WRITE) * WRITE for number in segments]
        commands = [word for place in places for word in ("-c", f"write -q -P {self.random.randrange(1, 256)} {place} {WRITE}")]
        tool("qemu-io", *commands, str(self.image))

    def ours(self, bitmap: str = "") -> dict[str, Any]:
        asked: dict[str, Any] = {"repository": self.repository, "seconds": 600, "host": "bench", "socket": str(self.socket)}
        if bitmap:
            asked |= {"bitmap": bitmap, "parent": self.snapshot}
        told = self.agent.call("disk-backup", asked, deadline=660)
        assert told["whole"]
        self.snapshot = told["snapshot"]
        return told

    def stdin(self) -> None:
        read = subprocess.Popen(["nbdcopy", f"nbd+unix:///?socket={self.socket}", "-"], stdout=subprocess.PIPE)
        words = ["restic", "backup", "-q", "--stdin", "--stdin-filename", "disk"]
        subprocess.run(words, stdin=read.stdout, env=self.bare, check=True, timeout=900)
        assert read.stdout is not None
        read.stdout.close()
        assert read.wait(60) == 0


@pytest.fixture
def ground(lab: Lab, tmp_path: Path) -> Ground:
    return Ground(lab, tmp_path)


def _measured(ground: Ground, places: list[list[int]]) -> tuple[Pair, list[dict[str, Any]]]:
    """One round for each list of segments: written to, then backed up both ways."""
    told: list[dict[str, Any]] = []
    rounds = iter(places)

    def bare() -> float:
        ground.note("changed")
        ground.write(next(rounds))
        with ground.exported(""):
            return timed(ground.stdin)

    def ours() -> float:
        with ground.exported("changed"):
            taken = timed(lambda: told.append(ground.ours("changed")))
        ground.forget("changed")
        return taken

    return pairs(ours, bare, rounds=len(places)), told


@pytest.mark.timeout(3600)
def test_the_second_backup_of_a_disk(ground: Ground) -> None:
    with ground.exported(""):
        first_ours = timed(ground.ours)
        first_bare = timed(ground.stdin)
    segments = count(SIZE)
    near_by = [range(first, first + segments // 100) for first in (0, 300, 700)]
    clustered = [[ground.random.choice(within) for _ in range(WRITES)] for within in near_by]
    scattered = [[ground.random.randrange(segments) for _ in range(WRITES)] for _ in range(ROUNDS)]
    near, near_told = _measured(ground, clustered)
    far, far_told = _measured(ground, scattered)
    read = [max(told["bytes_read"] / (told["dirty"] * SEGMENT_BYTES) for told in each) for each in (near_told, far_told)]
    write(
        "The second backup of a guest's disk",
        f"A disk of {SIZE // GIB} GiB, full of random bytes, after {WRITES} writes of {WRITE // 1024} KiB. Ours: the agent's"
        f" `disk-backup` with the bitmap of what changed, which shows the disk as {segments} files and compares 8 segments"
        " afterwards. Bare: `nbdcopy … - | restic backup --stdin`, which reads all of it. The bytes read are restic's, by"
        " segments with a change.",
        [
            Row("the first backup", f"{first_ours:.1f} s", f"{first_bare:.1f} s", f"{first_ours / first_bare:.1f} ×"),
            near.row(f"writes within 1 % of the segments ({near_told[-1]['dirty']} changed)"),
            Row("the same: how much faster", f"{1 / near.ratio:.1f} ×"),
            Row("the same: bytes read, by changed segments", f"{read[0]:.2f} ×"),
            far.row(f"writes at random ({far_told[-1]['dirty']} changed)"),
            Row("the same: how much faster", f"{1 / far.ratio:.1f} ×"),
            Row("the same: bytes read, by changed segments", f"{read[1]:.2f} ×"),
        ],
    )
