"""What the jobs of a service made of it, in a few lines of its card. They are found by what steps call them, whatever a playbook
calls its steps; the rest of what steps recorded is for scripts, and for whoever asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.cli.output import text, when
from orchestrator.cli.tables import Line, Row
from orchestrator.domain.sizes import size_words


def _of_steps(row: Row) -> Iterator[Mapping[str, Any]]:
    return (facts for facts in row["facts"].values() if isinstance(facts, dict))


def _guest(row: Row) -> str:
    return "\n".join(f"{f['guest']} (UUID {f['uuid']})" for f in _of_steps(row) if f.get("guest") and f.get("uuid"))


def _addresses(row: Row) -> str:
    """With the MAC; of a machine for which none is declared it is not known."""
    found = [facts for facts in _of_steps(row) if facts.get("addresses") and "mac" in facts]
    return "\n".join(f"{text(f['addresses'])}{' (MAC ' + f['mac'] + ')' if f['mac'] else ''}" for f in found)


def _volumes(row: Row) -> str:
    found = [facts["volume"] for facts in _of_steps(row) if isinstance(facts.get("volume"), dict)]
    return "\n".join(_volume(volume) for volume in found if "path" in volume)


def _volume(volume: Mapping[str, Any]) -> str:
    words = [size_words(int(volume["capacity_bytes"])), "encrypted" if volume.get("secret_uuid") else ""]
    return f"{volume['path']}: {', '.join(word for word in words if word)}"


def _account(row: Row) -> str:
    """How it is called on its node, by what last made it (other steps name its user, too), and where its home is."""
    made = [f for f in _of_steps(row) if f.get("user") and f.get("uid")]
    return f"{made[-1]['user']} (uid {made[-1]['uid']}, /srv/h/{made[-1]['user']}/home)" if made and row["node"] else ""


def _archive(row: Row) -> str:
    return "\n".join(_kept(facts) for facts in _of_steps(row) if "kept_at" in facts)


def _kept(archive: Mapping[str, Any]) -> str:
    until = f", until {when(archive['until'])}" if archive.get("until") else ""
    where = f"{archive['id']} on {archive['node']}"
    # A machine is its own archive: of how much there is on its disks nobody knows.
    what = size_words(int(archive["bytes"])) if "bytes" in archive else f"its disks {text(archive['disks'])}"
    return f"{where}, {what}, kept {when(archive['kept_at'])}{until}"


def _rescue(row: Row) -> str:
    """How to log in to the rescue system, and the fingerprint that it has to show."""
    found = [facts for facts in _of_steps(row) if facts.get("fingerprint") and facts.get("login")]
    return "\n".join(f"since {when(f['since'])}: {text(f['login'])}, host key {f['fingerprint']}" for f in found)


MADE: tuple[Line, ...] = (
    ("in rescue", _rescue),
    ("guest", _guest),
    ("account", _account),
    ("addresses", _addresses),
    ("volumes", _volumes),
    ("archive", _archive),
)
