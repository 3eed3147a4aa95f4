"""Setting sites, databases, lines of cron and certificates of a hosting account, and reading them back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from orchestrator.domain import account_drift, accounts
from orchestrator.domain.account_parts import SiteCertificate
from orchestrator.domain.accounts import AccountAccess, AccountFacts, AccountWanted
from orchestrator.domain.errors import NotFound, PermanentDriverError, UndoFailed
from orchestrator.steps.account import present, require_seen, seen
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep, Timer


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsArgs:
    """``before``: the account as it was to be until now."""

    node: str
    account: AccountWanted
    access: AccountAccess
    before: AccountWanted


class AccountSet(BaseStep[SettingsArgs]):
    """Bring the account to what is set of it: sites, databases, cron. What is suspended stays so."""

    name: ClassVar[str] = "account.set"
    args = SettingsArgs
    deadline_seconds: ClassVar[float] = 180.0

    def check(self, ctx: StepContext, args: SettingsArgs) -> Done | Needed:
        """The node tells no lines of cron and no passwords, so that it is put there in any case, which can be repeated."""
        found = present(ctx, args.node)
        return Needed("; ".join(account_drift.settings_apart(args.account, found)) or "it is put there again")

    def apply(self, ctx: StepContext, args: SettingsArgs) -> Facts:
        """PermanentDriverError where the node shows something else afterwards."""
        found = _put(ctx, args.node, args.account, args.access)
        require_seen(found, args.node)
        apart = account_drift.settings_apart(args.account, found)
        if apart:
            raise PermanentDriverError(f"the account is not as it was set: {'; '.join(apart)}")
        return {
            "sites": [{"name": site.name, "domains": list(site.domains), "php": site.php} for site in found.sites],
            "databases": [{"name": each.name, "full": each.full} for each in found.databases],
            "cron": len(args.account.cron),
        }

    def undo(self, ctx: StepContext, args: SettingsArgs, facts: Mapping[str, Any]) -> None:
        """Put back what was; a database that is new stays, and is empty: only a wipe drops one."""
        if seen(ctx, args.node).exists:
            _put(ctx, args.node, args.before, args.access)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateArgs:
    """``certificate``: which one, and for which site; itself it is kept with the job."""

    node: str
    account: AccountWanted
    access: AccountAccess
    certificate: SiteCertificate


class AccountCertificate(BaseStep[CertificateArgs]):
    """Install a certificate with its key, and see by its digest that the site has it."""

    name: ClassVar[str] = "account.certificate"
    args = CertificateArgs
    deadline_seconds: ClassVar[float] = 120.0

    def check(self, ctx: StepContext, args: CertificateArgs) -> Done | Needed:
        if _certificate_of(present(ctx, args.node), args) != args.certificate.sha256:
            return Needed(f"the site {args.certificate.site} has another certificate")
        return Done(_installed(args))

    def apply(self, ctx: StepContext, args: CertificateArgs) -> Facts:
        """NotFound where the job's certificate is not kept any more, or the site is gone."""
        pair = ctx.ports.certificates.pair(ctx.job_id)
        name = args.certificate.site
        if not any(site.name == name for site in args.account.sites):
            raise NotFound(f"the account has no site {name} any more")
        sites = tuple(
            replace(site, certificate=pair.certificate, key=pair.key) if site.name == name else site
            for site in args.account.sites
        )
        found = _put(ctx, args.node, replace(args.account, sites=sites), args.access)
        if _certificate_of(found, args) != args.certificate.sha256:
            raise PermanentDriverError(f"{args.node} shows another certificate of the site {name} than it was given")
        return _installed(args)

    def undo(self, ctx: StepContext, args: CertificateArgs, facts: Mapping[str, Any]) -> None:
        """One that the node refused it has put back by itself. Raises UndoFailed where it has the new one: the former's key is
        kept nowhere else."""
        found = seen(ctx, args.node)
        if found.exists and _certificate_of(found, args) == args.certificate.sha256:
            raise UndoFailed(
                f"the site {args.certificate.site} has its new certificate already", hint="give the former one once more"
            )


def _put(ctx: StepContext, node: str, account: AccountWanted, access: AccountAccess) -> AccountFacts:
    """Apply it, and look."""
    uid = present(ctx, node).uid
    spec = accounts.spec(account, access, service_id=ctx.service_id, uid=uid)
    ctx.ports.hosting(node).apply(spec, job_id=ctx.job_id, deadline=Timer(ctx).left())
    return present(ctx, node)


def _certificate_of(found: AccountFacts, args: CertificateArgs) -> str:
    return next((site.certificate_sha256 for site in found.sites if site.name == args.certificate.site), "")


def _installed(args: CertificateArgs) -> Facts:
    return {"site": args.certificate.site, "sha256": args.certificate.sha256, "until": args.certificate.until.isoformat()}
