"""Whether a template on the node is the one the configuration names."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from agents.node import amounts, files
from agents.node.call import Call
from agents.node.protocol import AgentError

_CHUNK = 4 * 1024 * 1024


def template_check(call: Call) -> dict[str, Any]:
    """The file's SHA-256 and size, and whether the hash is the wanted one. Raises AgentError (not-found)."""
    path = call.arguments["path"]
    with files.pool_of(call.place, path) as (pool, name):
        fd = files.open_in(pool, name)
        if fd is None:
            raise AgentError("not-found", f"the template {path} is not there")
        with os.fdopen(fd, "rb", buffering=0) as stream:
            size, done, digest = os.fstat(fd).st_size, 0, hashlib.sha256()
            while block := stream.read(_CHUNK):
                digest.update(block)
                done += len(block)
                call.progress(done / max(1, size), f"{amounts.size(done)} of {amounts.size(size)} read")
    found = digest.hexdigest()
    return {"ok": found == call.arguments["sha256"], "sha256": found, "size": size}
