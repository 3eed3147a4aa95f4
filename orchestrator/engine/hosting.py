"""What operators do about hosting accounts: sites, databases, lines of cron, certificates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.domain import account_checks, account_settings, accounts, adopting, moving_in
from orchestrator.domain.account_parts import AccountSettings, SiteCertificate
from orchestrator.domain.account_settings import AccountChange
from orchestrator.domain.adopting import Adoption, Stranger
from orchestrator.domain.charges import Charge, Free
from orchestrator.domain.errors import NotFound, RequestError, WrongState
from orchestrator.domain.intents import Refusal
from orchestrator.domain.moving_in import Tarball, Wanted
from orchestrator.domain.plans import HostingPlan
from orchestrator.domain.playbooks import Workflow
from orchestrator.domain.received import Received
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms
from orchestrator.engine.acts import Works
from orchestrator.engine.clerk import Clerk, Decide, Submitted
from orchestrator.engine.settings import Beside, Catalog
from orchestrator.ports.site_certificates import Inspected, Pair
from orchestrator.store import services, site_certificates
from orchestrator.store.database import Connection

LOOK_SECONDS = 1800.0
"""For a tarball to be looked through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A certificate for a site, with its key; PEM."""

    site: str
    pair: Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Moving:
    """An account is to move in. ``file``: the name of a tarball on its node; ``pay``: what it costs may be charged."""

    file: str
    request_id: str
    pay: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What becomes of it: the job, what is in the tarball, how it counts. ``workflow``: only of a dry run."""

    submitted: Submitted
    tarball: Tarball
    granted: Charge | Free | Refusal
    workflow: Workflow | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopting:
    """A user of its node is to move into an account. ``node``: where he is, as far as it was said."""

    adoption: Adoption
    request_id: str
    node: str = ""
    pay: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """What becomes of it. ``misfits``: why not, of a dry run; ``remarks``: what stays behind. ``workflow``: of a dry run of what
    can be done."""

    submitted: Submitted
    seen: Stranger
    granted: Charge | Free | Refusal
    misfits: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    workflow: Workflow | None = None


class Hosting:
    """Raises what the store raises; a refusal is raised as Refused before anything is written."""

    def __init__(self, works: Works, *, clerk: Clerk, catalog: Catalog) -> None:
        self._works = works
        self._clerk = clerk
        self._catalog = catalog

    def settings(self, service_id: str) -> AccountSettings:
        """What is set, or was ordered. Raises NotFound where it is no account, or its plan is not sold any more."""
        with self._works.db.read() as conn:
            service = services.get(conn, service_id)
        if service is None:
            raise NotFound(f"there is no service {service_id}", service_id=service_id)
        plan = self._catalog.plans.get(service.plan)
        if service.account is not None:
            return service.account
        if not isinstance(plan, HostingPlan):
            raise NotFound(f"service {service_id} is no hosting account of a plan that is sold")
        return accounts.settings_of(service, plan)

    def set_account(self, service_id: str, change: AccountChange, *, who: str, why: str, beside: Beside[Submitted]) -> Submitted:
        """Have sites, databases or cron set by a job. Raises NotFound, Refused, StoreUnavailable."""
        parts = [name for name, value in account_settings.dump(change).items() if value is not None]
        decide = _setting(change, who=who, why=why)
        facts = {"parts": parts, "why": why}
        return self._clerk.act(service_id, decide, who=who, what="account set", facts=facts, beside=beside)

    def would_set(self, service_id: str, change: AccountChange) -> Workflow:
        """The workflow that it would write down. Raises as ``set_account``."""
        return self._clerk.dry_run(service_id, _setting(change, who="dry-run", why="dry run"))

    def certify(self, service_id: str, given: Given, *, who: str, why: str, beside: Beside[Submitted]) -> Submitted:
        """Have a certificate installed by a job. Raises NotFound, Refused, RequestError, StoreUnavailable."""
        found = self._inspected(given)
        certificate = SiteCertificate(site=given.site, domains=found.names, until=found.until, sha256=found.sha256)
        size = account_checks.wire_bytes([found.pair.certificate, found.pair.key])

        def decide(service: Service, terms: Terms, _now: datetime) -> Received:
            return account_settings.certify(service, certificate, size=size, who=who, why=why, terms=terms)

        def keep(conn: Connection, submitted: Submitted) -> None:
            secrets = self._works.ports.secrets
            site_certificates.keep(conn, secrets, found.pair, job_id=submitted.job_id, service_id=service_id)
            beside(conn, submitted)

        facts = {"site": given.site, "sha256": found.sha256, "until": found.until.isoformat(), "why": why}
        return self._clerk.act(service_id, decide, who=who, what="certificate given", facts=facts, beside=keep)

    def bring_in(self, service_id: str, asked: Moving, *, who: str, beside: Beside[Moved]) -> Moved:
        """Have a tarball that lies on its node moved into it by a job. It is looked through first, which takes its time.

        Raises NotFound, Refused, WrongState, NoCapacity, RequestError, StoreUnavailable, and what the node raises.
        """
        wanted = self._looked(service_id, asked)
        told: list[Moved] = []

        def keep(conn: Connection, submitted: Submitted) -> None:
            told.append(self._moved(conn, service_id, wanted, submitted))
            beside(conn, told[-1])

        tarball = wanted.tarball
        facts = {"file": tarball.file, "sha256": tarball.sha256, "bytes": tarball.bytes, "pay": asked.pay, "why": asked.why}
        self._clerk.act(service_id, _moving(wanted, who=who, why=asked.why), who=who, what="import", facts=facts, beside=keep)
        return told[-1]

    def would_bring_in(self, service_id: str, asked: Moving) -> Moved:
        """What it would do, how it would count and what it would cost; changes nothing. Raises as ``bring_in``."""
        wanted = self._looked(service_id, asked)
        workflow = self._clerk.dry_run(service_id, _moving(wanted, who="dry-run", why=asked.why))
        with self._works.db.read() as conn:
            return replace(self._moved(conn, service_id, wanted, Submitted(job_id="", detail="")), workflow=workflow)

    def adopt(self, service_id: str, asked: Adopting, *, who: str, beside: Beside[Adopted]) -> Adopted:
        """Have a user of its node that somebody made by hand taken in by a job. He is looked at first, which takes its time.

        Raises NotFound, Refused, WrongState, RequestError, StoreUnavailable, and what the node raises.
        """
        wanted = self._seen(service_id, asked)
        told: list[Adopted] = []

        def keep(conn: Connection, submitted: Submitted) -> None:
            told.append(self._adopted(conn, service_id, wanted, submitted))
            beside(conn, told[-1])

        facts = {**wanted.adoption.dump(), "bytes": wanted.seen.bytes, "pay": asked.pay, "why": asked.why}
        self._clerk.act(service_id, _taking_in(wanted, who=who, why=asked.why), who=who, what="adopt", facts=facts, beside=keep)
        return told[-1]

    def would_adopt(self, service_id: str, asked: Adopting) -> Adopted:
        """What is there, what does not fit, what it would do and cost; changes nothing. Raises as ``adopt``, but not for a misfit
        or what is not free."""
        wanted = self._seen(service_id, asked)
        with self._works.db.read() as conn:
            found = self._adopted(conn, service_id, wanted, Submitted(job_id="", detail=""))
        if found.misfits or isinstance(found.granted, Refusal):
            return found
        workflow = self._clerk.dry_run(service_id, _taking_in(wanted, who="dry-run", why=asked.why))
        return replace(found, workflow=workflow)

    def _seen(self, service_id: str, asked: Adopting) -> adopting.Wanted:
        adoption = adopting.checked(asked.adoption)
        service = self._of_account(service_id, "nobody is adopted into it")
        uid = self._works.ports.uids.known(service_id)
        if uid is None:
            raise WrongState(f"service {service_id} has no account yet: nobody is adopted into it")
        hint = f"order a service whose account is made on the node of {adoption.stranger}, or move him by `service import`"
        if asked.node and asked.node != service.node:
            said = f"the account of {service_id} is on {service.node}, and {adoption.stranger} lives on {asked.node}"
            raise WrongState(f"{said}: only what is on an account's own node is adopted", hint=hint)
        node = self._works.ports.hosting(service.node)
        try:
            seen = node.look_at(accounts.user_of(uid), adoption, service_id=service_id, deadline=LOOK_SECONDS)
        except NotFound as exc:
            raise NotFound(f"{exc.message} ({service.node}, where the account of {service_id} is)", hint=hint) from exc
        return adopting.Wanted(adoption=adoption, seen=seen, request_id=asked.request_id, pay=asked.pay)

    def _adopted(self, conn: Connection, service_id: str, wanted: adopting.Wanted, submitted: Submitted) -> Adopted:
        service = services.get(conn, service_id)
        assert service is not None
        terms = self._catalog.terms_of(service)
        return Adopted(
            submitted=submitted,
            seen=wanted.seen,
            granted=adopting.counts(wanted, service, terms),
            misfits=adopting.misfits(wanted, service, terms),
            remarks=adopting.remarks(wanted, terms),
        )

    def _of_account(self, service_id: str, so: str) -> Service:
        """Raises NotFound, WrongState."""
        with self._works.db.read() as conn:
            service = services.get(conn, service_id)
        if service is None:
            raise NotFound(f"there is no service {service_id}", service_id=service_id)
        if not isinstance(self._catalog.plans.get(service.plan), HostingPlan) or not service.node:
            raise WrongState(f"service {service_id} has no account on a node: {so}")
        return service

    def _looked(self, service_id: str, asked: Moving) -> Wanted:
        service = self._of_account(service_id, "nothing moves into it")
        plan = self._catalog.plans.get(service.plan)
        assert isinstance(plan, HostingPlan)
        tarball = self._works.ports.hosting(service.node).look_into(
            asked.file, most_bytes=plan.disk_bytes, most_inodes=plan.inodes, deadline=LOOK_SECONDS
        )
        return Wanted(tarball=tarball, request_id=asked.request_id, pay=asked.pay)

    def _moved(self, conn: Connection, service_id: str, wanted: Wanted, submitted: Submitted) -> Moved:
        service = services.get(conn, service_id)
        assert service is not None
        granted = moving_in.counts(wanted, service, self._catalog.terms_of(service))
        return Moved(submitted=submitted, tarball=wanted.tarball, granted=granted)

    def _inspected(self, given: Given) -> Inspected:
        found = self._works.ports.certificates.inspect(given.pair.certificate, given.pair.key)
        now = self._works.clock.now()
        if found.until <= now:
            raise RequestError(f"the certificate has expired: it was good until {found.until.isoformat()}")
        if found.since > now:
            raise RequestError(f"the certificate is not valid yet: it is from {found.since.isoformat()} on")
        return found


def _moving(wanted: Wanted, *, who: str, why: str) -> Decide:
    def decide(service: Service, terms: Terms, _now: datetime) -> Received:
        return moving_in.decide(service, wanted, who=who, why=why or f"{wanted.tarball.file} moves in", terms=terms)

    return decide


def _taking_in(wanted: adopting.Wanted, *, who: str, why: str) -> Decide:
    def decide(service: Service, terms: Terms, _now: datetime) -> Received:
        return adopting.decide(service, wanted, who=who, why=why or f"{wanted.seen.name} is adopted", terms=terms)

    return decide


def _setting(change: AccountChange, *, who: str, why: str) -> Decide:
    def decide(service: Service, terms: Terms, _now: datetime) -> Received:
        return account_settings.change(service, change, who=who, why=why or "its account is set", terms=terms)

    return decide
