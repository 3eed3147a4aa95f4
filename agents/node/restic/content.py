"""What a snapshot holds: asked before anything is closed for a restore of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, BinaryIO

from agents.node.call import Call
from agents.node.restic import argv, check
from agents.node.restic.commands import listed, session


def repository_lacks(call: Call) -> dict[str, Any]:
    """Those of the paths, from the snapshot's root, that it does not hold. Takes no lock.

    Raises AgentError (not-found) where there is no such snapshot.
    """
    given = call.arguments
    location = given["repository"].location
    doing = f"looking for what is to be restored in {location}"
    seeking = _Seeking(given["paths"])
    with session(call, alone=False) as work:
        check.require(listed(work, doing), given["snapshot"], location)
        work.restic.stream(argv.holding(given["snapshot"], given["paths"]), doing=doing, consume=seeking.run)
    return {"missing": seeking.missing}


class _Seeking:
    """Reads the listing of the paths: each that is there stands in it, among what lies right below it."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.missing = list(paths)

    def run(self, stream: BinaryIO) -> None:
        for line in stream:
            found = json.loads(line)
            if isinstance(found, dict) and found.get("path") in self.missing:
                self.missing.remove(found["path"])
