"""What commands print: nothing that comes from outside may act on the operator's terminal."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

from orchestrator.cli import main, output
from orchestrator.cli.failure import Failure
from orchestrator.cli.remote import watch

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
    columns = (("NOTE", "note"),)
    for shown in (
        printed(output.say, HOSTILE),
        printed(output.table, columns, [row], empty="none"),
        printed(output.card, columns, row),
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
