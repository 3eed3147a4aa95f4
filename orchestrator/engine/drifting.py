"""Looks for drift on all nodes again and again, keeps the guests' signed records fresh by the way, and mends what is safe."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from orchestrator.domain.drift import Finding, Repair, counts
from orchestrator.domain.errors import NotFound, OrchestratorError, WrongState
from orchestrator.domain.mending import mended
from orchestrator.domain.received import Received
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms
from orchestrator.engine.acts import Works
from orchestrator.engine.clerk import Clerk, Decide
from orchestrator.engine.records import Records
from orchestrator.engine.settings import Catalog, nothing_beside
from orchestrator.engine.sights import Seen, Sights
from orchestrator.store import audit, settings
from orchestrator.store.settings import Drifted

_log = logging.getLogger(__name__)
WHAT = "drift repaired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """What became of a finding that is safe to mend: its job, or a sentence."""

    finding: Finding
    job_id: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """``unseen``: nodes that did not answer, and why. ``nodes``: those that were looked at. ``mended``: in the order of the
    findings that can be."""

    at: datetime
    nodes: tuple[str, ...]
    findings: tuple[Finding, ...]
    unseen: tuple[tuple[str, str], ...] = ()
    mended: tuple[Mended, ...] = ()


class Drifting:
    """``look`` and ``repair`` may be called at any time; ``once`` does something every ``drift_seconds``."""

    def __init__(self, works: Works, catalog: Catalog, *, clerk: Clerk, records: Records) -> None:
        self._works = works
        self._catalog = catalog
        self._clerk = clerk
        self._records = records
        self._sights = Sights(works, catalog, records)
        self._last = works.clock.monotonic()  # a controller that has just begun has something else to do

    def look(self, node: str = "") -> DriftReport:
        """What differs on the node, or on all that are enrolled. Raises NotFound, WrongState, StoreUnavailable."""
        return self._report(self._sights.look(self._names(node)))

    def repair(self, node: str = "", *, who: str, why: str, dry: bool = False) -> DriftReport:
        """Look, and mend what is safe, each service by a job of its own; the guests' records are made fresh by the way. Of a
        dry run only what would be mended. Raises as ``look``."""
        seen = self._sights.look(self._names(node))
        report = self._report(seen)
        first: dict[str, Mended] = {}
        for finding in sorted(report.findings, key=_urgency):
            if finding.repair is not None and finding.service_id not in first:
                first[finding.service_id] = self._mend(finding, seen, who=who, why=why, dry=dry)
        if not dry:
            self._keep_records(seen)
        done = tuple(first[f.service_id] for f in report.findings if f.repair is not None and first[f.service_id].finding == f)
        return DriftReport(at=report.at, nodes=report.nodes, findings=report.findings, unseen=report.unseen, mended=done)

    def once(self) -> None:
        """Count what differs, for the metrics, and put fresh records into the guests."""
        now = self._works.clock.monotonic()
        if now - self._last >= self._works.settings.drift_seconds:
            self._last = now
            self.measure()

    def measure(self) -> DriftReport:
        """The same, now."""
        seen = self._sights.look(self._sights.enrolled())
        report = self._report(seen)
        number = counts(report.findings)
        with self._works.db.write() as conn:
            kept = {kind.value: count for kind, count in number.items()}
            settings.set_drifted(conn, Drifted(report.at, kept, tuple(name for name, _ in report.unseen)))
        some = sum(count for kind, count in number.items() if kind.counts)
        if some:
            _log.warning("%d things differ between records and nodes: orchestrator drift", some)
        self._keep_records(seen)
        return report

    def _keep_records(self, seen: Seen) -> None:
        free = {key: service for key, service in seen.known.services.items() if key not in seen.known.busy}
        for sight in seen.sights:
            self._records.keep(sight.node.name, sight.guests, free)

    def _names(self, node: str) -> tuple[str, ...]:
        enrolled = self._sights.enrolled()
        if not node:
            return enrolled
        if node not in {each.name for each in self._catalog.nodes}:
            raise NotFound("there is no node of that name in nodes.yaml", hint="`orchestrator node list` shows all of them")
        if node not in enrolled:
            raise WrongState(f"the node {node} is not enrolled", hint=f"orchestrator node enrol {node}", node=node)
        return (node,)

    def _report(self, seen: Seen) -> DriftReport:
        return DriftReport(
            at=self._works.clock.now(),
            nodes=tuple(sight.node.name for sight in seen.sights),
            findings=self._sights.findings(seen),
            unseen=tuple((sight.node.name, sight.problem) for sight in seen.sights if sight.problem),
        )

    def _mend(self, finding: Finding, seen: Seen, *, who: str, why: str, dry: bool) -> Mended:
        if dry:
            return Mended(finding=finding, detail=f"would be mended: {finding.repair}")
        try:
            if finding.repair == Repair.SIGN:
                return self._sign(finding, seen, who=who, why=why)
            facts = {"node": finding.node, "found": finding.says, "why": why}
            decide = _decide(finding, who=who)
            done = self._clerk.act(finding.service_id, decide, who=who, what=WHAT, facts=facts, beside=nothing_beside)
        except OrchestratorError as exc:
            return Mended(finding=finding, detail=f"not mended: {exc.message}")
        return Mended(finding=finding, job_id=done.job_id, detail=done.waits or done.detail)

    def _sign(self, finding: Finding, seen: Seen, *, who: str, why: str) -> Mended:
        service = seen.known.services[finding.service_id]
        guests = (guest for sight in seen.sights if sight.node.name == finding.node for guest in sight.guests)
        guest = next(each for each in guests if each.name == finding.name)
        with self._works.db.write() as conn:
            facts = {"node": finding.node, "found": finding.says, "why": why}
            audit.append(conn, at=self._works.clock.now(), who=who, what=WHAT, service_id=service.id, facts=facts)
        self._records.put(finding.node, guest, self._records.make(finding.node, guest, service))
        return Mended(finding=finding, detail="signed anew")


def _urgency(finding: Finding) -> int:
    """What stops somebody comes first: a job of it leaves the rest to a later one."""
    order = (Repair.SUSPEND, Repair.LIMIT, Repair.UNLIMIT, Repair.MAIL, Repair.SIGN)
    return len(order) if finding.repair is None else order.index(finding.repair)


def _decide(finding: Finding, *, who: str) -> Decide:
    def decide(service: Service, _terms: Terms, _now: datetime) -> Received:
        assert finding.repair is not None
        return mended(service, finding.repair, who=who, why=f"drift on {finding.node}: {finding.says}")

    return decide
