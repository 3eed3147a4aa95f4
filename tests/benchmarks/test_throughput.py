"""Jobs of three steps that are finished in a second: by controllers, against the engine's library alone doing the same steps."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

from orchestrator.store.database import Database
from tests.benchmarks import bare_dbos
from tests.benchmarks.book import Row, write
from tests.fault.house import prepared
from tests.fault.torture import STEPS, World, house_of
from tests.postgres import Server, launch, own_server
from tests.store_files import NOTE, engine_database

JOBS = 500
WORKERS = 4
ROUNDS = 3
LONGEST = 300.0


def ours(home: Path, *, size: int, server: Server | None) -> float:
    """Ordered before a controller is there; then so many take them."""
    world = _world(home)
    own = prepared(home / "own", engine_database if server is None else partial(_noted, server=server))
    house = house_of(own, world, workers=WORKERS, seconds=0)
    for number in range(JOBS):
        assert house.order(f"s{number}").outcome == "accepted"
    house.close()
    told = json.dumps({"world": str(world.directory), "workers": WORKERS, "seconds": 0})
    places = [own, *(Path(shutil.copytree(own, home / f"own{number}")) for number in range(1, size))]
    return _a_second(world, [["tests.fault.torture", str(place), told] for place in places])


def bare(home: Path, *, size: int, server: Server | None) -> float:
    world = _world(home)
    if server is None:
        engine_database(home, "bare.sqlite").close()
    url = f"sqlite:///{home / 'bare.sqlite'}" if server is None else server.url(server.fresh(launch))
    bare_dbos.enqueue(url, [f"s{number}" for number in range(JOBS)])
    words = ["tests.benchmarks.bare_dbos", url, str(world.directory), str(WORKERS)]
    return _a_second(world, [[*words, f"e{number}"] for number in range(size)])


def _world(home: Path) -> World:
    world = World(home / "world")
    world.prepare()
    return world


def _noted(directory: Path, _name: str, *, server: Server) -> Database:
    url = server.url(server.fresh(launch))
    (directory / NOTE).write_text(url)
    return Database(url)


def _a_second(world: World, commands: Sequence[Sequence[str]]) -> float:
    """How many jobs, from the end of the first to the end of the last: the start of a process is not what is measured."""
    with _running(commands, world.directory / "said"):
        until = time.monotonic() + LONGEST
        while len(ends := _ends(world)) < JOBS:
            assert time.monotonic() < until, (world.directory / "said").read_text(errors="replace")[-2000:]
            time.sleep(0.2)
    return (JOBS - 1) / (max(ends) - min(ends))


def _ends(world: World) -> list[float]:
    return [file.stat().st_mtime for file in (world.directory / "things").glob(f"*.{STEPS[-1]}")]


@contextmanager
def _running(commands: Sequence[Sequence[str]], said: Path) -> Iterator[None]:
    with said.open("ab") as log:
        running = [subprocess.Popen([sys.executable, "-m", *words], stdout=log, stderr=log) for words in commands]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(60)


def test_jobs_in_a_second(tmp_path: Path) -> None:
    numbers, rows = count(), []

    def home() -> Path:
        made = tmp_path / f"h{next(numbers)}"
        made.mkdir()
        return made

    with own_server() as server:
        for name, size, used in (
            ("SQLite, one controller", 1, None),
            ("PostgreSQL, one controller", 1, server),
            ("PostgreSQL, two controllers", 2, server),
        ):
            found = [(bare(home(), size=size, server=used), ours(home(), size=size, server=used)) for _ in range(ROUNDS)]
            ratio = median(mine / theirs for theirs, mine in found)
            rows.append(Row(name, f"{median(m for _, m in found):.1f}", f"{median(t for t, _ in found):.1f}", f"{ratio:.2f} ×"))
    write(
        "Jobs in a second",
        f"{JOBS} jobs of three steps that take no time, {WORKERS} at a time in each process. Ours: a lock on the service, the "
        "intent before each step and its facts after it, the world looked at before and after, records for people, audit, what "
        "billing is told. Bare: the engine's library alone (DBOS), with the same three steps in a workflow. More is better.",
        rows,
    )
