"""How a command says that it could not: a sentence, what to do, and the process's exit code."""

from __future__ import annotations

INTERRUPTED = 130
"""As a shell says it of a command that Ctrl-C ended."""


class Failure(Exception):
    """Exit codes are those of the API's ``exit_code``: 2 wrong call, 3 not possible now, 4 refused, 5 something outside
    failed, 6 an operator must look, 7 not allowed; 1 is our own fault.
    """

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 1, lines: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code
        self.lines = lines


def problem_line(problem: dict[str, object]) -> str:
    """``file:line: path: sentence`` of one problem of the configuration, without the parts it has not."""
    place = ":".join(str(problem[part]) for part in ("file", "line") if problem.get(part))
    return ": ".join(str(part) for part in (place, problem.get("path"), problem.get("sentence")) if part)
