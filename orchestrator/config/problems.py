"""What is wrong with the configuration: each problem with its file, line, path and a sentence; all of them at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from orchestrator.domain.errors import ConfigError

LONGEST = 300

Path = tuple[str | int, ...]
"""Where in a file: keys and positions from the top, e.g. ``("nodes", 0, "zone")``."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One problem. ``line`` counts from 1, 0 = the file as a whole; ``path`` reads like ``nodes[0].zone``."""

    file: str
    line: int
    path: str
    sentence: str


def spell(path: Path) -> str:
    """The path as people write it: ``nodes[0].zone``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the known word nearest to ``word``, or ''."""
    near = difflib.get_close_matches(word[:64], sorted(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""


def config_error(what: str, problems: Sequence[Problem]) -> ConfigError:
    """The error that lists them, ordered by file and line; ``details['problems']`` holds them as mappings."""
    ordered = sorted({replace(p, path=_line(p.path), sentence=_line(p.sentence)) for p in problems})
    count = "1 problem" if len(ordered) == 1 else f"{len(ordered)} problems"
    return ConfigError(
        f"{what}: {count}",
        hint="mend the files; 'orchestrator config check' lists every problem",
        problems=[asdict(problem) for problem in ordered],
    )


def _line(text: str) -> str:
    """What a file's author wrote may be long and have line ends; a problem is one line that can be read."""
    shown = " ".join(text.split())
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"
