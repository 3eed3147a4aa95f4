"""The node agent of the source tree on this machine, without SSH: a process of its own for each call, as on a node."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.node.place import Place
from orchestrator.domain.errors import TransientDriverError
from orchestrator.drivers.agent_answers import Completed, LineReader, outcome
from orchestrator.ports.node_transport import Progress

PROGRAM = """
import sys
from pathlib import Path
from agents.node.main import run
from agents.node.place import Place
sys.exit(run(sys.argv[2:], sys.stdin.buffer, sys.stdout.buffer, place=Place(Path(sys.argv[1]))))
"""


def words(place: Place, command: str, zipapp: Path | None = None) -> list[str]:
    """The call of an agent whose node lies under the root of ``place``. ``zipapp``: as it is shipped, with the node's Python."""
    if zipapp is None:
        return [sys.executable, "-c", PROGRAM, str(place.root), command]
    return ["/usr/bin/python3", "-I", "-c", f"import sys; sys.path.insert(0, {str(zipapp)!r}){PROGRAM}", str(place.root), command]


class LocalAgent:
    """NodeTransport to it. ``root`` holds its configuration and state; ``pools`` are the directories it may touch."""

    def __init__(self, root: Path, pools: Sequence[Path], *, zipapp: Path | None = None) -> None:
        self.place = Place(root)
        self._zipapp = zipapp
        self.place.config.parent.mkdir(parents=True, exist_ok=True)
        self.place.config.write_text(json.dumps({"pool_paths": [str(pool) for pool in pools]}))

    def call(
        self, command: str, request: Mapping[str, Any], *, deadline: float, progress: Progress | None = None
    ) -> dict[str, Any]:
        reader = LineReader(progress)
        asked = json.dumps(dict(request)).encode()
        try:
            done = subprocess.run(
                words(self.place, command, self._zipapp), input=asked, capture_output=True, timeout=deadline, check=False
            )
        except subprocess.TimeoutExpired:
            raise TransientDriverError(f"{command} did not end in time") from None
        reader.feed(done.stdout)
        return outcome(reader, Completed(done.returncode, done.stdout, done.stderr.decode()), node="lab-node")

    def close(self) -> None:
        """Nothing is kept open."""
