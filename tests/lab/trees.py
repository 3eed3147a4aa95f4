"""Debian trees: what a guest's root file system holds, made by mmdebstrap out of this machine's own release and mirrors."""

import dataclasses
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.lab.report import LabError, say

NO_DOCS = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
# In namespaces of its own, so that an interrupted build leaves neither mounts nor processes.
ALONE = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--")


@dataclasses.dataclass(frozen=True)
class Release:
    """The Debian release that images are built from: this machine's own."""

    codename: str
    mirrors: tuple[str, ...]
    """Lines as in sources.list(5)."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What goes into a tree. A hook is a shell command in which ``$1`` is the tree."""

    name: str
    packages: tuple[str, ...]
    before: tuple[str, ...] = ()
    """Hooks that run when only the essential packages are there."""
    after: tuple[str, ...] = ()
    """Hooks that run on the finished tree."""


def release() -> Release:
    """Read from APT's own view of this machine's sources. Raises `LabError` when it has no list of Debian's main packages."""
    wanted = "$(ORIGIN)|$(LABEL)|$(REPO_URI)|$(CODENAME)|$(COMPONENT)"
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", wanted, "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    rows = [line.split("|") for line in asked.stdout.splitlines()]
    main = [(label, uri, codename) for origin, label, uri, codename, part in rows if (origin, part) == ("Debian", "main")]
    own = platform_codename()
    mirrors = [
        f"deb {uri} {codename} main" for _label, uri, codename in main if codename in {own, f"{own}-updates", f"{own}-security"}
    ]
    if not any(f" {own} " in line for line in mirrors):
        raise LabError(f"APT has no package list of Debian {own}: run apt-get update, or look at its sources")
    return Release(codename=own, mirrors=tuple(dict.fromkeys(mirrors)))


def platform_codename() -> str:
    """The release's name from os-release(5), such as bookworm."""
    for line in Path("/etc/os-release").read_text().splitlines():
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME":
            return value.strip('"')
    raise LabError("this is no Debian release: /etc/os-release has no VERSION_CODENAME")


def plant(recipe: Recipe, scratch: Path) -> Path:
    """Make the tree ``scratch/NAME``. Raises `LabError` with the end of mmdebstrap's log."""
    source, tree, log = release(), scratch / recipe.name, scratch / f"{recipe.name}.log"
    say(f"building the Debian {source.codename} tree {recipe.name} (about a minute; the log is {log})")
    sources = scratch / f"{recipe.name}.sources.list"
    sources.write_text("".join(f"{line}\n" for line in source.mirrors))
    command = ["mmdebstrap", "--mode=root", "--variant=apt", "--format=directory", f"--include={','.join(recipe.packages)}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in NO_DOCS]
    command += _hooks("essential", recipe.before) + _hooks("customize", recipe.after)
    command += [source.codename, str(tree), str(sources)]
    with log.open("wb") as output:
        done = subprocess.run(
            [*ALONE, *command], stdout=output, stderr=output, stdin=subprocess.DEVNULL, check=False, timeout=1800
        )
    if done.returncode != 0:
        raise LabError(f"mmdebstrap ended with status {done.returncode}:\n{log.read_text(errors='replace')[-3000:]}")
    return tree


def _hooks(when: str, commands: Sequence[str]) -> list[str]:
    return [f"--{when}-hook={command}" for command in commands]
