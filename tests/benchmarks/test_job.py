"""What the engine adds to a job: intent, records, locks and durability, against calling the same steps directly."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from statistics import median

from orchestrator.domain.intents import JobState
from orchestrator.steps.registry import STEPS
from orchestrator.wiring import load_all_playbooks
from tests.benchmarks.book import Row, pairs, seconds, timed, write
from tests.contract.stage import PROVISION, Stage
from tests.fault.house import House, prepared
from tests.store_files import engine_database

ROUNDS = 15


def test_a_whole_job_on_the_simulated_node(tmp_path: Path) -> None:
    house = House(prepared(tmp_path / "house", engine_database), steps=STEPS, playbooks=load_all_playbooks())
    house.engine.start()
    numbers = count()
    waited: list[float] = []

    def job() -> float:
        done = house.wait(house.order(f"s{next(numbers)}").job_id)
        assert done.state == JobState.DONE, done
        assert done.started_at is not None
        assert done.finished_at is not None
        waited.append((done.started_at - done.created_at).total_seconds())
        return (done.finished_at - done.started_at).total_seconds()

    def direct() -> float:
        stage = Stage(tmp_path / f"stage{next(numbers)}")
        try:
            return timed(stage.make)
        finally:
            stage.close()

    try:
        job()
        pair = pairs(job, direct, rounds=ROUNDS)
    finally:
        house.close()
    steps = len(PROVISION)
    write(
        "A whole job",
        f"`vps-provision` with its {steps} steps on the simulated node. Bare: check and apply of the same steps, called "
        "one after the other, on the same kind of simulated node. The difference is what it costs that a crash at any "
        "instruction loses nothing.",
        [
            pair.row("the job, from its beginning to its end"),
            pair.row("a step", each=steps),
            Row("added for each step", seconds((pair.ours - pair.bare) / steps)),
            Row("from the answer to billing until the job begins", seconds(median(waited))),
        ],
    )
