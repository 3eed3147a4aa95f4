"""An account takes in what lives on its node already, as a user that somebody made by hand: what of it moves, what does not
fit, and the job that does it.

Pure. What is there its node has looked at; sites, databases and cron of it pass the checks of all that is set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from orchestrator.domain import account_checks, account_settings, accounts, charges
from orchestrator.domain.account_parts import AccountSettings, CronLine
from orchestrator.domain.account_settings import AccountChange, DatabaseAsked, SiteAsked
from orchestrator.domain.charges import Charge, Free
from orchestrator.domain.errors import RequestError
from orchestrator.domain.intents import Intent, IntentKind, Refusal
from orchestrator.domain.moving_in import CHARGE
from orchestrator.domain.plans import HostingPlan
from orchestrator.domain.received import Received, refused
from orchestrator.domain.services import Service
from orchestrator.domain.sizes import compared
from orchestrator.domain.terms import Terms

RULE = "what an account can take in"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFrom:
    """``root``: the directory on the node that is to be the site."""

    name: str
    root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFrom:
    """``name`` in the account; ``source``: the whole name that it has on the node."""

    name: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """What an operator names. ``stranger``: a user of the node that is none of ours. ``cron``: his crontab moves, too."""

    stranger: str
    sites: tuple[SiteFrom, ...] = ()
    databases: tuple[DatabaseFrom, ...] = ()
    cron: bool = True

    def dump(self) -> dict[str, Any]:
        """As the agent takes it."""
        return {
            "stranger": self.stranger,
            "sites": [asdict(each) for each in self.sites],
            "databases": [{"name": each.name, "from": each.source} for each in self.databases],
            "cron": self.cron,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSeen:
    """``domains``: for which it is served now, as far as an account may have them. ``php``: of its pool, '' = not known."""

    name: str
    root: str
    domains: tuple[str, ...]
    php: str = ""
    runs_php: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSeen:
    """``fits``: the site will have it. ``until`` as the node wrote it; ``says``: where it is, or why it does not fit."""

    site: str
    fits: bool
    until: str = ""
    says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """What the node saw of him. ``bytes`` and ``inodes`` as his files will take them, databases included; ``files``: of nginx,
    that are set aside; ``roots``: directories of his that nginx serves. Sentences: ``obstacles``, why it cannot be;
    ``not_taken``, what stays behind and matters; ``left``, what will be there afterwards, and how it is removed."""

    name: str
    uid: int
    home: str
    bytes: int
    inodes: int
    sites: tuple[SiteSeen, ...] = ()
    databases: tuple[tuple[str, str, int], ...] = ()
    cron: tuple[CronLine, ...] = ()
    files: tuple[str, ...] = ()
    certificates: tuple[CertificateSeen, ...] = ()
    roots: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()
    not_taken: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """``request_id``: of the request, from which a charge has its id."""

    adoption: Adoption
    seen: Stranger
    request_id: str
    pay: bool = False


def checked(adoption: Adoption) -> Adoption:
    """Raises RequestError for names that no account can have."""
    for site in adoption.sites:
        accounts.site_name(site.name)
    for each in adoption.databases:
        account_checks.database_name(each.name)
    for what, names in (
        ("sites", [site.name for site in adoption.sites]),
        ("databases", [each.name for each in adoption.databases]),
        ("databases", [each.source for each in adoption.databases]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise RequestError(f"{', '.join(twice)} is twice among its {what}")
    return adoption


def counts(wanted: Wanted, service: Service, terms: Terms) -> Charge | Free | Refusal:
    """As a tarball of that size would."""
    size = wanted.seen.bytes
    return charges.migration_terms(terms, request_id=wanted.request_id, service_id=service.id, size_bytes=size, pay=wanted.pay)


def misfits(wanted: Wanted, service: Service, terms: Terms) -> tuple[str, ...]:
    """Why it cannot be taken in, a sentence each: what its node found in the way, and what its plan does not have."""
    seen, plan = wanted.seen, terms.plan
    said = list(seen.obstacles)
    if not wanted.adoption.sites:
        there = ", ".join(seen.roots) or "nothing"
        said.append(f"no site is named; nginx serves of {seen.name}: {there} (--site NAME=DIRECTORY)")
    if not isinstance(plan, HostingPlan):
        return tuple(said)
    now = accounts.settings_of(service, plan)
    for site in seen.sites:
        domains = _domains(site, now)
        if not domains:
            said.append(f"nginx serves nothing out of {site.root}: the site {site.name} has no domain")
        if len(domains) > account_settings.DOMAINS:
            said.append(f"the site {site.name} would have {len(domains)} domains; a site has 1 to {account_settings.DOMAINS}")
    change = _change(wanted, now, plan)
    if seen.bytes > plan.disk_bytes:
        said.append("with it the account would have {}, its plan has {}".format(*compared(seen.bytes, plan.disk_bytes)))
    rows = (
        ("files and directories", seen.inodes, plan.inodes),
        ("sites", len(change.sites or ()), plan.sites),
        ("databases", len(change.databases or ()), plan.databases),
    )
    said += [
        f"with it the account would have {count:,} {what}, its plan has {most:,}" for what, count, most in rows if count > most
    ]
    return (*said, *account_settings.repeated(change))


def remarks(wanted: Wanted, terms: Terms) -> tuple[str, ...]:
    """What will be otherwise than it was, beside what the node tells."""
    plan = terms.plan
    said = list(wanted.seen.not_taken)
    if isinstance(plan, HostingPlan):
        strange = [site for site in wanted.seen.sites if site.php and site.php not in plan.php]
        said += [f"PHP {site.php} of the site {site.name}: it will have {', '.join(plan.php[:1]) or 'none'}" for site in strange]
    said += [f"the certificate of the site {each.site}: {each.says}" for each in wanted.seen.certificates if not each.fits]
    return tuple(said)


def decide(record: Service, wanted: Wanted, *, who: str, why: str, terms: Terms) -> Received:
    """By a job, where plan and policy have that. Raises RequestError where its settings are none that an account can have."""
    if isinstance(terms.plan, HostingPlan):
        said = misfits(wanted, record, terms)
        if said:
            return refused(record, f"{wanted.seen.name} cannot be adopted: {'; '.join(said)}", RULE)
    granted = counts(wanted, record, terms)
    if isinstance(granted, Refusal):
        return refused(record, granted.reason, granted.rule)
    arguments: dict[str, Any] = {
        account_settings.ADOPT: asdict(wanted.adoption),
        CHARGE: granted.id if isinstance(granted, Charge) else "",
    }
    if isinstance(terms.plan, HostingPlan):
        change = _change(wanted, accounts.settings_of(record, terms.plan), terms.plan)
        arguments[account_settings.ACCOUNT] = account_settings.dump(account_settings.read(account_settings.dump(change)))
    decided = account_settings.again(record, IntentKind.ADOPT, arguments, who=who, why=why, terms=terms)
    if not isinstance(decided.decision, Intent) or not isinstance(granted, Charge):
        return decided
    return replace(decided, charges=(granted,))


def _change(wanted: Wanted, now: AccountSettings, plan: HostingPlan) -> AccountChange:
    """What the account has, and what is taken in; twice is as good as once."""
    seen = wanted.seen
    taken = {site.name: SiteAsked(name=site.name, domains=_domains(site, now), php=_php(site, plan)) for site in seen.sites}
    kept = [SiteAsked(name=site.name, domains=site.domains) for site in now.sites if site.name not in taken]
    names = dict.fromkeys((*(each.name for each in now.databases), *(each.name for each in wanted.adoption.databases)))
    return AccountChange(
        sites=(*kept, *taken.values()),
        databases=tuple(DatabaseAsked(name=name) for name in names),
        cron=tuple(dict.fromkeys((*now.cron, *seen.cron))) if wanted.adoption.cron else None,
    )


def _domains(site: SiteSeen, now: AccountSettings) -> tuple[str, ...]:
    before = now.site(site.name)
    return tuple(dict.fromkeys((*(before.domains if before else ()), *site.domains)))


def _php(site: SiteSeen, plan: HostingPlan) -> str | None:
    """None: as it is, or the first that its plan has."""
    if not site.runs_php:
        return ""
    return site.php if site.php in plan.php else None


def names(databases: Sequence[DatabaseFrom]) -> tuple[str, ...]:
    """As the account has them."""
    return tuple(each.name for each in databases)


def told(seen: Stranger) -> dict[str, Any]:
    """Plain JSON, for whoever asked."""
    plain = asdict(seen)
    plain["databases"] = [{"name": name, "from": source, "bytes": size} for name, source, size in seen.databases]
    return plain
