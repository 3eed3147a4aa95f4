"""The parts of a hosting account that its customer orders one by one: sites, databases, lines of cron, certificates.

Pure values; ``accounts`` makes the node's spec of them, ``account_settings`` says how they change.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """``php``: a version, '' = files only. ``certificate`` and ``key`` are PEM; '' = one that signs itself."""

    name: str
    domains: tuple[str, ...]
    php: str = ""
    certificate: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """``password_hash``: of mysql_native_password; '' = only the account's own user gets in, by its socket."""

    name: str
    password_hash: str = ""
    full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CronLine:
    schedule: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCertificate:
    """The certificate that was last installed for a site. ``domains``: what it is for; ``sha256``: of its DER, in hexadecimal."""

    site: str
    domains: tuple[str, ...]
    until: datetime
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSettings:
    """What of an account was set beyond its order. Sites here have no certificate: ``certificates`` says what is installed."""

    sites: tuple[Site, ...] = ()
    databases: tuple[Database, ...] = ()
    cron: tuple[CronLine, ...] = ()
    certificates: tuple[SiteCertificate, ...] = ()

    def site(self, name: str) -> Site | None:
        return next((each for each in self.sites if each.name == name), None)

    def database(self, name: str) -> Database | None:
        return next((each for each in self.databases if each.name == name), None)
