"""What files there are in the configuration's directory, and how to begin where there are none."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from orchestrator.config.problems import Problem
from orchestrator.domain.errors import ConfigError
from orchestrator.shipped import SAMPLES


def require_configuration(directory: Path) -> None:
    """Say at once, and once, that there is no configuration. What is there and cannot be read is told of each file.

    Raises ConfigError.
    """
    try:
        empty = not any(directory.iterdir())
    except FileNotFoundError:
        raise _none(f"there is no configuration: the directory {directory} is missing", directory) from None
    except NotADirectoryError:
        raise _none(f"there is no configuration: {directory} is a file, and a directory is needed", directory) from None
    except OSError:
        return
    if empty:
        raise _none(f"there is no configuration: the directory {directory} is empty", directory)


def _none(sentence: str, directory: Path) -> ConfigError:
    here = shlex.quote(str(directory))
    return ConfigError(
        sentence,
        hint=f"name another with --config, or begin with the samples: `mkdir -p {here} && cp -r {SAMPLES}/. {here}`, "
        "edit them, then `orchestrator init`",
    )


def absent(path: Path) -> bool:
    """Whether nothing has that name. What may not be looked at is not absent: reading it says why."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def yaml_files(directory: Path, problems: list[Problem], *, most: int) -> Sequence[Path]:
    """The ``*.yaml`` files of a directory by name. A file that somebody may take for one of them is a problem."""
    try:
        names = sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        problems.append(Problem(str(directory), 0, "", f"the directory is missing{from_sample(directory)}"))
        return ()
    except OSError as error:
        problems.append(Problem(str(directory), 0, "", f"the directory cannot be read: {error.strerror}"))
        return ()
    problems.extend(
        Problem(str(directory / name), 0, "", "only files that end in '.yaml' are read: rename it")
        for name in names
        if name.endswith((".yml", ".YAML", ".YML", ".json"))
    )
    chosen = [directory / name for name in names if name.endswith(".yaml")]
    if len(chosen) > most:
        problems.append(Problem(str(directory), 0, "", f"more than {most} files"))
    return chosen[:most]


def from_sample(path: Path) -> str:
    """How to make a file or directory that is missing, where there is a sample of it."""
    sample = SAMPLES / path.name
    return f": begin with the sample, `cp -r {sample} {shlex.quote(str(path))}`" if sample.exists() else ""
