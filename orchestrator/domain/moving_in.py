"""An account moves in from a tarball: what of it is set, what it counts as, and the job that does it.

Pure. What is in the tarball its node has looked at; nobody believes it: sites, databases and cron pass the checks of all that is
set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.domain import account_settings, accounts, charges
from orchestrator.domain.account_settings import AccountChange, DatabaseAsked
from orchestrator.domain.charges import Charge, Free
from orchestrator.domain.intents import Intent, IntentKind, Refusal
from orchestrator.domain.plans import HostingPlan
from orchestrator.domain.received import Received, refused
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms

IMPORTS = "/var/lib/orchestrator-agent/imports"
"""Where operators put tarballs on a node. Nobody else does, and nobody but they takes one away."""

CHARGE = "charge"
"""The argument of the job: the id of what it costs, '' = nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tarball:
    """What its node saw in it: ``bytes`` and ``inodes`` as files take them on a disk, the names of its dumps, its settings."""

    file: str
    sha256: str
    bytes: int
    inodes: int
    databases: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """``request_id``: of the request, from which a charge has its id."""

    tarball: Tarball
    request_id: str
    pay: bool = False


def counts(wanted: Wanted, service: Service, terms: Terms) -> Charge | Free | Refusal:
    """How it counts against what its policy gives for nothing."""
    size = wanted.tarball.bytes
    return charges.migration_terms(terms, request_id=wanted.request_id, service_id=service.id, size_bytes=size, pay=wanted.pay)


def decide(record: Service, wanted: Wanted, *, who: str, why: str, terms: Terms) -> Received:
    """By a job, where plan and policy have that. Raises RequestError where its settings are none that an account can have."""
    granted = counts(wanted, record, terms)
    if isinstance(granted, Refusal):
        return refused(record, granted.reason, granted.rule)
    change = _change(record, wanted.tarball, terms)
    tarball = wanted.tarball
    about = {
        "file": tarball.file,
        "sha256": tarball.sha256,
        "bytes": tarball.bytes,
        "inodes": tarball.inodes,
        "databases": list(tarball.databases),
    }
    arguments = {
        account_settings.ACCOUNT: account_settings.dump(change),
        account_settings.IMPORT: about,
        CHARGE: granted.id if isinstance(granted, Charge) else "",
    }
    decided = account_settings.again(record, IntentKind.IMPORT, arguments, who=who, why=why, terms=terms)
    if not isinstance(decided.decision, Intent) or not isinstance(granted, Charge):
        return decided
    return replace(decided, charges=(granted,))


def _change(record: Service, tarball: Tarball, terms: Terms) -> AccountChange:
    """What the tarball says, and a database for each dump; none that is there is left out."""
    said = account_settings.read(tarball.settings)
    if not isinstance(terms.plan, HostingPlan):
        return said
    there = accounts.settings_of(record, terms.plan)
    asked = {each.name: each for each in said.databases or ()}
    for name in (*(each.name for each in there.databases), *tarball.databases):
        asked.setdefault(name, DatabaseAsked(name=name))
    return replace(said, databases=tuple(asked.values()))
