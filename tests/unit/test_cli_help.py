"""What --help says of options: a sentence, what is expected in their place, and what holds where they are left out."""

from __future__ import annotations

import click

from orchestrator.cli.main import cli
from tests.commands import options

OPTIONS = [(" ".join((*path, option.opts[0])), option) for path, option in options(cli)]
# Words in which a unit, a form or an example of it is told; a count needs none beside what it counts.
DURATION = ("4h", "6h", "3d", "7d", "2d")


def test_every_option_says_in_a_sentence_what_it_is() -> None:
    assert len(OPTIONS) > 150
    for name, option in OPTIONS:
        assert option.help, name
        assert option.help.rstrip().split("  [env: ")[0].endswith((".", "?")), name


def test_what_holds_where_an_option_is_left_out_is_shown() -> None:
    for name, option in OPTIONS:
        spelled = option.show_default or option.required or option.multiple
        nothing = option.default in (None, "", False, ()) or repr(option.default) == "Sentinel.UNSET"  # click's own word
        assert spelled or nothing or option.is_flag, name


def test_numbers_durations_and_files_are_called_so() -> None:
    for name, option in OPTIONS:
        metavar = option.make_metavar(click.Context(cli))
        said = option.help or ""
        if isinstance(option.type, click.IntRange):
            assert metavar in ("N", "COUNT"), name
        elif "DURATION" in metavar:
            assert any(word in said for word in DURATION), name
        elif metavar == "CHANCE":
            assert "%" in said, name
        elif name.endswith(("-file", "-key", "--identity", "--evidence", "--output")):
            assert metavar == "FILE", name
