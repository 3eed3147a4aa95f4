"""The examples of docs/extend.md, taken out of the page and run."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
from click.testing import CliRunner
from fastapi import FastAPI

from orchestrator.cli.remote.client import Target
from orchestrator.config.playbooks import load_playbooks
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.playbooks import Playbook
from orchestrator.observe.snapshot import HoldsCount, Snapshot
from orchestrator.steps.arguments import describe
from orchestrator.steps.base import Done, Needed, Step
from orchestrator.steps.registry import STEPS
from orchestrator.wiring import load_all_playbooks
from tests.contract.stage import Stage
from tests.fault.house import House, prepared
from tests.live import Live
from tests.store_files import engine_database

PAGE = (Path(__file__).parents[2] / "docs" / "extend.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^## An? ([a-z]+)$.*?^```(?:python|yaml)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Any]:
    """Imports the example of a section as a module, as if it stood in its file."""
    names: list[str] = []

    def load(section: str) -> ModuleType:
        name = f"example_of_{section}"
        file = tmp_path / f"{name}.py"
        file.write_text(dict(EXAMPLES)[section], encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        names.append(name)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in names:
        del sys.modules[name]


def test_every_section_has_one_example() -> None:
    assert [section for section, _ in EXAMPLES] == ["step", "playbook", "driver", "metric", "route", "command"]
    assert PAGE.count("```python") + PAGE.count("```yaml") == len(EXAMPLES)


def test_the_step_is_needed_then_done_by_this_job_and_undone_without_a_trace(example: Any, tmp_path: Path) -> None:
    module = example("step")
    step, stage = module.NotePut(), Stage(tmp_path / "stage")
    try:
        args = module.NoteArgs(node="n1", text="hello")
        before = stage.snapshot()
        assert isinstance(step.check(stage.context(), args), Needed)
        facts = step.apply(stage.context(), args)
        assert step.apply(stage.context(), args) == facts
        found = step.check(stage.context(), args)
        assert isinstance(found, Done)
        assert (found.facts, found.made_by) == (facts, stage.context().job_id)
        step.undo(stage.context("j2"), args, {})  # another job's: this one's note stays
        assert isinstance(step.check(stage.context(), args), Done)
        step.undo(stage.context(), args, {})
        assert stage.snapshot() == before
    finally:
        stage.close()


def test_the_playbook_is_valid_and_runs(example: Any, tmp_path: Path) -> None:
    step = cast(Step[Any], example("step").NotePut())
    steps = {**STEPS, step.name: step}
    playbooks = {**load_all_playbooks(), **_playbook(tmp_path / "playbooks", steps)}
    house = House(prepared(tmp_path / "house", engine_database), steps=steps, playbooks=playbooks)
    house.engine.start()
    try:
        assert house.wait(house.order("s1").job_id).state == JobState.DONE
        submitted = house.engine.command(IntentKind.START, "s1", who="unix:anna", why="", arguments={})
        assert house.wait(submitted.job_id).state == JobState.DONE
        note = house.steps(submitted.job_id)[-1]
        assert note.facts is not None
        assert Path(note.facts["note"]).name in house.world.node("n1")["volumes"]
    finally:
        house.close()


def _playbook(directory: Path, steps: dict[str, Step[Any]]) -> dict[str, Playbook]:
    directory.mkdir()
    (directory / "vps-start.yaml").write_text(dict(EXAMPLES)["playbook"], encoding="utf-8")
    known = {name: describe(step.args, destructive=step.destructive) for name, step in steps.items()}
    return load_playbooks(directory, steps=known)


def test_the_driver_keeps_each_message_once_and_says_when_it_cannot(example: Any, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    notifier = example("driver").SpoolNotifier(spool)
    assert not notifier.post(message_id="m1", body=b"{}", deadline=1).taken
    spool.mkdir()
    for _ in range(2):
        assert notifier.post(message_id="m1", body=b'{"a": 1}', deadline=1).taken
    assert [(file.name, file.read_bytes()) for file in spool.iterdir()] == [("m1.json", b'{"a": 1}')]


def test_the_metric_counts_the_holds_that_stop(example: Any) -> None:
    holds = (
        HoldsCount(reason="abuse", effect="stop", count=2),
        HoldsCount(reason="nonpayment", effect="stop", count=3),
        HoldsCount(reason="legal", effect="no-erase", count=5),
    )
    (family,) = example("metric")._stop_gauges(Snapshot(holds=holds))
    assert [(sample.name, sample.value) for sample in family.samples] == [("orchestrator_stopping_holds", 5)]


def test_the_route_answers_and_the_command_shows_it(example: Any, tmp_path: Path) -> None:
    router, command = example("route").router, example("command").brakes
    live = Live(tmp_path, brakes="{suspensions_per_hour: 7, terminations_per_hour: 3}")
    app = live._server.config.app
    assert isinstance(app, FastAPI)
    app.include_router(router)
    live.start()
    try:
        wanted = {"suspensions_per_hour": 7, "terminations_per_hour": 3}
        assert live.http.get("/v1/brakes").json() == wanted
        assert live.tcp().get("/v1/brakes").status_code == 401
        target = Target(socket=str(live.socket))
        shown = CliRunner().invoke(command, [], obj=target)
        assert shown.exit_code == 0
        assert re.search(r"suspensions an hour +7\b", shown.output)
        assert json.loads(CliRunner().invoke(command, ["--json"], obj=target).output) == wanted
    finally:
        live.stop()
