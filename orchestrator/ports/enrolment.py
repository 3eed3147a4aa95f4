"""Making a plain machine a node: the one time we come with an operator's own access."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from orchestrator.domain.plans import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """``fingerprint`` as ssh-keygen -l prints it (``SHA256:…``); ``line`` as known_hosts holds it, without the host."""

    kind: str
    fingerprint: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One thing a node must have. ``mend`` says what to do where it is missing; ``package`` the Debian package, if one."""

    name: str
    ok: bool
    found: str = ""
    mend: str = ""
    package: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentReport:
    """``hook_refuses``: a held guest was seen to be refused; None on a hosting node, which has no guests."""

    host_key: HostKey
    agent_version: str
    agent_sha256: str
    requirements: tuple[Requirement, ...]
    hook_refuses: bool | None = None

    @property
    def complete(self) -> bool:
        return self.hook_refuses is not False and all(r.ok for r in self.requirements)


class Enrolment(Protocol):
    def host_keys(self, node: Node, *, deadline: float) -> tuple[HostKey, ...]:
        """What the node presents now; nothing is trusted by asking."""
        ...

    def enrol(
        self,
        node: Node,
        *,
        host_key: HostKey,
        identity: str,
        say: Callable[[str], None],
        deadline: float,
        install: bool = False,
    ) -> EnrolmentReport:
        """Ship agent, launcher and hook with the operator's key ``identity`` (a private key file), install the
        controller's key with the launcher as forced command, pin ``host_key``, and prove that the hook refuses a held guest.
        A hosting node gets no hook; where it has everything, it is made ready for accounts.

        ``install``: Debian packages that are missing are installed there; else the command that does it is said.

        Repeatable. What is missing is named in the report, never guessed around.
        """
        ...
