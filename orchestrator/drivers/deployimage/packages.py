"""Debian's packages of this machine's release, unpacked into a directory by mmdebstrap. None of their scripts runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from shutil import which

from orchestrator.domain.errors import ConfigError, PermanentDriverError

# What has to be on the machine that builds: the program, and the package that has it.
TOOLS = {"mmdebstrap": "mmdebstrap", "xorriso": "xorriso", "zstd": "zstd", "depmod": "kmod"}
_LONGEST = 1800  # seconds


def require_tools() -> None:
    """Raises ConfigError that names every package that is missing."""
    places = "/usr/sbin:/usr/bin:/sbin:/bin"
    missing = sorted({package for program, package in TOOLS.items() if which(program, path=places) is None})
    if missing:
        raise ConfigError(
            f"the deploy image is built with {', '.join(missing)}, and this machine does not have it",
            hint=f"apt-get install {' '.join(missing)}",
        )


def codename() -> str:
    """This machine's release by its name, such as bookworm. Raises ConfigError where it is none of Debian's."""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    found = [line.partition("=")[2].strip('"') for line in lines if line.startswith("VERSION_CODENAME=")]
    if not found:
        raise ConfigError("the deploy image is built on Debian, and this machine's /etc/os-release names no release of it")
    return found[0]


def mirrors(release: str) -> tuple[str, ...]:
    """Lines as in sources.list(5): where APT gets that release from. Raises ConfigError where it has no list of it."""
    form = "$(ORIGIN)|$(REPO_URI)|$(CODENAME)|$(COMPONENT)"
    asked = run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"], seconds=60)
    rows = [line.split("|") for line in asked.splitlines()]
    wanted = (release, f"{release}-updates", f"{release}-security")
    found = [
        f"deb {uri} {name} main" for origin, uri, name, part in rows if (origin, part) == ("Debian", "main") and name in wanted
    ]
    if not any(f" {release} " in line for line in found):
        raise ConfigError(f"APT has no list of the packages of Debian {release}", hint="apt-get update, or look at its sources")
    return tuple(dict.fromkeys(found))


def unpack(packages: Sequence[str], scratch: Path) -> Path:
    """The files of the packages and of all that they need, in a directory below ``scratch``."""
    release, tree = codename(), scratch / "tree"
    sources = scratch / "sources.list"
    sources.write_text("".join(f"{line}\n" for line in mirrors(release)), encoding="utf-8")
    words = ["mmdebstrap", "--quiet", "--variant=extract", "--format=directory", f"--include={','.join(packages)}"]
    run([*words, release, str(tree), str(sources)], seconds=_LONGEST)
    return tree


def run(command: Sequence[str], *, seconds: float = 600, stdin: bytes | None = None, **environment: str) -> str:
    """What the program says. Raises PermanentDriverError with its last words where it fails."""
    done = subprocess.run(
        command, input=stdin, capture_output=True, check=False, timeout=seconds, env={**os.environ, "LC_ALL": "C", **environment}
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-1500:]
        raise PermanentDriverError(f"{command[0]} ended with status {done.returncode}: {said}")
    return done.stdout.decode(errors="replace")
