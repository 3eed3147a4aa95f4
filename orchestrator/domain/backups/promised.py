"""What a job is told of what holds for the backups of its service, once, when it begins; and how much of a source it reads."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from orchestrator.domain.backups.asking import SLOT
from orchestrator.domain.backups.caps import caps
from orchestrator.domain.backups.overwrite import keeps
from orchestrator.domain.terms import Terms

# Every pack of a repository is read within so many backups that came to their end: of weekly ones within a quarter of a year.
SHARES = 13
# A disk of which only what changed is read is read whole in the first backup of each such span. A backup comes a week after the
# one before it, or sooner, so that eight weeks do not pass without.
_SPAN = timedelta(weeks=7)
_WEEK = timedelta(weeks=1)
_EPOCH = datetime(1970, 1, 5, tzinfo=UTC)


def for_backup(terms: Terms) -> dict[str, object]:
    """What ``$job`` has of it, beside the job's arguments. ``slot`` '' = it was asked for."""
    return {
        SLOT: "",
        "keep": keeps(terms),
        "caps": [asdict(cap) for cap in caps(terms)],
        "shares": SHARES,
    }


def whole_again(service_id: str, last: datetime, now: datetime) -> bool:
    """Whether a disk is to be read whole, though it is known what changed since ``last``: a note may be wrong and nobody knows.

    Each service has spans of its own, so that not all are read whole in the same week.
    """
    offset = int.from_bytes(sha256(service_id.encode()).digest()[:4], "big") % (_SPAN // _WEEK)
    begin = _EPOCH + offset * _WEEK
    return (last - begin) // _SPAN != (now - begin) // _SPAN
