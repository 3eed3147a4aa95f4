"""What the API works with. ``wiring`` builds one; handlers get at it through ``request.app.state``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request

from orchestrator.api.control import Control
from orchestrator.config.model import Config
from orchestrator.domain.plans import Node
from orchestrator.observe.metrics import Metrics
from orchestrator.ports.address_pool import AddressPool
from orchestrator.ports.clock import Clock
from orchestrator.ports.enrolment import Enrolment
from orchestrator.ports.hosting_node import NodeResidue
from orchestrator.ports.ledger import Ledger
from orchestrator.ports.secrets import Secrets

if TYPE_CHECKING:
    from orchestrator.engine.consoles import Consoles
    from orchestrator.engine.inventory import Inventory
    from orchestrator.engine.settings import Catalog
    from orchestrator.engine.testing import HardwareTests
    from orchestrator.store.database import Database


def _later(_node: str) -> None:
    """The node is looked at when it is its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiContext:
    """``doctor`` has a node's agent look at the node and returns what it reported, ``node_residue`` what
    others left on it. ``server_uid`` is the controller's own
    uid: on the unix socket it is an admin, as uid 0 is. ``problems`` says what keeps the controller from working, sentence by
    sentence. ``look`` looks at a node now, instead of at the next beat. ``catalog`` is what the engine sells and promises by.
    """

    engine: Control
    db: Database
    config: Config
    catalog: Catalog
    secrets: Secrets
    clock: Clock
    addresses: AddressPool
    ledger: Ledger
    enrolment: Enrolment
    doctor: Callable[[Node], Mapping[str, Any]]
    node_residue: Callable[[Node], NodeResidue]
    inventory: Inventory
    testing: HardwareTests
    consoles: Consoles
    metrics: Metrics
    server_uid: int
    problems: Callable[[], tuple[str, ...]] = tuple
    look: Callable[[str], None] = _later


async def _context(request: Request) -> ApiContext:  # a synchronous dependency would cost each request a thread's turn
    context = request.app.state.context
    assert isinstance(context, ApiContext)
    return context


Context = Annotated[ApiContext, Depends(_context)]
