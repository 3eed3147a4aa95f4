"""Sites, databases, cron and certificates of a hosting account, as billing and the API say them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from orchestrator.domain import account_settings
from orchestrator.domain.account_parts import AccountSettings
from orchestrator.domain.account_settings import AccountChange

Short = Annotated[str, StringConstraints(max_length=255)]


class SiteData(BaseModel):
    """``php``: a version that the plan is sold with, '' = files only; left out: as it is, of a new site the plan's first."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Short
    domains: list[Short] = Field(max_length=account_settings.DOMAINS)
    php: Short | None = None


class DatabaseData(BaseModel):
    """``password_hash``: of mysql_native_password, never a password; left out: as it is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Short
    password_hash: Short | None = None


class CronData(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    schedule: Short
    command: Annotated[str, StringConstraints(max_length=1000)]


class AccountData(BaseModel):
    """What is set of an account: each part whole; one that is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sites: list[SiteData] | None = Field(default=None, max_length=200)
    databases: list[DatabaseData] | None = Field(default=None, max_length=200)
    cron: list[CronData] | None = Field(default=None, max_length=100)

    def change(self) -> AccountChange:
        """Raises RequestError for what no account can have."""
        return account_settings.read(self.model_dump())


class SiteOut(BaseModel):
    name: str
    domains: list[str]
    php: str


class DatabaseOut(BaseModel):
    """``password_set``: it has a login of its own by a password."""

    name: str
    password_set: bool


class CronOut(BaseModel):
    schedule: str
    command: str


class CertificateOut(BaseModel):
    """The certificate that was last installed for a site through the controller. ``sha256``: of its DER."""

    site: str
    domains: list[str]
    until: datetime
    sha256: str


class AccountOut(BaseModel):
    """What is set of an account. ``databases_full``: its databases take no more until its disk has room again."""

    service_id: str
    sites: list[SiteOut]
    databases: list[DatabaseOut]
    cron: list[CronOut]
    certificates: list[CertificateOut]
    databases_full: bool

    @classmethod
    def of(cls, service_id: str, settings: AccountSettings, *, full: bool) -> AccountOut:
        return cls(
            service_id=service_id,
            sites=[SiteOut(name=each.name, domains=list(each.domains), php=each.php) for each in settings.sites],
            databases=[DatabaseOut(name=each.name, password_set=bool(each.password_hash)) for each in settings.databases],
            cron=[CronOut(schedule=each.schedule, command=each.command) for each in settings.cron],
            certificates=[
                CertificateOut(site=each.site, domains=list(each.domains), until=each.until, sha256=each.sha256)
                for each in settings.certificates
            ],
            databases_full=full,
        )
