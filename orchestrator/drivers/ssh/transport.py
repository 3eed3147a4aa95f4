"""Calls to the agent on a node, through the launcher that the controller's key is bound to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.drivers.agent_answers import LineReader, outcome
from orchestrator.drivers.calls import logged
from orchestrator.drivers.ssh.connection import SshConnection
from orchestrator.ports.enrolment import HostKey
from orchestrator.ports.node_transport import Progress


class SshTransport:
    """The port NodeTransport over one kept connection. Several calls may run at a time."""

    def __init__(self, *, address: str, port: int = 22, user: str = "root", key_path: Path, host_key: HostKey) -> None:
        self._connection = SshConnection(address=address, port=port, user=user, key_path=key_path, host_key=host_key)

    def call(
        self, command: str, request: Mapping[str, Any], *, deadline: float, progress: Progress | None = None
    ) -> dict[str, Any]:
        """See the port. ``command`` is one word; the launcher on the node takes no other."""
        reader = LineReader(progress)
        with logged(command, by="agent", node=self._connection.name):
            done = self._connection.run(
                f"node-agent {command}",
                json.dumps(dict(request)).encode(),
                deadline=deadline,
                on_output=reader.feed,
            )
            return outcome(reader, done, node=self._connection.name)

    def close(self) -> None:
        self._connection.close()
