"""What operators type: ids are one step of a path and nothing more, and a token is never repeated to anybody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from orchestrator.api.resources.events import EventOutcome
from orchestrator.cli.failure import Failure
from orchestrator.cli.main import cli
from orchestrator.cli.remote import options, watch
from orchestrator.cli.remote.client import below, read_token
from orchestrator.domain.complaints import Closed, ComplaintKind
from orchestrator.domain.intents import JobState
from orchestrator.domain.jobs import FROZEN_REASON
from orchestrator.domain.machines import MachineState
from orchestrator.domain.permissions import Ask
from orchestrator.domain.plans import Use
from orchestrator.domain.policies import Effect
from orchestrator.domain.services import HoldEffect, HoldReason, Lifecycle
from orchestrator.store.outbox import MessageState
from tests.served import command, process


def test_an_id_is_one_step_of_a_path_whatever_it_contains() -> None:
    assert below("jobs", "../services/a1") == "jobs/..%2Fservices%2Fa1"
    assert below("services", "a1?dry_run=x#y", "explain") == "services/a1%3Fdry_run%3Dx%23y/explain"
    assert below("services", "a-1_b") == "services/a-1_b"


@pytest.mark.parametrize("part", ["", ".", "..", "a\nb", "a\udcff"])
def test_what_can_be_no_id_is_refused(part: str) -> None:
    with pytest.raises(Failure) as caught:
        below("services", part, "explain")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("content", ["first-secret\nsecond-secret\n", "one secret"])
def test_a_token_file_with_more_than_a_token_is_refused_without_its_content(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content, encoding="ascii")
    done = command("--url", "http://127.0.0.1:9", "--token-file", str(path), "service", "list")
    assert done.returncode == 2
    assert "one token" in done.stderr
    assert "secret" not in done.stderr


def test_a_token_is_read_without_its_line_end(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("abc-DEF_1\n", encoding="ascii")
    assert read_token(str(path)) == "abc-DEF_1"


def test_a_file_without_an_end_is_neither_a_certificate_nor_a_key(tmp_path: Path) -> None:
    done = process("certificate", "verify", "/dev/zero")
    assert done.returncode == 3
    assert "far too large" in done.stderr
    (tmp_path / "certificate").write_text("{}", encoding="ascii")
    done = process("certificate", "verify", str(tmp_path / "certificate"), "--public-key", "/dev/zero")
    assert done.returncode == 2
    assert "holds no Ed25519 public key" in done.stderr


def test_the_choices_of_options_are_the_words_of_the_domain() -> None:
    assert tuple(Lifecycle) == options.SERVICE_STATES
    assert (set(HoldEffect), tuple(ComplaintKind), tuple(Closed)) == (
        set(options.HOLD_EFFECTS),
        options.COMPLAINTS,
        options.CLOSED,
    )
    assert (set(Effect), tuple(Use), tuple(Ask)) == (set(options.EFFECTS), options.USES, options.ASKS)
    assert tuple(JobState) == options.JOB_STATES
    assert tuple(EventOutcome) == options.EVENT_OUTCOMES
    assert tuple(MessageState) == options.MESSAGE_STATES
    assert tuple(MachineState) == options.MACHINE_STATES
    assert set(options.HOLDS) == set(HoldReason)
    assert FROZEN_REASON.startswith(watch.FROZEN)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("servce",), "No such command 'servce'. (Did you mean one of: 'serve', 'service'?)"),
        (("job", "wach"), "No such command 'wach'. Did you mean 'watch'?"),
        (("job", "list", "--state", "waiting"), "'waiting' is not one of 'waiting_approval', 'queued'"),
        (("service", "list", "--state", "suspended"), "'suspended' is not one of 'ordered'"),
        (("event", "list", "--outcome", "deaf"), "'deaf' is not one of 'accepted'"),
        (("event", "list", "--dead", "--outcome", "stale"), "contradict each other"),
        (("message", "list", "--state", "deaf"), "'deaf' is not one of 'waiting'"),
        (("message", "retry"), "name one message, or say --all"),
        (("message", "retry", "m1", "--all"), "name one message, or say --all"),
        (("message", "retry", "m1", "--type", "job.done"), "go with --all"),
        (("service", "suspend", "s1"), "Missing option '--reason'"),
        (("service", "terminate", "s1", "--yes-i-mean", "s1"), "Missing option '--reason'"),
    ],
)
def test_a_word_that_is_none_is_refused_with_those_that_are(words: tuple[str, ...], said: str) -> None:
    done = command("--socket", "/nowhere/api.sock", *words)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize("verb", ["suspend", "terminate"])
def test_what_changes_nothing_needs_no_reason(verb: str) -> None:
    done = command("--socket", "/nowhere/api.sock", "service", verb, "s1", "--dry-run")
    assert done.returncode == 5, "it went as far as looking for a controller"


@pytest.mark.parametrize(
    ("words", "offered"),
    [("orchestrator job list --state wai", "waiting_approval"), ("orchestrator service suspend s1 --hold ab", "abuse")],
)
def test_a_shell_completes_the_values_of_options(words: str, offered: str) -> None:
    count = str(len(words.split()) - 1)
    done = process(_ORCHESTRATOR_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=count)
    assert done.stdout.split(",")[-1].strip() == offered


def _commands(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, (*words, name))
        else:
            yield (*words, name), command


def test_every_command_that_tells_something_takes_json() -> None:
    found = dict(_commands(cli))
    assert len(found) > 50
    without = {words for words, command in found.items() if not any("--json" in option.opts for option in command.params)}
    assert without == {("serve",), ("completion",), ("service", "console")}


@pytest.mark.parametrize(
    ("given", "chosen"),
    [({"upheld": True, "rejected": False}, "upheld"), ({"upheld": False, "rejected": True}, "rejected")],
)
def test_of_flags_that_exclude_each_other_the_one_that_is_given_is_taken(given: dict[str, bool], chosen: str) -> None:
    assert options.one_of(given, ("upheld", "rejected"), asked="what is the verdict?") == chosen


@pytest.mark.parametrize(
    "words",
    [
        ("settle", "a1", "--invoice", "i1"),
        ("settle", "a1", "--invoice", "i1", "--upheld", "--rejected"),
        ("answer", "a1", "c1", "--why", "x"),
        ("answer", "a1", "c1", "--why", "x", "--ceased", "--waived"),
    ],
)
def test_no_verdict_and_two_verdicts_are_no_verdict(words: tuple[str, ...]) -> None:
    found = command("service", *words)
    assert found.returncode == 2
    assert "one of --" in found.stderr


@pytest.mark.parametrize("act", ["suspend", "limit", "terminate", "unsuspend", "unlimit", "hold", "release"])
def test_the_sentence_may_be_called_why_in_every_command(act: str) -> None:
    assert "--why" in command("service", act, "--help").stdout


@pytest.mark.parametrize("act", ["suspend", "limit", "unsuspend", "unlimit", "hold", "release"])
def test_the_hold_may_be_called_hold_in_every_command(act: str) -> None:
    assert "--hold" in command("service", act, "--help").stdout
