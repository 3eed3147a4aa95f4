"""The desk of the deploy image, where one is configured."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orchestrator.config.model import Config
from orchestrator.drivers.local.desk_identity import desk_identity, fingerprint
from orchestrator.ports.clock import Clock
from orchestrator.store.database import Database
from orchestrator.store.deployments import StoreDeployments

if TYPE_CHECKING:
    from orchestrator.api.deploy import Desk


def store_deployments(config: Config, db: Database, clock: Clock) -> StoreDeployments | None:
    """The port Deployments of real machines; None where no desk is configured. Raises ConfigError where ``init`` has to run."""
    deploy = config.settings.deploy
    if deploy is None:
        return None
    certificate, _ = desk_identity(config.settings.state_dir)
    return StoreDeployments(db, clock, url=deploy.url, certificate_sha256=fingerprint(certificate), random=os.urandom)


def desk_of(config: Config, book: StoreDeployments | None, clock: Clock) -> Desk | None:
    """What the desk's application works with."""
    from orchestrator.api.deploy import Desk

    deploy = config.settings.deploy
    if deploy is None or book is None:
        return None
    return Desk(book=book, image=deploy.image, images=deploy.images, clock=clock)
