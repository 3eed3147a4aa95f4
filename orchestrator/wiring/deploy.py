"""The desk of the deploy image, where one is configured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.config.model import Config
from orchestrator.domain.errors import WrongState
from orchestrator.domain.machines import Machine
from orchestrator.drivers.local.desk_identity import desk_identity, fingerprint
from orchestrator.ports.clock import Clock
from orchestrator.ports.deployment import Deployment, Deployments, Expected, Network, Task
from orchestrator.store.database import Database
from orchestrator.store.deployments import StoreDeployments
from orchestrator.wiring.links import FAKE

if TYPE_CHECKING:
    from orchestrator.api.deploy import Desk


def store_deployments(config: Config, db: Database, clock: Clock) -> StoreDeployments | None:
    """The port Deployments of real machines; None where no desk is configured. Raises ConfigError where ``init`` has to run."""
    deploy = config.settings.deploy
    if deploy is None:
        return None
    certificate, _ = desk_identity(config.settings.state_dir)
    return StoreDeployments(db, clock, url=deploy.url, certificate_sha256=fingerprint(certificate), random=os.urandom)


class DeploymentsByMachine:
    """The port ``Deployments`` for all machines: simulated ones have their own, the others need a desk."""

    def __init__(self, machines: Sequence[Machine], *, real: Deployments | None, simulated: Deployments | None) -> None:
        self._fake = {machine.name for machine in machines if machine.driver == FAKE}
        self._real, self._simulated = real, simulated

    def open(self, machine: str, *, job_id: str, expected: Expected, network: Network) -> str:
        return self._of(machine).open(machine, job_id=job_id, expected=expected, network=network)

    def deployment(self, machine: str, *, job_id: str) -> Deployment | None:
        return self._of(machine).deployment(machine, job_id=job_id)

    def give(self, machine: str, task: Task, *, job_id: str) -> None:
        self._of(machine).give(machine, task, job_id=job_id)

    def close(self, machine: str, *, job_id: str) -> None:
        self._of(machine).close(machine, job_id=job_id)

    def _of(self, machine: str) -> Deployments:
        found = self._simulated if machine in self._fake else self._real
        if found is None:
            raise WrongState(
                f"machine {machine} cannot be installed: no desk of the deploy image is configured",
                hint="say `deploy:` in orchestrator.yaml (docs/machines.md), run `orchestrator init`, restart the controller",
            )
        return found


def desk_of(config: Config, book: StoreDeployments | None, clock: Clock) -> Desk | None:
    """What the desk's application works with."""
    from orchestrator.api.deploy import Desk

    deploy = config.settings.deploy
    if deploy is None or book is None:
        return None
    return Desk(book=book, image=deploy.image, images=deploy.images, clock=clock)
