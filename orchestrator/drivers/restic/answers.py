"""The agent's answers as the port's values. What is not as it should be is a PermanentDriverError."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import wraps
from typing import Any, TypeVar

from orchestrator.domain.errors import PermanentDriverError
from orchestrator.ports.repositories import (
    BackupFacts,
    DirectoryFacts,
    FailedItem,
    LockFacts,
    RestoreFacts,
    SnapshotFacts,
    VerifyFacts,
)

T = TypeVar("T")
Answer = Mapping[str, Any]

# Go writes up to nine digits of a second; datetime knows six.
_FRACTION = re.compile(r"\.(\d{6})\d+")


def checked(read: Callable[[Answer], T]) -> Callable[[Answer], T]:
    """``read`` raises PermanentDriverError where a field is missing or of another type."""

    @wraps(read)
    def reading(answer: Answer) -> T:
        try:
            return read(answer)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise PermanentDriverError(f"the agent's answer cannot be used: {type(exc).__name__} {exc}") from exc

    return reading


def moment(text: str) -> datetime:
    """RFC 3339 as restic writes it, in UTC. Raises ValueError."""
    found = datetime.fromisoformat(_FRACTION.sub(r".\1", text))
    if found.tzinfo is None:
        raise ValueError(f"{text} names no zone")
    return found.astimezone(UTC)


def text(answer: Answer, name: str) -> str:
    return checked(lambda found: str(found[name]))(answer)


def texts(answer: Answer, name: str) -> tuple[str, ...]:
    return checked(lambda found: tuple(str(each) for each in found[name]))(answer)


@checked
def snapshots(answer: Answer) -> tuple[SnapshotFacts, ...]:
    return tuple(_snapshot(row) for row in answer["snapshots"])


def _snapshot(row: Answer) -> SnapshotFacts:
    tags = dict(str(tag).split("=", 1) for tag in row["tags"] if "=" in str(tag))
    return SnapshotFacts(
        id=str(row["id"]),
        taken_at=moment(row["time"]),
        service_id=tags.get("service", ""),
        job_id=tags.get("job", ""),
        files=int(row["files"]),
        bytes=int(row["bytes"]),
    )


@checked
def backup(answer: Answer) -> BackupFacts:
    return BackupFacts(
        snapshot=str(answer["snapshot"]),
        whole=answer["whole"] is True,
        files=int(answer["files"]),
        bytes=int(answer["bytes"]),
        files_changed=int(answer["files_new"]) + int(answer["files_changed"]),
        bytes_stored=int(answer["bytes_stored"]),
        bytes_read=int(answer.get("bytes_read", answer["bytes_added"])),
        started_at=moment(answer["started_at"]),
        ended_at=moment(answer["ended_at"]),
        failed=_failed(answer),
        failed_count=int(answer["failed_count"]),
    )


@checked
def directory_backup(answer: Answer) -> BackupFacts:
    measured = DirectoryFacts.from_report(answer["measured"])
    if not answer["snapshot"]:
        now = datetime.now(UTC)
        nothing = BackupFacts(
            snapshot="", whole=False, files=0, bytes=0, files_changed=0, bytes_stored=0, started_at=now, ended_at=now
        )
        return replace(nothing, over=answer["over"] is True, measured=measured)
    return replace(backup(answer), over=answer["over"] is True, measured=measured)


@checked
def disk_backup(answer: Answer) -> BackupFacts:
    """A segment that the snapshot does not hold as the disk does counts as one that could not be read."""
    facts = backup(answer)
    differing = tuple(FailedItem(item=str(path), message="the snapshot differs from the disk") for path in answer["differing"])
    if not differing:
        return facts
    return replace(facts, whole=False, failed=(*facts.failed, *differing), failed_count=facts.failed_count + len(differing))


@checked
def disk_restored(answer: Answer) -> RestoreFacts:
    """Whole, or the agent would have said so."""
    return RestoreFacts(
        whole=True, files=int(answer["written"]), bytes=int(answer["bytes"]), signature=str(answer.get("signature", ""))
    )


@checked
def verified(answer: Answer) -> VerifyFacts:
    return VerifyFacts(
        sound=answer["sound"] is True,
        errors=int(answer["errors"]),
        broken_packs=tuple(str(pack) for pack in answer["broken_packs"]),
        messages=tuple(str(message) for message in answer["messages"]),
        compared=int(answer["compared"]),
        changed=int(answer["changed"]),
        differing=tuple(str(path) for path in answer["differing"]),
        stored_bytes=int(answer["stored_bytes"]),
    )


@checked
def restored(answer: Answer) -> RestoreFacts:
    return RestoreFacts(
        whole=answer["whole"] is True,
        files=int(answer["files"]),
        bytes=int(answer["bytes"]),
        files_skipped=int(answer["files_skipped"]),
        files_deleted=int(answer["files_deleted"]),
        failed=_failed(answer),
        failed_count=int(answer["failed_count"]),
    )


@checked
def locks(answer: Answer) -> tuple[LockFacts, ...]:
    return tuple(
        LockFacts(
            id=str(row["id"]),
            host=str(row["host"]),
            pid=int(row["pid"]),
            since=moment(row["since"]),
            exclusive=row["exclusive"] is True,
            ours=row["ours"] is True,
            removed=row["removed"] is True,
        )
        for row in answer["locks"]
    )


def _failed(answer: Answer) -> tuple[FailedItem, ...]:
    return tuple(FailedItem(item=str(each["item"]), message=str(each["message"])) for each in answer["failed"])
