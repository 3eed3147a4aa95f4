"""Commands over the operator's own access to a machine that becomes a node."""

from __future__ import annotations

from orchestrator.domain.errors import PermanentDriverError, TransientDriverError
from orchestrator.drivers.agent_answers import Completed
from orchestrator.drivers.ssh.connection import Deadline, SshConnection


class OperatorShell:
    """One connection and one deadline for all commands of an enrolment. Programs speak English (LC_ALL=C)."""

    def __init__(self, connection: SshConnection, limit: Deadline) -> None:
        self._connection = connection
        self._limit = limit

    @property
    def name(self) -> str:
        return self._connection.name

    def run(self, command: str, stdin: bytes = b"", *, seconds: float = 600.0) -> Completed:
        """Run a command line of the node's shell; its status is for the caller to judge."""
        left = self._limit.left()
        if left <= 0:
            raise TransientDriverError(f"the time for {self.name} is used up", node=self.name)
        return self._connection.run(f"export LC_ALL=C; {command}", stdin, deadline=min(seconds, left))

    def output(self, command: str) -> str:
        """What the command prints; raises PermanentDriverError where it fails."""
        done = self.run(command)
        if done.status != 0:
            reason = done.stderr.strip()[-300:] or f"exit status {done.status}"
            raise PermanentDriverError(f"{self.name}: {command.split()[0]} failed: {reason}", node=self.name)
        return done.stdout.decode(errors="replace")
