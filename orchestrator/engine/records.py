"""The signed record that each guest carries: made from the store, put beside its mark, and read again."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

from orchestrator.domain.errors import OrchestratorError, StepFailed
from orchestrator.domain.guest_records import GuestRecord, carried, needed, wrong_place
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.engine.acts import Works
from orchestrator.engine.settings import Catalog
from orchestrator.ports.hypervisor import GuestFacts, SignedRecord
from orchestrator.ports.secrets import Signature
from orchestrator.steps.arguments import dump, parse
from orchestrator.steps.common import ASK_SECONDS
from orchestrator.store import services as service_store

_log = logging.getLogger(__name__)
NOT_OURS = "the record in it was not signed by this controller, or was changed since"
UNREADABLE = "the record in it cannot be read by this version"


class Records:
    """Nothing is kept but where guest and store agree whose it is."""

    def __init__(self, works: Works, catalog: Catalog) -> None:
        self._works = works
        self._catalog = catalog

    def read(self, node: str, facts: GuestFacts) -> tuple[GuestRecord | None, str]:
        """What the guest carries, or why it is none that counts; neither where it carries none."""
        if facts.record is None:
            return None, ""
        key_id, _, value = facts.record.signature.partition(":")
        try:
            payload = facts.record.text.encode("ascii")
            if not self._works.ports.secrets.verify(payload, Signature(key_id=key_id, value=value)):
                return None, NOT_OURS
            record = parse(GuestRecord, json.loads(payload))
        except UnicodeEncodeError:
            return None, NOT_OURS
        except (ValueError, StepFailed):
            return None, UNREADABLE
        wrong = wrong_place(record, node=node, guest=facts.name, uuid=facts.uuid)
        return (None, wrong) if wrong else (record, "")

    def make(self, node: str, facts: GuestFacts, service: Service) -> SignedRecord:
        """Of the service as the store knows it now. Raises what the store raises."""
        ports = self._works.ports
        with self._works.db.read() as conn:
            values = service_store.facts(conn, service.id).values
        return self.sign(
            GuestRecord(
                node=node,
                guest=facts.name,
                uuid=facts.uuid,
                service=carried(service),
                policy=self._policy(service),
                lease=ports.addresses.lease(service.id),
                reservation=ports.ledger.reservation(service.id),
                facts=needed(values),
            )
        )

    def sign(self, record: GuestRecord) -> SignedRecord:
        text = json.dumps(dump(record), sort_keys=True, separators=(",", ":"))
        signature = self._works.ports.secrets.sign(text.encode("ascii"))
        return SignedRecord(text=text, signature=f"{signature.key_id}:{signature.value}")

    def keep(self, node: str, guests: Sequence[GuestFacts], services: dict[str, Service]) -> int:
        """Put a fresh one into each guest of these services whose own is older; how many. A hostile one is left to a person.

        ``services``: those that are on the node, and that no job works on.
        """
        kept = 0
        for facts in guests:
            service = services.get("" if facts.mark is None else facts.mark.service_id)
            if service is None or service.node != node or service.state != Lifecycle.ACTIVE:
                continue
            try:
                fresh = self.make(node, facts, service)
                _, hostile = self.read(node, facts)
                if fresh != facts.record and not hostile:
                    self.put(node, facts, fresh)
                    kept += 1
            except OrchestratorError as exc:
                _log.warning("the record of %s on %s is not kept: %s", facts.name, node, exc.message)
        return kept

    def put(self, node: str, facts: GuestFacts, record: SignedRecord) -> None:
        """Raises what the node raises."""
        self._works.ports.hypervisor(node).keep_record(facts.name, record, deadline=ASK_SECONDS)

    def _policy(self, service: Service) -> str:
        plan = self._catalog.plans.get(service.plan)
        return "" if plan is None else plan.policy
