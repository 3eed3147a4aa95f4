"""What a person does about repositories of backups that are not there any more."""

from __future__ import annotations

from orchestrator.domain.backups.giving_up import WORKS_ON_BACKUPS, refuses
from orchestrator.domain.backups.words import Generation, GenerationState
from orchestrator.domain.errors import Frozen, NotFound, Refused, WrongState
from orchestrator.domain.intents import JobState
from orchestrator.engine.acts import Works
from orchestrator.engine.settings import Beside
from orchestrator.store import audit, backups, services, settings
from orchestrator.store import jobs as job_store
from orchestrator.store.database import Connection


class GivingUp:
    """One transaction, with one row of audit and what the caller wants ``beside`` it."""

    def __init__(self, works: Works) -> None:
        self._works = works

    def give_up(self, service_id: str, number: int, *, who: str, why: str, last: bool, beside: Beside[Generation]) -> Generation:
        """Destroy the key of the generation: what may be left of its repository opens to nobody, and is not looked for.

        Raises NotFound; Refused where it is not to be had; WrongState while a job works on the backups; Frozen.
        """
        now = self._works.clock.now()
        with self._works.db.write() as conn:
            self._require(conn, service_id, number, last=last)
            state = GenerationState.GIVEN_UP
            given_up = backups.mark_destroyed(conn, service_id, number, why=f"given up by {who}: {why}", now=now, state=state)
            facts = {"generation": number, "target": given_up.target, "why": why, "last": last}
            audit.append(conn, at=now, who=who, what="backups given up", service_id=service_id, facts=facts)
            beside(conn, given_up)
        return given_up

    def _require(self, conn: Connection, service_id: str, number: int, *, last: bool) -> None:
        freeze = settings.freeze(conn)
        if freeze is not None:
            raise Frozen(f"nothing is given up: frozen by {freeze.by} ({freeze.why})", hint="orchestrator freeze off")
        service = services.get(conn, service_id)
        if service is None:
            raise NotFound(f"there is no service {service_id}", service_id=service_id)
        generation = backups.generation(conn, service_id, number)
        for job in job_store.unfinished(conn, service_id):
            # One that stands still may do so because of this very repository.
            if job.intent in WORKS_ON_BACKUPS and job.state != JobState.NEEDS_OPERATOR:
                raise WrongState(f"job {job.id} works on the backups of {service_id}: {job.intent}", hint="wait until it is over")
        others = tuple(each for each in backups.generations(conn, service_id) if each.number != number)
        refusal = refuses(service, generation, others=others, backups=backups.of_service(conn, service_id), last=last)
        if refusal is not None:
            raise Refused(f"{refusal.reason} [{refusal.rule}]", rule=refusal.rule)
