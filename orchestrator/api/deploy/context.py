"""What the desk works with. ``wiring`` builds one; handlers get at it through ``request.app.state``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from orchestrator.ports.clock import Clock
from orchestrator.store.deployments import StoreDeployments


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """``image``: the ISO, with its description beside it; ``images``: the directory of what is written to machines."""

    book: StoreDeployments
    image: Path
    images: Path
    clock: Clock


async def _desk(request: Request) -> Desk:
    desk = request.app.state.desk
    assert isinstance(desk, Desk)
    return desk


AtDesk = Annotated[Desk, Depends(_desk)]
