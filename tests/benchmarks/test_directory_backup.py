"""The weekly backup of a large account directory, against the same list of restic commands typed by hand."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from statistics import median

import pytest

from agents.build import zipapp
from orchestrator.domain.backups.promised import SHARES
from orchestrator.domain.backups.targets import Target, Way
from orchestrator.domain.backups.words import BackupState
from orchestrator.drivers.restic import ResticRepositories
from tests.backup_books import book_of
from tests.benchmarks.book import Row, seconds, write
from tests.contract.stage import NODES, Stage, set_up
from tests.lab.environment import Lab
from tests.local_agent import LocalAgent

TOPS, DIRECTORIES, FILES = 33, 50, 150
EVERY = TOPS * DIRECTORIES * FILES
BYTES = 1000
ROUNDS = 3
PASSWORD = "a key that nobody guesses"
CAPS = [{"what": "bytes", "most": 10**10, "rule": "bench"}, {"what": "inodes", "most": 250_000, "rule": "bench"}]
LIGHTER = ["nice", "-n", "10", "ionice", "-t", "-c", "2", "-n", "7"]
"""As the agent has restic run."""


@dataclass(frozen=True)
class Spent:
    """Of one run: by the clock on the wall, and of CPU by all its processes."""

    wall: float
    cpu: float


def spent(act: Callable[[], object]) -> Spent:
    def used() -> float:
        ours, theirs = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return ours.ru_utime + ours.ru_stime + theirs.ru_utime + theirs.ru_stime

    wall, cpu = time.perf_counter(), used()
    act()
    return Spent(time.perf_counter() - wall, used() - cpu)


def furnish(home: Path) -> None:
    for top in range(TOPS):
        for each in range(DIRECTORIES):
            directory = home / f"{top:02}/{each:02}"
            directory.mkdir(parents=True)
            for number in range(FILES):
                (directory / f"{number:03}").write_bytes(os.urandom(BYTES))


def change(home: Path, chance: random.Random) -> None:
    """One file in a hundred gets other content."""
    for number in chance.sample(range(EVERY), EVERY // 100):
        directory, file = divmod(number, FILES)
        top, each = divmod(directory, DIRECTORIES)
        (home / f"{top:02}/{each:02}/{file:03}").write_bytes(os.urandom(BYTES))


class Ours:
    """The steps of a backup, each looked at and carried out as the engine does, with the agent as it is shipped."""

    def __init__(self, directory: Path, home: Path) -> None:
        kept, built = directory / "kept", directory / "agent.pyz"
        kept.mkdir()
        built.write_bytes(zipapp())
        agent = LocalAgent(directory / "node", [], zipapp=built)
        there = ResticRepositories(agent)
        self.stage: Stage = set_up(directory / "stage")
        target = Target(name="main", way=Way(location=str(kept)))
        book = book_of(self.stage.db, self.stage.secrets, NODES, self.stage.clock, target=target)
        self.stage.ports = replace(
            self.stage.ports, agent=lambda _node: agent, repositories=lambda _node: there, keeper=there, book=book
        )
        self._home, self._runs = str(home), 0

    def run(self) -> None:
        self._runs += 1
        self.stage.clock.advance(timedelta(weeks=1))
        job, source = f"j{self._runs:03}", {"node": "n1", "directory": self._home}
        prepared = self.stage.run("backup.prepare", {"node": "n1"}, job=job)
        made = self.stage.run("backup.make", {**source, "generation": prepared["generation"], "caps": CAPS}, job=job)
        self.stage.run("backup.settle", {**source, "backup": made["backup"]}, job=job)
        states = [each.state for each in self.stage.ports.book.backups("s1")]
        assert (states.count(BackupState.VERIFIED), len(states)) == (1, self._runs)


class Bare:
    def __init__(self, directory: Path, home: Path) -> None:
        self._environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD, "RESTIC_REPOSITORY": str(directory / "bare")}
        self._environment["RESTIC_CACHE_DIR"] = str(directory / "cache")
        self._home, self._last, self._runs = home, "", 0
        self._restic("init")

    def run(self) -> None:
        said = self._restic("backup", "--json", "--one-file-system", "--host", "s1", "--tag", "service=s1", ".")
        new = str(json.loads(said.splitlines()[-1])["snapshot_id"])
        self._restic("check", f"--read-data-subset={self._runs % SHARES + 1}/{SHARES}")
        if self._last:
            self._restic("forget", self._last)
            self._restic("prune")
        self._last, self._runs = new, self._runs + 1

    def _restic(self, *words: str) -> str:
        done = subprocess.run(
            [*LIGHTER, "restic", *words], env=self._environment, cwd=self._home, capture_output=True, text=True, check=True
        )
        return done.stdout


@pytest.mark.timeout(3600)
def test_the_weekly_backup_of_a_directory(lab: Lab, tmp_path: Path) -> None:
    home, chance = tmp_path / "home", random.Random(1)
    home.mkdir()
    furnish(home)
    ours, bare = Ours(tmp_path, home), Bare(tmp_path, home)
    rows = []
    for what, changes, rounds in (("the first backup", False, 1), ("unchanged", False, ROUNDS), ("1 % changed", True, ROUNDS)):
        both = []
        for _ in range(rounds):
            if changes:
                change(home, chance)
            both.append((spent(bare.run), spent(ours.run)))
        for kind in ("wall", "cpu"):
            pairs = [(getattr(theirs, kind), getattr(mine, kind)) for theirs, mine in both]
            ratio = median(mine / theirs for theirs, mine in pairs)
            name = f"{what}{', CPU' if kind == 'cpu' else ''}"
            rows.append(Row(name, seconds(median(m for _, m in pairs)), seconds(median(t for t, _ in pairs)), f"{ratio:.2f} ×"))
    ours.stage.close()
    write(
        "The weekly backup of a directory",
        f"{EVERY:,} files of {BYTES:,} bytes in {TOPS * DIRECTORIES:,} directories. Ours: the steps `backup.prepare`,"
        " `backup.make` (with its cap) and `backup.settle`, looked at and carried out, with the agent as it is shipped: measured,"
        " backed up, checked, compared by 8 files, and the last one forgotten. Bare, typed by hand: `restic backup`,"
        f" `check --read-data-subset=n/{SHARES}`, `forget` and `prune`. Both in turns, as lightly (nice 10). CPU: seconds of all"
        " processes.",
        rows,
    )
