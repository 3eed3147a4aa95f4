"""A copy of a PostgreSQL database, by its own pg_dump. The password stands in its environment, where nobody else can look."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from orchestrator.domain.errors import PermanentDriverError, TransientDriverError
from orchestrator.drivers.words import plain

SECONDS = 3600.0
_PATH = "/usr/local/bin:/usr/bin:/bin"


def dump(url: str, path: Path, *, password: str = "") -> None:
    """Write the database at ``url`` (``postgresql://…``, without a password) to a new file, in the form that pg_restore reads.

    ``password`` '' = libpq finds one where it looks by itself.

    Raises PermanentDriverError where there is no pg_dump, or it fails; TransientDriverError where it does not end in time.
    """
    program = shutil.which("pg_dump", path=_PATH)
    if program is None:
        raise PermanentDriverError(
            "the database is PostgreSQL's, and this machine has no pg_dump to copy it with",
            hint="install the package postgresql-client",
        )
    words = [program, "--format=custom", "--no-password", f"--file={path}", f"--dbname={url}"]
    try:
        environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False, env=environment)
    except subprocess.TimeoutExpired as exc:
        raise TransientDriverError("pg_dump did not end in time") from exc
    if done.returncode != 0:
        said = plain(done.stderr.decode(errors="replace")).strip()[-300:]
        raise PermanentDriverError(f"pg_dump could not copy the database: {said or f'exit status {done.returncode}'}")
    path.chmod(0o600)
