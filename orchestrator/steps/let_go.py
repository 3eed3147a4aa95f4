"""A guest that is held beside what its service says, on a node that was lost: kept off there, and let go as it was before.

No step: who says that a node is found has this done at once (``engine.losing``). As ``guest.hold`` does, it notes in the mark how
the guest was, so that one its owner had switched off stays off.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.ports.hypervisor import GuestFacts, GuestMark, Hypervisor, Power, PowerAction
from orchestrator.steps.common import RUNS, last_traced, put_down
from orchestrator.steps.move import MOVING, SET_OUT


def keep_off(hypervisor: Hypervisor, guest: GuestFacts, mark: GuestMark, reason: str, *, seconds: float) -> None:
    """Hold it for this reason, too, and pull its plug. Again it changes nothing."""
    held = replace(mark, holds=tuple(sorted({*mark.holds, reason})))
    if not mark.holds:
        held = replace(held, power_before=guest.power, autostart_before=guest.autostart)
    if held != mark or guest.autostart:
        guest = hypervisor.mark(guest.name, held, autostart=False, deadline=seconds)
    put_down(hypervisor, guest, grace_seconds=0, seconds=seconds)


def let_go(hypervisor: Hypervisor, guest: GuestFacts, mark: GuestMark, holds: tuple[str, ...], *, seconds: float) -> bool:
    """Have it held for these alone; for none it is again as it was before. Whether it was let go.

    What was before is taken from the mark last: cut off in between, the next call ends it.
    """
    if holds == mark.holds and (holds or mark.power_before is None):
        return False
    power, autostart = how_it_was(mark)
    noted = replace(mark, holds=holds, power_before=power, autostart_before=autostart)
    if holds:
        hypervisor.mark(guest.name, noted, autostart=False, deadline=seconds)
        return False
    hypervisor.mark(guest.name, noted, autostart=autostart, deadline=seconds)
    if power in RUNS:
        hypervisor.power(guest.name, PowerAction.START, deadline=seconds)
    clean = replace(noted, power_before=None, autostart_before=None)
    hypervisor.mark(guest.name, clean, autostart=autostart, deadline=seconds)
    return True


def how_it_was(mark: GuestMark) -> tuple[Power, bool]:
    """Before it was held: its power, and whether it started with its host. One of which nothing is noted ran, and did."""
    if mark.power_before is not None:
        return mark.power_before, bool(mark.autostart_before)
    left = last_traced(mark, SET_OUT) if MOVING in mark.holds else None
    return (Power.RUNNING, True) if left is None else (Power(left["power"]), left["autostart"] == "yes")
