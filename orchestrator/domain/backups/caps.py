"""The cap gate: a source that is larger than was promised is not backed up, and the last good backup stays.

POLICIES says "either cap reached refuses the backup", the providers' own text "at most 10 Gigabyte of data or 250,000 inodes".
What is promised is "at most": a source with exactly 250,000 inodes, or 10^10 bytes, is within it and is backed up; one inode or
one byte more refuses it. "Reached" is read as "gone over", and "either" as: one of the two is enough. (At exactly the cap the
customer has what was promised; and it is the pair 250,000 and 250,001 that the boundary is tested with.)

A policy's caps are for accounts, which have those of ``ACCOUNT_BYTES`` and ``ACCOUNT_INODES`` where neither their plan nor their
policy says any. A guest has one only where its plan sets it, in allocated bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.domain.backups.words import Measured
from orchestrator.domain.intents import Refusal
from orchestrator.domain.sizes import compared, size_words
from orchestrator.domain.terms import Terms

# What is backed up as a directory of files; the others are disks.
ACCOUNTS = frozenset({"hosting", "reseller"})
# What holds for an account by default.
ACCOUNT_BYTES, ACCOUNT_INODES = 10 * 10**9, 250_000
RULE_DEFAULT = "what holds for accounts by default"
# So many directories are named in a refusal.
NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """At most so much of one thing ("bytes", "inodes"), by this rule."""

    what: str
    most: int
    rule: str

    def over(self, measured: Measured) -> int:
        """How much is there where that is more than may be; else 0."""
        there = measured.size_bytes if self.what == "bytes" else measured.inodes
        return there if there > self.most else 0

    def words(self, there: int) -> str:
        """What is there, and the most that may be."""
        if self.what == "bytes":
            return "{} (at most {})".format(*compared(there, self.most))
        return f"{there:,} {self.what} (at most {self.most:,})"


def caps(terms: Terms) -> tuple[Cap, ...]:
    """What holds for the service. The plan's go before the policy's, and those before what holds for accounts by default."""
    rule, offer = terms.policy.backup.caps, terms.backups
    account = terms.kind in ACCOUNTS
    found = []
    by = RULE_DEFAULT if rule is None else terms.cite(rule)
    for what, plans, others in (
        ("bytes", offer.cap_bytes, ACCOUNT_BYTES if rule is None else rule.size_bytes),
        ("inodes", offer.cap_inodes if account else None, ACCOUNT_INODES if rule is None else rule.inodes),
    ):
        if plans is not None:
            found.append(Cap(what=what, most=plans, rule=f"plan {offer.plan}"))
        elif account:
            found.append(Cap(what=what, most=others, rule=by))
    return tuple(found)


def refuses(measured: Measured, holding: Iterable[Cap]) -> Refusal | None:
    """Why the source is not backed up, with the numbers, the largest directories and the rule; None where it is.

    ``holding``: what ``caps`` says of the service. To be asked before a run, and again after it: a source may grow while it is
    read.
    """
    over = [(cap, cap.over(measured)) for cap in holding if cap.over(measured)]
    if not over:
        return None
    numbers = " and ".join(cap.words(there) for cap, there in over)
    rules = sorted({cap.rule for cap, _ in over})
    reason = f"backup refused: it has {numbers}; the last backup stays{_largest(measured)}"
    return Refusal(reason=reason, rule="; ".join(rules))


def _largest(measured: Measured) -> str:
    named = [f"{path} ({size_words(size)}, {inodes:,} inodes)" for path, size, inodes in measured.largest[:NAMED]]
    return f"; largest: {', '.join(named)}" if named else ""
