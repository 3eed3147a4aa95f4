"""What a reader is told to type: the commands in the pages' shell blocks and in their running text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from orchestrator.cli.main import cli

PROGRAM = "orchestrator"
_FENCE = re.compile(r"^( *)```([\w-]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_SHELLS = ("", "sh", "shell", "bash", "console")
_INLINE = re.compile(rf"`{PROGRAM} ([^`]+)`")
_VERB = re.compile(r"[a-z][a-z-]*")
_LEADING = re.compile(rf"^(?:\$ )?(?:sudo (?:-u \S+ )?)?(?:\w+=\S+ )*(?:\S*/)?{PROGRAM}(?= |$)")


@dataclass(frozen=True, slots=True)
class Typed:
    """One command of a page: the words behind ``orchestrator``. ``whole``: it stands in a block, to be typed as it is."""

    page: Path
    words: tuple[str, ...]
    whole: bool

    def __str__(self) -> str:
        return f"{self.page.name}: {PROGRAM} {' '.join(self.words)}"


def commands(page: Path) -> Iterator[Typed]:
    """Every command of ours in the page."""
    text = page.read_text(encoding="utf-8")
    for fence in _FENCE.finditer(text):
        if fence[2] in _SHELLS:
            yield from (Typed(page, words, True) for words in _in_block(fence[3]))
    for inline in _INLINE.finditer(_FENCE.sub("", text)):
        yield Typed(page, _in_text(inline[1]), False)


def _in_text(text: str) -> tuple[str, ...]:
    """Running text may put in brackets what can be left out, and dots where something is to be filled in."""
    return tuple(shlex.split(text.replace("[", " ").replace("]", " ")))


def _in_block(block: str) -> Iterator[tuple[str, ...]]:
    prompted = any(line.strip().startswith("$ ") for line in block.splitlines())
    for line in block.replace("\\\n", " ").splitlines():
        line = line.strip()
        if prompted and not line.startswith("$ "):
            continue  # what the command printed
        found = _LEADING.match(line)
        if found:
            lexer = shlex.shlex(line[found.end() :], posix=True, punctuation_chars="|<>;&")
            lexer.whitespace_split = True
            words = list(lexer)
            end = next((at for at, word in enumerate(words) if set(word) <= set("|<>;&")), len(words))
            if words[:end]:  # its name alone only shows that it is there, as a shell's completion does
                yield tuple(words[:end])


def wrong(typed: Typed) -> str:
    """Why the command does not exist as it stands; '' = it does."""
    command: click.Command = cli
    context: click.Context | None = None
    rest = list(typed.words)
    name = PROGRAM
    try:
        while True:
            if not typed.whole:
                return _unknown_words(command, rest)
            context = command.make_context(name, rest, parent=context)
            # click keeps what a group did not take for its subcommand in these two; the first has no public name.
            rest = [*context._protected_args, *context.args]
            if not isinstance(command, click.Group) or not rest:
                return ""
            name, *rest = rest
            following = command.get_command(context, name)
            if following is None:
                return f"there is no command {name}"
            command = following
    except click.exceptions.Exit:
        return ""
    except click.exceptions.NoArgsIsHelpError:
        return "a verb is missing"
    except click.ClickException as exc:
        return exc.format_message()


def _unknown_words(command: click.Command, rest: list[str]) -> str:
    """For running text, where arguments may be left out: the nouns, verbs and options have to exist."""
    known = _options(command)
    context = click.Context(command)
    while rest:
        word = rest.pop(0)
        if word.startswith("-"):
            if word.partition("=")[0] not in known:
                return f"there is no option {word}"
        elif isinstance(command, click.Group) and _VERB.fullmatch(word):
            following = command.get_command(context, word)
            if following is None:
                return f"there is no command {word}"
            command, known = following, known | _options(following)
    return ""


def _options(command: click.Command) -> set[str]:
    names = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return names | {"--help", "-h"}
