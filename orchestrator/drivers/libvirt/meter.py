"""The port GuestMeter over the agent's `guest-traffic`: libvirt's own call would ask each guest's QEMU, one after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from orchestrator.domain.errors import PermanentDriverError
from orchestrator.domain.traffic import Reading
from orchestrator.ports.node_transport import NodeTransport

# What is counted ends in a signed 64-bit column.
_MOST = 2**63 - 1
_LONGEST = 200


class AgentGuestMeter:
    """``agent`` reaches the node ``name``; it is not closed with this."""

    def __init__(self, agent: NodeTransport, *, name: str) -> None:
        self._agent = agent
        self._name = name

    def read(self, *, deadline: float) -> tuple[Reading, ...]:
        """See the port."""
        answer = self._agent.call("guest-traffic", {}, deadline=deadline)
        try:
            return tuple(_reading(row) for row in answer["guests"])
        except (KeyError, TypeError, ValueError, OverflowError) as exc:
            said = f"the agent of {self._name} told no counters of its guests: {exc!r:.200}"
            raise PermanentDriverError(said, hint=f"orchestrator node enrol {self._name}") from None


def _reading(row: Mapping[str, Any]) -> Reading:
    name, run, age = str(row["name"]), str(row["run"]), float(row["age_seconds"])
    if not math.isfinite(age) or age < 0 or not 0 < len(run) <= _LONGEST:
        raise ValueError("no run of a guest")
    return Reading(name=name, run=run, age_seconds=age, in_bytes=_count(row["in_bytes"]), out_bytes=_count(row["out_bytes"]))


def _count(value: Any) -> int:
    found = int(value)
    if not 0 <= found <= _MOST:
        raise ValueError(f"{found} is no count of bytes")
    return found
