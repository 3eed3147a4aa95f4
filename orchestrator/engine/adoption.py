"""Policies take effect when the controller starts with other files; what would end services at once needs consent before.

What was adopted is kept in the store. As long as a change waits, no deadline terminates anything, by the old policies or by the
new ones; everything else goes by the new.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta

from orchestrator.domain.errors import WrongState
from orchestrator.domain.guards import WaitReason, consent_wait, ended_by
from orchestrator.domain.policies import SILENT, Policy
from orchestrator.domain.services import Service
from orchestrator.engine.acts import Works
from orchestrator.engine.settings import Catalog, PolicyTexts
from orchestrator.engine.waits import let_go, tell
from orchestrator.store import audit, services, settings
from orchestrator.store import deadlines as store
from orchestrator.store.database import Connection
from orchestrator.store.deadlines import Seen

_log = logging.getLogger(__name__)
_PAGE = 500
# So many of the services are kept with the wait, for people to look at.
SHOWN = 20
_NAMED = 10
# While a change waits, whom it concerns is counted again so often: some pay, of others the time comes nearer.
_AGAIN = timedelta(hours=1)
Kept = Mapping[str, Mapping[str, str]]


class Adoption:
    """``look`` before each turn of deadlines; ``victims`` and ``adopt`` for whoever takes an operator's consent."""

    def __init__(self, works: Works, catalog: Catalog, texts: PolicyTexts) -> None:
        self._works = works
        self._catalog = catalog
        self._texts = texts
        self._now: Kept = {
            "policies": {name: texts.write(policy) for name, policy in catalog.policies.items()},
            "plans": {name: plan.policy for name, plan in catalog.plans.items()},
        }
        self._next: float | None = 0.0

    def look(self) -> None:
        """At the first turn adopt what changed, or have it wait for consent; then count again now and then while it waits."""
        monotonic = self._works.clock.monotonic()
        if self._next is None or monotonic < self._next:
            return
        compared, victims = self._victims()
        with self._works.db.write() as conn:
            if settings.get(conn, settings.ADOPTED) != compared:
                return  # somebody agreed while they were counted
            if victims:
                self.hold(conn, victims)
            else:
                waited = [wait for wait in settings.waits(conn).values() if wait.reason == WaitReason.POLICY]
                let_go(conn, waited, "orchestrator", "no policy terminates anybody unasked now", now=self._works.clock.now())
                self.adopt(conn, "orchestrator", victims)
        self._next = monotonic + _AGAIN.total_seconds() if victims else None

    def victims(self) -> tuple[str, ...]:
        """The services that would be terminated soon, and would not be by what was adopted.

        Raises WrongState where the controller is stopped meanwhile.
        """
        return self._victims()[1]

    def _victims(self) -> tuple[Kept | None, tuple[str, ...]]:
        """With what was adopted when they were counted."""
        with self._works.db.read() as conn:
            kept: Kept | None = settings.get(conn, settings.ADOPTED)
        before = self._before(kept)
        now = self._works.clock.now()
        promised = {plan: self._promised(plan) for plan in {*before, *self._catalog.plans}}
        changed = {plan: policy for plan, policy in promised.items() if policy != before.get(plan, SILENT)}
        found: list[str] = []
        after: str | None = None
        while changed:
            if self._works.halting.is_set():
                raise WrongState("the controller is stopped")
            with self._works.db.read() as conn:
                page, after = services.list_page(conn, limit=_PAGE, after=after)
                seen = store.seen_to(conn, [service.id for service in page])
            for service in page:
                old, new, known = before.get(service.plan, SILENT), changed.get(service.plan), seen[service.id]
                if new is not None and self._ends(service, new, known, now) and not self._ends(service, old, known, now):
                    found.append(service.id)
            if after is None:
                break
        return kept, tuple(found)

    def hold(self, conn: Connection, victims: tuple[str, ...]) -> None:
        """Let nothing be terminated until somebody agrees to these."""
        now = self._works.clock.now()
        standing = settings.waits(conn)
        first = standing.get(WaitReason.POLICY)
        since = now if first is None else first.since
        wait = consent_wait(self._changes(conn), victims, first=SHOWN, since=since)
        if wait != first:
            settings.put_waits(conn, (standing | {wait.reason: wait}).values(), now=now)
            tell(conn, wait, now=now)

    def adopt(self, conn: Connection, who: str, victims: tuple[str, ...]) -> None:
        """From now on these policies are the ones that a change is compared with."""
        now = self._works.clock.now()
        changes = self._changes(conn)
        if not changes:
            return
        settings.put(conn, settings.ADOPTED, self._now, now=now)
        audit.append(conn, at=now, who=who, what="policies adopted", facts={"changed": changes, "terminates": len(victims)})
        _log.info("policies adopted: %s", ", ".join(changes))

    def _changes(self, conn: Connection) -> list[str]:
        """What is other than it was adopted, in words."""
        kept: Kept = settings.get(conn, settings.ADOPTED) or {}
        found = []
        for kind, word in (("policies", "policy"), ("plans", "plan")):
            old, new = kept.get(kind, {}), self._now[kind]
            found += [f"{word} {name}" for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
        return found if len(found) <= _NAMED else [*found[:_NAMED], f"and {len(found) - _NAMED} more"]

    def _before(self, kept: Kept | None) -> dict[str, Policy]:
        """What was promised with each plan; what this version cannot read promised nothing that anybody could hold us to."""
        if kept is None:
            return {}
        read = {name: self._texts.read(text) or SILENT for name, text in kept["policies"].items()}
        return {plan: read.get(policy, SILENT) for plan, policy in kept["plans"].items()}

    def _promised(self, plan: str) -> Policy:
        found = self._catalog.plans.get(plan)
        return SILENT if found is None else self._catalog.policies.get(found.policy, SILENT)

    def _ends(self, service: Service, policy: Policy, known: Seen, now: datetime) -> bool:
        return ended_by(service, self._catalog.terms_of(service, policy=policy), now=now, told=known.told, settled=known.settled)
