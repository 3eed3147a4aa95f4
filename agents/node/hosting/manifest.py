"""What was on and what was off before an account was suspended, and what was put away: kept until it is let go again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agents.node.hosting import tree
from agents.node.hosting.layout import Home
from agents.node.protocol import AgentError


@dataclass(slots=True, kw_only=True)
class Manifest:
    """``before``: as ``facts.switches`` gives it, once; a second suspension changes nothing of it."""

    service_id: str
    job_id: str
    suspended_at: str
    before: dict[str, Any] = field(default_factory=dict)

    def save(self, home: Home) -> None:
        directory(home)
        tree.write(_path(home), json.dumps(asdict(self)) + "\n", sync=True)


def load(home: Home) -> Manifest | None:
    """Raises AgentError (in-doubt) for one that cannot be read: without it nobody knows what was open before."""
    text = tree.read(_path(home))
    if text is None:
        return None
    try:
        found = json.loads(text)
        return Manifest(**found)
    except (ValueError, TypeError):
        raise AgentError(
            "in-doubt", f"{_path(home)} cannot be read", hint="an operator must say what the account had before it was suspended"
        ) from None


def _path(home: Home) -> Path:
    return home.records / "manifest.json"


def directory(home: Home) -> Path:
    home.records.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home.records


def keys(home: Home) -> Path:
    return home.records / "keys"


def crontab(home: Home) -> Path:
    return home.records / "crontab"


def vhost(home: Home) -> Path:
    return home.records / "vhost.conf"


def at_jobs(home: Home) -> Path:
    return home.records / "at"


def forget(home: Home) -> None:
    """The last act of letting go."""
    for path in (keys(home), crontab(home), vhost(home), _path(home)):
        tree.remove(path)
    if at_jobs(home).is_dir() and not tree.names(at_jobs(home)):
        at_jobs(home).rmdir()
