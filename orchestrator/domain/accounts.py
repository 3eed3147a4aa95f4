"""The account of a hosting service: what it is to be (AccountSpec) and what is seen of it (AccountFacts).

Pure. Their JSON is that of the agent's account commands. Sizes are bytes, ``cpu_percent`` is of one core, a rate of 0 is none.
Everything that reaches a node from outside passes the checks here, whichever way it came in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from orchestrator.domain import account_checks
from orchestrator.domain.account_parts import AccountSettings
from orchestrator.domain.account_parts import CronLine as CronLine
from orchestrator.domain.account_parts import Database as Database
from orchestrator.domain.account_parts import Site as Site
from orchestrator.domain.canonical import canonical_json, digest
from orchestrator.domain.errors import Refused, RequestError
from orchestrator.domain.plans import HostingPlan
from orchestrator.domain.services import Service
from orchestrator.domain.sizes import compared
from orchestrator.domain.specs import password_hash, ssh_key

FIRST_UID = 100_001
LAST_UID = 999_999_999

# On a hosting node: below it a directory for each account, by its user.
HOMES = "/srv/h"

# The site and the database that an account is made with.
SITE = "main"
DATABASE = "main"

# RFC 1123 section 2.1 and RFC 5890: labels of letters, digits and inner hyphens; a name is at most 253 characters.
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DOMAIN_LENGTH = 253
_SITE = re.compile(r"[a-z0-9-]{1,32}")
_PUNYCODE = "xn--"
_USER = re.compile(r"h[1-9][0-9]{5,8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLimits:
    """Hard limits: blocks and inodes by quota, the rest of everything that runs as the account's user."""

    disk_bytes: int
    inodes: int
    cpu_percent: int
    memory_bytes: int
    tasks: int
    io_bytes_per_second: int = 0
    iops: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountAccess:
    """Who may log in. ``password_hash``: of crypt(3), '' = nobody by password."""

    password_hash: str = ""
    ssh_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountWanted:
    """``$spec.account``: what is sold and ordered, apart from where it is, by which uid, and who may log in.

    ``limits`` as they are sold; ``limited`` while a hold limits the service, which it does now where ``throttled``.
    """

    zone: str
    zones: tuple[str, ...]
    limits: AccountLimits
    limited: AccountLimits
    throttled: bool = False
    sites: tuple[Site, ...] = ()
    databases: tuple[Database, ...] = ()
    cron: tuple[CronLine, ...] = ()

    @property
    def in_force(self) -> AccountLimits:
        return self.limited if self.throttled else self.limits


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSpec:
    """The wanted account with all its parts, as the node is told."""

    service_id: str
    user: str
    uid: int
    limits: AccountLimits
    access: AccountAccess = field(default_factory=AccountAccess)
    sites: tuple[Site, ...] = ()
    databases: tuple[Database, ...] = ()
    cron: tuple[CronLine, ...] = ()

    def dump(self) -> dict[str, Any]:
        """As the agent's ``account-apply`` takes it. What is not asked for is left out."""
        plain: dict[str, Any] = json.loads(canonical_json(asdict(self)))
        plain["databases"] = [{k: v for k, v in each.items() if v is not False} for each in plain["databases"]]
        return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFacts:
    """``serving``: php, static, suspended or none. ``certificate_until`` as the node wrote it, ``certificate_sha256`` of its
    DER."""

    name: str
    domains: tuple[str, ...]
    php: str
    serving: str
    certificate_until: str = ""
    certificate_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """``users``: each with whether it is locked. ``full``: it takes no more, and can be made smaller."""

    name: str
    bytes: int
    users: tuple[tuple[str, bool], ...] = ()
    full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFacts:
    """An account as its node shows it; what of it is not there is empty. ``service_id``: whose it is, '' = not one of ours.

    ``job_id`` made it and ``suspended_by`` suspended it, as its marks on the node say. ``wiping``: a wipe of it has begun.
    ``packed``: whether something is packed for a backup, whole or half ('' = nothing); ``restored``: what stands aside.
    ``unknown``: what of it could not be looked at.
    """

    user: str
    uid: int
    service_id: str
    exists: bool
    job_id: str = ""
    locked: bool = False
    expired: bool = False
    shell: str = ""
    limits: AccountLimits | None = None
    used_bytes: int = 0
    used_inodes: int = 0
    sites: tuple[SiteFacts, ...] = ()
    keys: int = 0
    password: bool = False
    databases: tuple[DatabaseFacts, ...] = ()
    cron: int = 0
    processes: int = 0
    fpm: str = "none"
    suspended: bool = False
    suspended_by: str = ""
    wiping: bool = False
    packed: str = ""
    restored: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> AccountFacts:
        """Out of the agent's FACTS. Raises KeyError, TypeError or ValueError for what is none.

        By which job it is as it is must be told: without that nobody could undo what a job did, and only that.
        """
        limits, usage, access = data.get("limits"), data.get("usage") or {}, data.get("access") or {}
        return cls(
            user=str(data["user"]),
            uid=int(data["uid"]),
            service_id=str(data["service_id"]),
            exists=bool(data["exists"]),
            job_id=str(data["job_id"]),
            locked=bool(data.get("locked")),
            expired=bool(data.get("expired")),
            shell=str(data.get("shell", "")),
            limits=parse_limits(limits) if limits else None,
            used_bytes=int(usage.get("bytes", 0)),
            used_inodes=int(usage.get("inodes", 0)),
            sites=tuple(_site_facts(each) for each in data.get("sites") or ()),
            keys=int(access.get("keys", 0)),
            password=bool(access.get("password")),
            databases=tuple(_database_facts(each) for each in data.get("databases") or ()),
            cron=int(data.get("cron", 0)),
            processes=int(data.get("processes", 0)),
            fpm=str(data.get("fpm", "none")),
            suspended=bool(data.get("suspended")),
            suspended_by=str(data["suspended_by"]),
            wiping=bool(data["wiping"]),
            packed=str(data.get("packed", "")),
            restored=tuple(str(each) for each in data.get("restored", ())),
            unknown=tuple(str(each) for each in data.get("unknown", ())),
        )


def parse_limits(data: Mapping[str, Any]) -> AccountLimits:
    """Raises KeyError, TypeError or ValueError for what is no limits."""
    return AccountLimits(
        disk_bytes=int(data["disk_bytes"]),
        inodes=int(data["inodes"]),
        cpu_percent=int(data["cpu_percent"]),
        memory_bytes=int(data["memory_bytes"]),
        tasks=int(data["tasks"]),
        io_bytes_per_second=int(data.get("io_bytes_per_second", 0)),
        iops=int(data.get("iops", 0)),
    )


def _site_facts(data: Mapping[str, Any]) -> SiteFacts:
    return SiteFacts(
        name=str(data["name"]),
        domains=tuple(str(each) for each in data.get("domains", ())),
        php=str(data.get("php", "")),
        serving=str(data.get("serving", "none")),
        certificate_until=str(data.get("certificate_until") or ""),
        certificate_sha256=str(data.get("certificate_sha256") or ""),
    )


def _database_facts(data: Mapping[str, Any]) -> DatabaseFacts:
    users = tuple((str(each["name"]), bool(each["locked"])) for each in data.get("users", ()))
    return DatabaseFacts(name=str(data["name"]), bytes=int(data.get("bytes") or 0), users=users, full=bool(data.get("full")))


def user_of(uid: int) -> str:
    """The account's user, and its group, on its node."""
    return f"h{uid}"


def uid_of(user: str) -> int:
    """The uid that the user is named by; raises ValueError where it is no account's user."""
    if not _USER.fullmatch(user):
        raise ValueError(f"{user[:40]!r} is no account's user")
    return int(user[1:])


def domain_name(text: str) -> str:
    """A host name of at least two labels, in small letters; raises RequestError.

    Only ASCII, names in other scripts as punycode: what only looks like another's name is not to be told from it otherwise.
    """
    hint = "such as shop.example; names in other scripts in punycode (xn--…)"
    lowered = text.strip().lower().removesuffix(".") if text.isascii() else ""
    labels = lowered.split(".")
    if len(lowered) > _DOMAIN_LENGTH or len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels):
        raise RequestError(f"{text!r} is no domain name", hint=hint)
    if labels[-1].isdecimal():
        raise RequestError(f"{text!r} looks like an address, not like a domain name", hint="its last label needs a letter")
    if not all(_sound(label) for label in labels):
        raise RequestError(f"{text!r} is no domain name: it holds a label that is no punycode", hint=hint)
    return lowered


def _sound(label: str) -> bool:
    """Not of the form that is kept for names in other scripts (RFC 5890, 2.3.1), unless it is one."""
    if label[2:4] != "--":
        return True
    try:
        return label.startswith(_PUNYCODE) and not label[4:].encode().decode("punycode").isascii()
    except (UnicodeError, ValueError):
        return False


def site_name(text: str) -> str:
    """The name of a site inside its account; raises RequestError."""
    if not _SITE.fullmatch(text):
        raise RequestError(f"{text!r} is no name of a site", hint="1 to 32 small letters, digits and hyphens")
    return text


def limits_of(plan: HostingPlan) -> AccountLimits:
    """What is sold."""
    return AccountLimits(
        disk_bytes=plan.disk_bytes,
        inodes=plan.inodes,
        cpu_percent=plan.cpu_percent,
        memory_bytes=plan.memory_bytes,
        tasks=plan.tasks,
        io_bytes_per_second=plan.io_bytes_per_second,
        iops=plan.iops,
    )


def wanted(service: Service, plan: HostingPlan) -> AccountWanted:
    """What the service is to have. Raises RequestError where what was ordered cannot be given to an account.

    Its domain is served with and without ``www.`` where both are names; without a domain there is no site yet.
    """
    sold, settings = limits_of(plan), settings_of(service, plan)
    return AccountWanted(
        zone=service.zone,
        zones=plan.zones,
        limits=sold,
        limited=replace(sold, cpu_percent=min(plan.limited_cpu_percent, plan.cpu_percent)),
        throttled=service.throttled,
        sites=settings.sites,
        databases=tuple(replace(each, full=service.databases_full) for each in settings.databases),
        cron=settings.cron,
    )


def settings_of(service: Service, plan: HostingPlan) -> AccountSettings:
    """What was set, else what an account is made with: a site for its domain, and a database where the plan has one."""
    if service.account is not None:
        return service.account
    return AccountSettings(sites=_sites(service, plan), databases=(Database(name=DATABASE),) if plan.databases else ())


def _sites(service: Service, plan: HostingPlan) -> tuple[Site, ...]:
    if not service.domain or not plan.sites:
        return ()
    domain = domain_name(service.domain)
    bare = domain.removeprefix("www.")
    both = (bare, f"www.{bare}") if "." in bare and len(bare) + len("www.") <= _DOMAIN_LENGTH else (domain,)
    return (Site(name=site_name(SITE), domains=both, php=plan.php[0] if plan.php else ""),)


def access_of(service: Service) -> AccountAccess:
    """Who may log in. Raises RequestError for keys and hashes that are none."""
    keys = tuple(dict.fromkeys(account_checks.login_key(ssh_key(line)) for line in service.ssh_keys))
    return AccountAccess(password_hash=password_hash(service.password_hash), ssh_keys=keys)


def to_json(service: Service, plan: HostingPlan) -> dict[str, Any]:
    """Plain JSON: ``service_id``, ``plan`` (its name), ``kind``, ``account``, ``access`` and ``digest``."""
    data: dict[str, Any] = {
        "service_id": service.id,
        "plan": plan.name,
        "kind": plan.kind.value,
        "account": asdict(wanted(service, plan)),
        "access": asdict(access_of(service)),
    }
    plain: dict[str, Any] = json.loads(canonical_json(data))
    return {**plain, "digest": digest(plain)}


def spec(account: AccountWanted, access: AccountAccess, *, service_id: str, uid: int) -> AccountSpec:
    """What the node is told of it."""
    return AccountSpec(
        service_id=service_id,
        user=user_of(uid),
        uid=uid,
        limits=account.in_force,
        access=access,
        sites=account.sites,
        databases=account.databases,
        cron=account.cron,
    )


def require_room(limits: AccountLimits, *, used_bytes: int, used_inodes: int) -> None:
    """Raises Refused where more is used than the limits would leave."""
    over = []
    if used_bytes > limits.disk_bytes:
        over.append("it holds {}, the plan has {}".format(*compared(used_bytes, limits.disk_bytes)))
    if used_inodes > limits.inodes:
        over.append(f"it holds {used_inodes:,} files and directories, the plan has {limits.inodes:,}")
    if over:
        raise Refused(f"the account does not fit into the plan: {'; '.join(over)}", hint="its customer has to delete some first")
