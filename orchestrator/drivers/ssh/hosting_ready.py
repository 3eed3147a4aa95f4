"""Making an enrolled machine ready for accounts: its agent looks what is there, and makes what all accounts share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.domain.errors import PermanentDriverError, PreconditionError
from orchestrator.domain.plans import Node
from orchestrator.drivers.ssh.connection import Deadline
from orchestrator.ports.enrolment import Requirement
from orchestrator.ports.node_transport import NodeTransport

NAME = "prepared"  # the doctor's name of that requirement
BROUGHT = (NAME, "MariaDB tables")  # what enrolment itself brings about


def requirements(agent: NodeTransport, node: Node, limit: Deadline) -> tuple[Requirement, ...]:
    """What the agent's ``hosting-doctor`` says that the node must have."""
    return _rows(agent.call("hosting-doctor", _asked(node), deadline=limit.left()))


def prepare(
    agent: NodeTransport, node: Node, found: tuple[Requirement, ...], *, say: Callable[[str], None], limit: Deadline
) -> tuple[Requirement, ...]:
    """Make what all accounts share, where the node has everything else; what it has then.

    Where something is missing nothing is touched: what cannot be tested is not to be reloaded.
    """
    lacking = [row.name for row in found if not row.ok and row.name not in BROUGHT]
    if lacking:
        return found
    say("preparing it for accounts")
    try:
        answer = agent.call("hosting-prepare", _asked(node), deadline=limit.left())
    except (PermanentDriverError, PreconditionError) as exc:
        failed = Requirement(name=NAME, ok=False, found=exc.message, mend=exc.hint or "mend that, then enrol the node again")
        return tuple(failed if row.name == NAME else row for row in found)
    changed = [str(part) for part in answer["changed"]]
    say(f"prepared: {', '.join(changed)}" if changed else "it was prepared already")
    return _rows(answer["doctor"])


def _asked(node: Node) -> dict[str, Any]:
    return {"backups": True} if node.backups else {}


def _rows(answer: Mapping[str, Any]) -> tuple[Requirement, ...]:
    try:
        return tuple(_requirement(row) for row in answer["needs"])
    except (KeyError, TypeError) as exc:
        raise PermanentDriverError(
            "the agent's doctor answered with what is no answer to it", hint="enrol the node again"
        ) from exc


def _requirement(row: Mapping[str, Any]) -> Requirement:
    name, found, mend, package = (str(row[key]) for key in ("name", "says", "hint", "package"))
    return Requirement(name=name, ok=bool(row["ok"]), found=found, mend=mend, package=package)
