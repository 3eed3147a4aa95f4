"""What a node answers is written down and shown: nothing in it may spoil that, whatever the node says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.domain.errors import InDoubt, OrchestratorError, PermanentDriverError, WrongState
from orchestrator.drivers.agent_answers import Completed, LineReader, outcome
from orchestrator.drivers.words import plain

# As JSON writes it: a surrogate, an escape sequence, the one-byte form of it, and the two controls that are text.
SAID = r"\udcff \u001b[31m \u009b \u0000 \u007f \r ä\n\t"
TOLD = r"\udcff \x1b[31m \x9b \x00 \x7f \x0d ä" + "\n\t"


def answer(*lines: str, status: int = 0, stderr: str = "") -> dict[str, Any]:
    reader = LineReader()
    for line in lines:
        reader.feed(line.encode() + b"\n")
    return outcome(reader, Completed(status, b"", stderr), node="n1")


def test_a_result_is_plain_down_to_its_names() -> None:
    assert answer(f'{{"result": {{"{SAID}": ["{SAID}", {{"x": "{SAID}"}}, 1, 0.5, true, null]}}}}') == {
        TOLD: [TOLD, {"x": TOLD}, 1, 0.5, True, None]
    }


def test_an_error_is_plain() -> None:
    with pytest.raises(WrongState) as caught:
        answer(f'{{"error": {{"code": "wrong-state", "message": "{SAID}", "hint": "{SAID}", "details": {{"x": "{SAID}"}}}}}}')
    assert (caught.value.message, caught.value.hint, caught.value.details["x"]) == (TOLD, TOLD, TOLD)


def test_progress_is_plain() -> None:
    heard: list[tuple[float, str]] = []
    LineReader(lambda fraction, said: heard.append((fraction, said))).feed(
        f'{{"progress": {{"fraction": 0.5, "message": "{SAID}"}}}}\n'.encode()
    )
    assert heard == [(0.5, TOLD)]


def test_a_fraction_of_any_size_is_one() -> None:
    heard: list[float] = []
    reader = LineReader(lambda fraction, _: heard.append(fraction))
    for number in (10**400, -(10**400), 2.5):
        reader.feed(json.dumps({"progress": {"fraction": number, "message": "x"}}).encode() + b"\n")
    assert heard == [1.0, 0.0, 1.0]


def test_an_agent_that_is_too_old_is_told_with_what_to_do() -> None:
    said = "unknown command; this agent knows: hello"
    with pytest.raises(PermanentDriverError) as caught:
        answer(f'{{"error": {{"code": "driver-permanent", "message": "{said}", "hint": "", "details": {{}}}}}}', status=5)
    assert (caught.value.message, caught.value.hint) == (
        said,
        "its agent is older than this controller: enrol the node again",
    )


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_json_has_no_word_for_is_no_answer(number: str) -> None:
    with pytest.raises(PermanentDriverError, match="gave no answer"):
        answer(f'{{"result": {{"size": {number}}}}}')


@pytest.mark.parametrize("name", ["self", "message", "hint", "node", "retry_after"])
def test_a_detail_takes_no_word_of_ours(name: str) -> None:
    with pytest.raises(OrchestratorError, match=r"^said") as caught:
        answer(json.dumps({"error": {"code": "refused", "message": "said", "details": {name: "x", "path": "/p"}}}))
    assert caught.value.details == {"node": "n1", "path": "/p"}


def test_what_the_agent_cannot_tell_is_for_a_person() -> None:
    with pytest.raises(InDoubt, match="moved"):
        answer('{"error": {"code": "in-doubt", "message": "moved"}}', status=6)


def test_plain_text_stays_as_it_is() -> None:
    text = "Größe 4 GiB – 日本語 😀\n\tnext"
    assert plain(text) == text
