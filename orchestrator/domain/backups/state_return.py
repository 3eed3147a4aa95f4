"""What a person types to put a copy of the controller's state, brought back into a directory, in its place. Pure.

Only what is the controller's own takes owner and mode of the copy. A file that lay elsewhere goes alone: the directories that it
lies in (/, /etc, ...) are the machine's, and keep what they have.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from orchestrator.domain.backups.state import CONFIG, ELSEWHERE, STATE, Manifest

_READ_BY_ALL = 0o004
# The variable goes only when it has started: what fails at first and is started again by systemd is frozen, too.
START_FROZEN = " && ".join(
    (
        "systemctl set-environment ORCHESTRATOR_FROZEN=1",
        "systemctl start orchestrator",
        "systemctl unset-environment ORCHESTRATOR_FROZEN",
    )
)


def place_of(name: str) -> Path | None:
    """Where a file of the copy lay that the configuration named elsewhere; None for all others."""
    path = Path(name)
    return Path("/", *path.parts[1:]) if path.parts[:1] == (ELSEWHERE,) else None


def commands(
    found: Manifest, directory: Path, *, modes: Mapping[str, int], there: Collection[Path] = (), user: str = "USER"
) -> Iterator[str]:
    """Line by line, for a root's shell. ``modes``: of the copy's files, by their names in it; ``there``: what stands of the
    configuration's directory and of the places of files elsewhere already, and may be this machine's own."""
    config, state = (shlex.quote(f"{path}/") for path in (found.config_dir, found.state_dir))
    if Path(found.config_dir) in there:  # the samples of the package: a plan of theirs must not be sold, or keep it from starting
        yield f"mv {shlex.quote(found.config_dir)} {shlex.quote(f'{found.config_dir}.before')}"
    yield f"mkdir -p {config} {state}"
    yield f"cp -a {shlex.quote(f'{directory / CONFIG}/.')} {config}"
    yield f"cp -a {shlex.quote(f'{directory / STATE}/.')} {state}"
    yield f"chown -R {user}: {config} {state}"
    yield f"chmod 0755 {config}"
    for name in sorted(found.files):
        place = place_of(name)
        if place is None:
            continue
        mode = modes.get(name, 0o600)
        owner = "" if mode & _READ_BY_ALL else f" -o {user}"
        note = "    # one is there already: compare them first" if place in there else ""
        yield f"install -D -m {mode:04o}{owner} {shlex.quote(str(directory / name))} {shlex.quote(str(place))}{note}"
    if not found.database.endswith(".sqlite"):
        into = f"--dbname {shlex.quote(found.database_url)} {shlex.quote(f'{found.state_dir}/{found.database}')}"
        yield f"runuser -u {user} -- pg_restore --clean --if-exists --no-owner {into}"
    yield START_FROZEN
