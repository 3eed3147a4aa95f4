"""What goes through the network of simulated guests: counters that begin anew with each run, as those of a tap do."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.errors import WrongState
from orchestrator.drivers.fake.world import FakeWorld, State


def pass_through(
    world: FakeWorld, node: str, guest: str, *, in_bytes: int = 0, out_bytes: int = 0, age_seconds: float | None = None
) -> None:
    """So many bytes go to the guest and come from it. ``age_seconds``: from now on its run is so old (0 where nobody said).

    Raises WrongState for one that does not run.
    """
    with world.change() as state:
        there = state["nodes"][node]
        found = there["guests"][guest]
        if found["power"] != "running":
            raise WrongState(f"{guest} does not run: nothing goes through its network")
        now = _now(there, found)
        age = now["age_seconds"] if age_seconds is None else age_seconds
        found["passed"] = {
            "run": now["run"],
            "age_seconds": age,
            "in_bytes": now["in_bytes"] + in_bytes,
            "out_bytes": now["out_bytes"] + out_bytes,
        }


def counters(node: State) -> dict[str, Any]:
    """The answer of the agent's `guest-traffic`."""
    running = {name: guest for name, guest in sorted(node["guests"].items()) if guest["power"] == "running"}
    return {"guests": [{"name": name, **_now(node, guest)} for name, guest in running.items()]}


def _now(node: State, guest: dict[str, Any]) -> dict[str, Any]:
    run = f"{node.get('host_boots', 0)}/{guest['boots']}"
    kept: dict[str, Any] = guest.get("passed") or {}
    return kept if kept.get("run") == run else {"run": run, "age_seconds": 0.0, "in_bytes": 0, "out_bytes": 0}
