"""Sites, databases, lines of cron and certificates of an account: what is asked for, whether its plan has it, the record then.

Pure. What is asked for is kept with the job and counts on the record as it is when that runs, so that of two in a row neither
undoes the other. The record changes when the job has ended well: it says what the node was seen to have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from orchestrator.domain import account_checks as checks
from orchestrator.domain import accounts
from orchestrator.domain.account_parts import AccountSettings, CronLine, Database, Site, SiteCertificate
from orchestrator.domain.errors import OrchestratorError, Refused, RequestError
from orchestrator.domain.intents import RULE_HOLDS, RULE_LIFECYCLE, RULE_VOCABULARY, Intent, IntentKind, Refusal
from orchestrator.domain.plans import HostingPlan, Plan, PlanKind
from orchestrator.domain.received import Received, refused
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.sizes import compared, size_words
from orchestrator.domain.terms import Terms

# The arguments of the job.
ACCOUNT, CERTIFICATE, FULL, IMPORT, ADOPT = "account", "certificate", "full", "import", "adopt"
# The jobs that set an account.
SETTING = frozenset({IntentKind.SET_ACCOUNT, IntentKind.IMPORT, IntentKind.ADOPT})
# Those by which something moves in.
MOVES_IN = frozenset({IntentKind.IMPORT, IntentKind.ADOPT})
# Of each site the node takes so many domains.
DOMAINS = 100
_TOO_MUCH = "it is too much for one account"
_LESS = "fewer domains or shorter lines"
_RULE_SIZE = "what a node is told of one account"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteAsked:
    """``php`` None = as it is; of a new site the first version of its plan."""

    name: str
    domains: tuple[str, ...]
    php: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAsked:
    """``password_hash`` None = as it is."""

    name: str
    password_hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChange:
    """Each part whole; None = it stays as it is."""

    sites: tuple[SiteAsked, ...] | None = None
    databases: tuple[DatabaseAsked, ...] | None = None
    cron: tuple[CronLine, ...] | None = None


def dump(change: AccountChange) -> dict[str, Any]:
    """Plain JSON; ``read`` gives back an equal one."""
    plain = asdict(change)
    sites, databases, cron = ([*plain[part]] if plain[part] is not None else None for part in ("sites", "databases", "cron"))
    for site in sites or ():
        site["domains"] = list(site["domains"])
    return {"sites": sites, "databases": databases, "cron": cron}


def read(data: Mapping[str, Any]) -> AccountChange:
    """Checked. Raises RequestError for what no account can have, whatever its plan, or has another form."""
    try:
        return _read(data)
    except (KeyError, TypeError, AttributeError) as exc:
        said = f"it has no {exc}" if isinstance(exc, KeyError) else "a member is of another kind"
        raise RequestError(f"these are no settings of an account: {said}", hint="lists of sites, databases and cron") from None


def _read(data: Mapping[str, Any]) -> AccountChange:
    sites, databases, cron = data.get("sites"), data.get("databases"), data.get("cron")
    change = AccountChange(
        sites=None if sites is None else tuple(_site_asked(each) for each in sites),
        databases=None if databases is None else tuple(_database_asked(each) for each in databases),
        cron=None if cron is None else tuple(_line(each) for each in cron),
    )
    _once("sites", (each.name for each in change.sites or ()))
    _once("domains", (name for each in change.sites or () for name in each.domains))
    _once("databases", (each.name for each in change.databases or ()))
    if checks.wire_bytes(dump(change)) > checks.MOST_BYTES:
        raise RequestError(f"{_TOO_MUCH}: more than {size_words(checks.MOST_BYTES)}", hint=_LESS)
    return change


def _site_asked(data: Mapping[str, Any]) -> SiteAsked:
    name = accounts.site_name(str(data["name"]))
    domains = tuple(accounts.domain_name(str(each)) for each in data["domains"])
    if not domains or len(domains) > DOMAINS:
        raise RequestError(f"the site {name} has {len(domains)} domains", hint=f"a site has 1 to {DOMAINS}")
    php = data.get("php")
    return SiteAsked(name=name, domains=domains, php=None if php is None else checks.php_version(str(php)))


def _database_asked(data: Mapping[str, Any]) -> DatabaseAsked:
    given = data.get("password_hash")
    return DatabaseAsked(
        name=checks.database_name(str(data["name"])),
        password_hash=None if given is None else checks.database_hash(str(given)),
    )


def _line(data: Mapping[str, Any]) -> CronLine:
    return CronLine(schedule=checks.schedule(str(data["schedule"])), command=checks.command(str(data["command"])))


def repeated(change: AccountChange) -> tuple[str, ...]:
    """Domains that two of its sites would have, a sentence each."""
    of: dict[str, str] = {}
    said = []
    for site in change.sites or ():
        said += [f"{name} would be the domain of {of[name]} and of {site.name}" for name in site.domains if name in of]
        of |= dict.fromkeys(site.domains, site.name)
    return tuple(said)


def _once(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise RequestError(f"{name} is twice among its {what}")
        seen.add(name)


# -- what it comes to ----------------------------------------------------------------------------------------------------


def changed(now: AccountSettings, change: AccountChange, plan: HostingPlan) -> AccountSettings:
    """The settings with the change. Raises Refused where the plan has not so many, or a database would be left out."""
    sites = now.sites if change.sites is None else tuple(_site(each, now, plan) for each in change.sites)
    databases = now.databases if change.databases is None else tuple(_database(each, now) for each in change.databases)
    lost = sorted({each.name for each in now.databases} - {each.name for each in databases})
    if lost:
        raise Refused(
            f"the database {', '.join(lost)} is left out: nothing but the end of its account drops one",
            rule="a database is dropped with its account",
            hint="name it as well; its customer may empty it",
        )
    kept = tuple(each for each in now.certificates if each.site in {site.name for site in sites})
    cron = now.cron if change.cron is None else change.cron
    after = AccountSettings(sites=sites, databases=databases, cron=cron, certificates=kept)
    over = too_much(after, plan)
    if over:
        raise Refused(over, rule=_rule(plan))
    size = checks.parts_bytes(sites, databases, cron)
    if size > checks.MOST_BYTES:  # parts that came one after the other
        has, most = compared(size, checks.MOST_BYTES)
        words = f"{_TOO_MUCH}: with what is set already it has {has}, of {most}"
        raise Refused(words, rule=_RULE_SIZE, hint=_LESS)
    return after


def _site(asked: SiteAsked, now: AccountSettings, plan: HostingPlan) -> Site:
    before = now.site(asked.name)
    usual = (plan.php[0] if plan.php else "") if before is None else before.php
    return Site(name=asked.name, domains=asked.domains, php=usual if asked.php is None else asked.php)


def _database(asked: DatabaseAsked, now: AccountSettings) -> Database:
    before = now.database(asked.name) or Database(name=asked.name)
    return before if asked.password_hash is None else replace(before, password_hash=asked.password_hash)


def too_much(settings: AccountSettings, plan: HostingPlan) -> str:
    """What of it the plan does not have, in a sentence; '' = it has all."""
    said = []
    for word, count, most in (
        ("sites", len(settings.sites), plan.sites),
        ("databases", len(settings.databases), plan.databases),
    ):
        if count > most:
            said.append(f"{count} {word} are asked for, it has {most}")
    strange = sorted({site.php for site in settings.sites if site.php} - set(plan.php))
    if strange:
        said.append(f"it is sold with PHP {', '.join(plan.php) or 'of no version'}, and not with {', '.join(strange)}")
    return f"plan {plan.name} does not have that: {'; '.join(said)}" if said else ""


def hinders(service: Service, plan: Plan | None) -> Refusal | None:
    """Why the service's account cannot move to the plan: it has set what that does not have."""
    if service.account is None or not isinstance(plan, HostingPlan):
        return None
    over = too_much(service.account, plan)
    return Refusal(reason=over, rule=_rule(plan)) if over else None


def _rule(plan: HostingPlan) -> str:
    return f"plan {plan.name}"


# -- decisions ----------------------------------------------------------------------------------------------------------


def change(record: Service, asked: AccountChange, *, who: str, why: str, terms: Terms) -> Received:
    """Set it by a job, where the plan has it."""
    return _decide(record, {ACCOUNT: dump(asked)}, who=who, why=why, terms=terms)


def certify(record: Service, certificate: SiteCertificate, *, size: int, who: str, why: str, terms: Terms) -> Received:
    """Install it by a job. Its key is kept with the job, and not in here. ``size``: of both, as a node is told them."""
    plan = terms.plan
    if isinstance(plan, HostingPlan):
        settings = accounts.settings_of(record, plan)
        site = settings.site(certificate.site)
        if site is None:
            return refused(record, f"it has no site {certificate.site}", RULE_LIFECYCLE)
        others = [each for each in site.domains if not covers(certificate.domains, each)]
        if others:
            words = f"the certificate is for {', '.join(certificate.domains)}, and not for {', '.join(others)}"
            return refused(record, words, f"domains of the site {site.name}")
        told = checks.parts_bytes(settings.sites, settings.databases, settings.cron)
        told += checks.wire_bytes(asdict(accounts.access_of(record)))
        if told + size > checks.MOST_TOGETHER:
            words = f"the certificate with its key has {size_words(size)}, what else there is of the account {size_words(told)}"
            return refused(record, f"{words}: more than {size_words(checks.MOST_TOGETHER)} together", _RULE_SIZE)
    return _decide(record, {CERTIFICATE: _certificate_json(certificate)}, who=who, why=why, terms=terms)


def covers(names: Iterable[str], domain: str) -> bool:
    """Whether one of a certificate's names is the domain's (RFC 6125, 6.4.3: ``*`` stands for one whole label, the first)."""
    parent = domain.partition(".")[2]
    return any(name.lower() in (domain, f"*.{parent}") for name in names)


def fill(record: Service, *, full: bool, terms: Terms) -> Received:
    """Have the databases take no more, or take more again, by a job."""
    why = "its disk is used up: its databases take no more" if full else "its disk has room again: its databases take more"
    return _decide(record, {FULL: full}, who="metering", why=why, terms=terms)


def again(record: Service, kind: IntentKind, arguments: Mapping[str, object], *, who: str, why: str, terms: Terms) -> Received:
    """The same once more, out of a job's own arguments."""
    if kind in MOVES_IN and record.stopped:
        return refused(record, f"it is suspended, held for {', '.join(record.stop_reasons)}", RULE_HOLDS)
    return _decide(record, dict(arguments), who=who, why=why, terms=terms, kind=kind)


def _decide(
    record: Service,
    arguments: dict[str, Any],
    *,
    who: str,
    why: str,
    terms: Terms,
    kind: IntentKind = IntentKind.SET_ACCOUNT,
) -> Received:
    if terms.kind != PlanKind.HOSTING:
        return refused(record, "it is no hosting account: it has no sites and no databases of ours", RULE_VOCABULARY)
    if record.state != Lifecycle.ACTIVE:
        return refused(record, f"it is {record.state}: only an active service's account can be set", RULE_LIFECYCLE)
    try:
        moved(record, arguments, terms.plan)
    except Refused as exc:
        return refused(record, exc.message, str(exc.details.get("rule", RULE_LIFECYCLE)))
    given = {CERTIFICATE: {}, **arguments}
    return Received(service=record, decision=Intent.on(kind, record, reason=why, who=who, arguments=given))


def moved(service: Service, arguments: Mapping[str, Any], plan: Plan | None) -> Service:
    """The record as the job with these arguments leaves it. Raises Refused where the plan does not have that (any more)."""
    if not isinstance(plan, HostingPlan):
        raise Refused(f"plan {service.plan} is not sold any more: what it has is not known", rule=f"plan {service.plan}")
    settings = accounts.settings_of(service, plan)
    if arguments.get(ACCOUNT):
        settings = changed(settings, read(arguments[ACCOUNT]), plan)
    if arguments.get(CERTIFICATE):
        new = certificate_of(arguments)
        others = tuple(each for each in settings.certificates if each.site != new.site)
        settings = replace(settings, certificates=(*others, new))
    full = arguments.get(FULL)
    after = service if settings == accounts.settings_of(service, plan) else replace(service, account=settings)
    return after if full is None else replace(after, databases_full=bool(full))


def after_job(service: Service, kind: IntentKind, arguments: Mapping[str, Any], terms: Terms, *, ended_well: bool) -> Service:
    """The record when a job has ended; of one that is no longer there, or was not set, it stays as it is."""
    if kind not in SETTING or not ended_well or service.state != Lifecycle.ACTIVE:
        return service
    try:
        return moved(service, arguments, terms.plan)
    except OrchestratorError:  # its plan changed in the same moment; a check tells what is apart
        return service


def certificate_of(arguments: Mapping[str, Any]) -> SiteCertificate:
    """The one that the job installs."""
    return certificate_from(arguments[CERTIFICATE])


def certificate_from(data: Mapping[str, Any]) -> SiteCertificate:
    return SiteCertificate(
        site=str(data["site"]),
        domains=tuple(str(each) for each in data["domains"]),
        until=datetime.fromisoformat(str(data["until"])),
        sha256=str(data["sha256"]),
    )


def _certificate_json(certificate: SiteCertificate) -> dict[str, Any]:
    return {
        "site": certificate.site,
        "domains": list(certificate.domains),
        "until": certificate.until.isoformat(),
        "sha256": certificate.sha256,
    }


def to_store(settings: AccountSettings) -> dict[str, Any]:
    """As JSON; ``from_store`` gives back an equal one."""
    return {
        "sites": [{"name": each.name, "domains": list(each.domains), "php": each.php} for each in settings.sites],
        "databases": [{"name": each.name, "password_hash": each.password_hash} for each in settings.databases],
        "cron": [asdict(each) for each in settings.cron],
        "certificates": [_certificate_json(each) for each in settings.certificates],
    }


def from_store(data: Mapping[str, Any]) -> AccountSettings:
    return AccountSettings(
        sites=tuple(Site(name=each["name"], domains=tuple(each["domains"]), php=each["php"]) for each in data["sites"]),
        databases=tuple(Database(**each) for each in data["databases"]),
        cron=tuple(CronLine(**each) for each in data["cron"]),
        certificates=tuple(certificate_from(each) for each in data["certificates"]),
    )
