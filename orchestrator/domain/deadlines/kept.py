"""What falls due of what is kept beside a service's disk or home: each is wiped at the end of its time."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.domain.deadlines.words import Action, Deadline
from orchestrator.domain.kept_volumes import KeptKind
from orchestrator.domain.services import Lifecycle, Service

CLAUSE = "backups.keep_restored of orchestrator.yaml"
_WORDS = {
    KeptKind.SAFETY_COPY: "the disk that a restore replaced was kept until then",
    KeptKind.BESIDE: "what was restored aside was kept until then",
}


def of_kept(service: Service) -> Iterator[Deadline]:
    """Of a service that ends they go with it."""
    if service.state != Lifecycle.ACTIVE:
        return
    for volume in service.kept:
        yield Deadline(
            action=Action.TIDY,
            at=volume.until,
            reason=f"{_WORDS[volume.kind]}: {volume.name}",
            clause=CLAUSE,
            occurrence=volume.name,
            waits="" if service.erasable else "a hold forbids erasing",
        )
