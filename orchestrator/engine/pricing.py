"""Prices take effect when the controller starts with other files, from then on and for nothing that is past.

What each plan cost since when is kept in the store, and every charge goes by that.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from orchestrator.domain.services import Service
from orchestrator.domain.tariffs import Tariff, followed, tariff
from orchestrator.engine.acts import Works
from orchestrator.engine.settings import Catalog
from orchestrator.store import audit, settings
from orchestrator.store.database import Connection

_log = logging.getLogger(__name__)
Known = Mapping[str, tuple[Tariff, ...]]


class PriceAdoption:
    """``look`` before each turn of deadlines: the first time it notes what is new, then what another controller noted."""

    def __init__(self, works: Works, catalog: Catalog) -> None:
        self._works = works
        self._catalog = catalog
        self._noted = False

    def look(self) -> None:
        """Know what each plan cost since when."""
        if self._noted:
            with self._works.db.read() as conn:
                known = _kept(conn)
        else:
            with self._works.db.write() as conn:
                known = self._note(conn, _kept(conn), now=self._works.clock.now())
        self._catalog.tariffs.known = known
        self._noted = True

    def _note(self, conn: Connection, kept: Known, *, now: datetime) -> Known:
        """What is kept, with what the files say where that is new; a plan that is not declared any more costs nothing."""
        plans = sorted({*kept, *self._catalog.plans})
        known = {plan: followed(kept.get(plan, ()), self._declared(plan, now)) for plan in plans}
        changed = [plan for plan in plans if known[plan] != kept.get(plan)]
        if not changed:
            return known
        value = {plan: [_values(each) for each in found] for plan, found in known.items()}
        settings.put(conn, settings.TARIFFS, value, now=now)
        told = {plan: _values(known[plan][-1]) for plan in changed if plan in kept or known[plan][-1].charges}
        if told:
            audit.append(conn, at=now, who="orchestrator", what="prices adopted", facts={"plans": told})
            _log.info("prices adopted: %s", ", ".join(told))
        return known

    def _declared(self, plan: str, now: datetime) -> Tariff:
        policy = self._catalog.policy_of(Service(id="", client_id="", plan=plan))
        return tariff(policy, self._catalog.prices_of(plan), since=now)


def _kept(conn: Connection) -> Known:
    value = settings.get(conn, settings.TARIFFS) or {}
    return {plan: tuple(_tariff(each) for each in found) for plan, found in value.items()}


def _values(found: Tariff) -> dict[str, Any]:
    return asdict(found) | {"since": found.since.isoformat()}


def _tariff(kept: Mapping[str, Any]) -> Tariff:
    return Tariff(**{**kept, "since": datetime.fromisoformat(kept["since"])})
