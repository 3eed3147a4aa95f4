"""What commands print: nothing that comes from outside may act on the operator's terminal."""

from __future__ import annotations

import io
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from orchestrator.cli import main, output
from orchestrator.cli.failure import Failure
from orchestrator.cli.remote import watch
from orchestrator.cli.tables import Column
from tests.live import write_config
from tests.served import ORCHESTRATOR, process

# An escape sequence, its one-byte form (C1), and characters that turn the direction of a line.
HOSTILE = "disk\x1b[2J \x9b31m \u202egnihton\u2066 \r\x07 end"
HARMLESS = "disk\\x1b[2J \\x9b31m \\u202egnihton\\u2066 \\x0d\\x07 end"


def printed(act: object, *arguments: object, **named: object) -> str:
    assert callable(act)
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        act(*arguments, **named)
    return out.getvalue()


def test_words_of_others_are_shown_with_escapes_and_ordinary_words_as_they_are() -> None:
    assert output.clean(HOSTILE) == HARMLESS
    assert output.clean("Zoë Ångström 漢字\tand\nmore") == "Zoë Ångström 漢字\tand\nmore"


def test_lines_tables_and_cards_cannot_act_on_the_terminal() -> None:
    row = {"note": HOSTILE}
    for shown in (
        printed(output.say, HOSTILE),
        printed(output.table, [Column("NOTE", "note")], [row], empty="none"),
        printed(output.card, [("note", "note")], row),
    ):
        assert HARMLESS in shown
        assert "\x1b" not in shown


def test_json_is_plain_ascii() -> None:
    assert printed(output.emit_json, {"note": HOSTILE}).isascii()


def test_a_steps_message_and_a_failure_cannot_act_on_the_terminal_either() -> None:
    step = {"id": "define", "position": 0, "state": "failed", "progress": 0, "error": HOSTILE, "message": ""}
    job = {"id": "j1", "state": "failed", "steps": [step], "final": True}
    shown = printed(watch.follow_lines, iter([job]))
    assert HARMLESS in shown

    shown = printed(main.tell, Failure(HOSTILE, hint=HOSTILE, lines=(HOSTILE,), exit_code=3))
    assert shown.count(HARMLESS) == 3


def test_nothing_trails_behind_the_lines_of_a_pipe() -> None:
    rows = [{"a": "x", "b": "long " * 40 + "end"}, {"a": "y", "b": ""}]
    columns = (Column("A", "a"), Column("B", "b"))
    for shown in (printed(output.table, columns, rows, empty=""), printed(output.card, (("a", "a"),), rows[0])):
        assert shown
        assert all(line == line.rstrip() for line in shown.splitlines())


@pytest.mark.parametrize("words", [("--help",), ("config", "check", "--json")])
def test_a_full_disk_under_the_output_is_told(words: tuple[str, ...], tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*ORCHESTRATOR, "--config", str(tmp_path), *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 5
    assert "could not be written" in done.stderr
    assert "unexpected" not in done.stderr


def test_a_terminal_without_the_letters_is_no_error(tmp_path: Path) -> None:
    done = process("config", "check", str(write_config(tmp_path / "漢")), PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    assert "\\u6f22 can be used" in done.stdout


def test_facts_are_shown_a_line_a_value_and_not_as_json() -> None:
    row = {"facts": {"volume": {"path": "/p/v", "sizes": [1, 2]}, "disks": [{"bus": "virtio"}], "done": True, "none": {}}}
    shown = printed(output.card, (("facts", output.facts("facts")),), row)
    lines = [line.removeprefix("facts").strip() for line in shown.splitlines()]
    assert lines == ["disks.0.bus: virtio", "done: yes", "none: -", "volume.path: /p/v", "volume.sizes: 1, 2"]


def test_a_plan_s_rate_of_100_mbit_is_shown_so_and_none_as_none() -> None:
    lines = (("network rate", output.rate("network")), ("disk rate", output.rate("disk")))
    shown = printed(output.card, lines, {"network": 12_500_000, "disk": 0})
    assert [line.split("  ")[-1].strip() for line in shown.splitlines()] == ["100 Mbit/s", "no limit"]


def test_of_a_step_that_is_tried_again_it_is_said_when_and_of_one_that_failed_why() -> None:
    step = {"state": "running", "message": "again at 12:00: it does not answer", "error": "it does not answer"}
    assert watch.step_note(step) == step["message"]
    assert watch.step_note(step | {"state": "failed"}) == step["error"]
    assert watch.step_note(step | {"state": "failed", "error": ""}) == step["message"]


def test_one_is_not_said_as_many() -> None:
    assert (output.on_it(1), output.on_it(0)) == ("1 service is on it", "0 services are on it")
