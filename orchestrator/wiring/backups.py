"""What the configuration says of backups, for the engine, the store and the drivers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from orchestrator.config.model import Config
from orchestrator.domain.backups.copies import KnownCopy, copies_of_state
from orchestrator.domain.backups.offer import NodeBackups
from orchestrator.domain.backups.targets import Way
from orchestrator.domain.terms import Windows
from orchestrator.drivers.local.files import read_secret, read_trusted
from orchestrator.ports.clock import Clock
from orchestrator.ports.repositories import RunLimits
from orchestrator.ports.secrets import Secrets
from orchestrator.store.backup_book import Places, StoreBackupBook
from orchestrator.store.database import Database
from orchestrator.store.state_copies import state_copies

_KIB = 1024
_WHAT = "backups"


def node_backups(config: Config) -> dict[str, NodeBackups]:
    """By node, where its services' copies go and when; nodes without a target are left out."""
    hours = config.settings.backups.hours
    return {
        node.name: NodeBackups(
            target=node.backups,
            at_once=node.backups_at_once,
            hours=hours,
            shut=f"its node {node.name} is in maintenance" if node.maintenance else "",
        )
        for node in config.nodes
        if node.backups
    }


def windows_of(config: Config, *, tells: bool) -> dict[str, Windows]:
    """By node, when its guests may be restarted."""
    rule = config.settings.maintenance
    return {node.name: Windows(spans=node.windows, notice=rule.notice, takes=rule.takes, tells=tells) for node in config.nodes}


def run_limits(config: Config) -> RunLimits:
    """What each run of restic may take."""
    given = config.settings.backups
    return RunLimits(
        upload_kib=given.upload // _KIB,
        download_kib=given.download // _KIB,
        niceness=given.niceness,
        io_priority=given.io_priority,
    )


def agent_root(config: Config) -> Path:
    """Where the agent on the controller's own machine has its files."""
    return config.settings.state_dir / "agent"


def places(config: Config) -> Places:
    return Places(
        targets=config.settings.backups.targets,
        nodes={node.name: node for node in config.nodes},
        secret=lambda path: read_secret(path, what=_WHAT).decode("utf-8", "replace"),
        trusted=lambda path: read_trusted(path, what=_WHAT).decode("utf-8", "replace"),
    )


def backup_book(config: Config, db: Database, secrets: Secrets, clock: Clock) -> StoreBackupBook:
    """Raises ConfigError where a file with a secret of some target is missing, or open to others."""
    known = places(config)
    for way in ways(config):
        known.access(way, way.location, "")

    def of_state(since: datetime) -> tuple[KnownCopy, ...]:
        given = config.settings.backups
        with db.read() as conn:
            return copies_of_state(state_copies(conn, given.targets, given.state, now=clock.now()), since)

    return StoreBackupBook(db, secrets=secrets, places=known, clock=clock, random=os.urandom, of_state=of_state)


def ways(config: Config) -> Iterator[Way]:
    """Every way to every target."""
    for target in config.settings.backups.targets.values():
        yield target.way
        if target.keeper is not None:
            yield target.keeper
