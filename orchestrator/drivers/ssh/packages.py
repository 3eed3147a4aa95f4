"""Debian packages that a node lacks: installed where the operator said so, else the command that does it is told."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from orchestrator.domain.errors import PermanentDriverError
from orchestrator.drivers.ssh.shell import OperatorShell

# Nobody is there to answer a question: a configuration file that was changed on the node stays as it is.
_OPTIONS = "-q -y -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"


@dataclass(frozen=True, slots=True)
class Packages:
    """``wanted``: the operator wants them installed. ``say`` tells what is done, or what he would have to do."""

    shell: OperatorShell
    say: Callable[[str], None]
    wanted: bool

    def bring(self, packages: Iterable[str]) -> bool:
        """Whether they were installed. Raises PermanentDriverError where apt-get could not."""
        names = sorted(set(packages))
        if not names:
            return False
        if not self.wanted:
            self.say(f"packages are missing; on the node: {by_hand(names)} (or enrol it again with --install)")
            return False
        self.say(f"installing {' '.join(names)}")
        quoted = " ".join(shlex.quote(name) for name in names)
        install = f"apt-get update -q && apt-get install {_OPTIONS} --no-install-recommends -- {quoted}"
        # In one stream: what is wrong with a package says the one, what follows from it the other.
        done = self.shell.run(f"export DEBIAN_FRONTEND=noninteractive; {{ {install}; }} 2>&1")
        if done.status != 0:
            said = done.stdout.decode(errors="replace").strip()[-500:]
            raise PermanentDriverError(
                f"apt-get could not install {' '.join(names)} on {self.shell.name}: {said}", hint=f"on the node: {by_hand(names)}"
            )
        return True


def by_hand(names: Iterable[str]) -> str:
    """What a person types there, as root."""
    return f"apt-get update && apt-get install --no-install-recommends {' '.join(names)}"
