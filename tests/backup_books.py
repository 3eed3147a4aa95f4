"""A book of backups over a store, with a target that is a directory, for tests."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from orchestrator.domain.backups.targets import Target, Way
from orchestrator.domain.plans import Node
from orchestrator.ports.clock import Clock
from orchestrator.ports.secrets import Secrets
from orchestrator.store.backup_book import Places, StoreBackupBook
from orchestrator.store.database import Database

TARGET = Target(name="main", way=Way(location="/srv/backup"))


def book_of(db: Database, secrets: Secrets, nodes: Sequence[Node], clock: Clock, *, target: Target = TARGET) -> StoreBackupBook:
    """Every node has the target."""
    given = {node.name: replace(node, backups=target.name, backups_on_own_node=True) for node in nodes}
    places = Places(
        targets={target.name: target}, nodes=given, secret=lambda path: path.read_text(), trusted=lambda path: path.read_text()
    )
    return StoreBackupBook(db, secrets=secrets, places=places, clock=clock, random=os.urandom)
