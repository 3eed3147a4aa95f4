"""The section ``backups`` of orchestrator.yaml as the program sees it, and as the file would say it again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.config.backup_values import clock_words, span_words
from orchestrator.config.files import BackupsSection, StateSection, TargetEntry
from orchestrator.config.model import BackupSettings
from orchestrator.config.units import duration_words, rate_words
from orchestrator.domain.backups.offer import ALL_DAY, Hours
from orchestrator.domain.backups.state import StateBackups
from orchestrator.domain.backups.targets import Kind, Target, Way, place_of

Absolute = Callable[[str], Path]


def backup_settings(section: BackupsSection, absolute: Absolute) -> BackupSettings:
    return BackupSettings(
        targets={entry.name: _target(entry, absolute) for entry in section.targets},
        hours=_hours(section),
        upload=section.upload,
        download=section.download,
        niceness=section.niceness,
        io_priority=section.io_priority,
        keep_restored=section.keep_restored,
        drills=section.drills,
        state=None if section.state is None else _state(section.state, absolute),
    )


def _state(section: StateSection, absolute: Absolute) -> StateBackups:
    return StateBackups(
        target=section.target,
        key_file=absolute(section.key_file),
        every=section.every,
        keep=section.keep,
        on_own_machine=section.on_own_machine,
    )


def _hours(section: BackupsSection) -> Hours:
    try:
        return Hours(opens=section.opens, closes=section.closes, slot=section.slot, closed=tuple(section.closed))
    except ValueError:  # told by ``backup_checks``, so that the configuration is not used
        return ALL_DAY


def _target(entry: TargetEntry, absolute: Absolute) -> Target:
    keeper = None
    if entry.keeper:
        keeper = _way(entry.keeper, entry.keeper_user, entry.keeper_secret_file, entry.keeper_ssh_key_file, entry, absolute)
    way = _way(entry.location, entry.user, entry.secret_file, entry.ssh_key_file, entry, absolute)
    return Target(name=entry.name, way=way, keeper=keeper, on_node=entry.on_node)


def _way(location: str, user: str, secret: str | None, ssh_key: str | None, entry: TargetEntry, absolute: Absolute) -> Way:
    def named(name: str | None) -> Path | None:
        return absolute(name) if name else None

    known_hosts = entry.ssh_known_hosts_file if place_of(location).kind is Kind.SFTP else None
    return Way(
        location=location,
        user=user,
        secret_file=named(secret),
        ssh_key_file=named(ssh_key),
        ssh_known_hosts_file=named(known_hosts),
    )


def backups_shown(settings: BackupSettings) -> dict[str, Any]:
    """In JSON types; read again it is the same."""
    hours = settings.hours
    return {
        "targets": [_target_shown(target) for target in settings.targets.values()],
        "opens": clock_words(hours.opens),
        "closes": clock_words(hours.closes),
        "slot": duration_words(hours.slot),
        "closed": [span_words(span) for span in hours.closed],
        "upload": rate_words(settings.upload),
        "download": rate_words(settings.download),
        "niceness": settings.niceness,
        "io_priority": settings.io_priority,
        "keep_restored": duration_words(settings.keep_restored),
        "drills": settings.drills,
        "state": None if settings.state is None else _state_shown(settings.state),
    }


def _state_shown(state: StateBackups) -> dict[str, Any]:
    return {
        "target": state.target,
        "key_file": str(state.key_file),
        "every": duration_words(state.every),
        "keep": state.keep,
        "on_own_machine": state.on_own_machine,
    }


def _target_shown(target: Target) -> dict[str, Any]:
    way, keeper = target.way, target.keeper
    known_hosts = way.ssh_known_hosts_file or (None if keeper is None else keeper.ssh_known_hosts_file)
    return {
        "name": target.name,
        "location": way.location,
        "keeper": "" if keeper is None else keeper.location,
        "on_node": target.on_node,
        "user": way.user,
        "secret_file": _text(way.secret_file),
        "ssh_key_file": _text(way.ssh_key_file),
        "ssh_known_hosts_file": _text(known_hosts),
        "keeper_user": "" if keeper is None else keeper.user,
        "keeper_secret_file": None if keeper is None else _text(keeper.secret_file),
        "keeper_ssh_key_file": None if keeper is None else _text(keeper.ssh_key_file),
    }


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
