"""Who answers."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

from agents.node import VERSION
from agents.node.call import Call


def hello(_call: Call) -> dict[str, Any]:
    """Version and SHA-256 of the zipapp that answers ('' when run from the source), host name, Python's version."""
    zipapp = Path(sys.argv[0])
    digest = hashlib.sha256(zipapp.read_bytes()).hexdigest() if zipapp.is_file() and zipapp.suffix != ".py" else ""
    return {"version": VERSION, "sha256": digest, "hostname": os.uname().nodename, "python": python()}


def python() -> str:
    """The version of the Python that runs this, as 3.11.2."""
    return ".".join(map(str, sys.version_info[:3]))
