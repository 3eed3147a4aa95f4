"""Making a hosting account and bringing it to what is sold: where it is, by which uid, its parts and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from orchestrator.domain import account_drift, accounts, asides
from orchestrator.domain.accounts import AccountAccess, AccountFacts, AccountLimits, AccountWanted
from orchestrator.domain.errors import AlreadyExists, NotFound, PermanentDriverError, TransientDriverError
from orchestrator.domain.placement import Wanted
from orchestrator.domain.plans import NodeKind
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep, Look, OnNode, Timer
from orchestrator.steps.place import Reserve

# Looking at accounts begins a program on a node that others keep busy.
ASK_SECONDS = 90.0


def user_of(ctx: StepContext) -> str:
    """The service's user on its node; raises NotFound where it never had an account."""
    uid = ctx.ports.uids.known(ctx.service_id)
    if uid is None:
        raise NotFound(f"{ctx.service_id} was never given the uid of an account")
    return accounts.user_of(uid)


def seen(ctx: StepContext, node: str) -> AccountFacts:
    """The service's account on the node, there or not. Raises AlreadyExists where the user is somebody else's, and
    PermanentDriverError where the node says nothing of it: that is not to be taken for its absence."""
    user = user_of(ctx)
    told = ctx.ports.hosting(node).accounts((user,), deadline=ASK_SECONDS)
    found = next((each for each in told if each.user == user), None)
    if found is None:
        raise PermanentDriverError(f"{node} was asked for {user}, and says nothing of it", hint="enrol the node again")
    if found.exists and found.service_id != ctx.service_id:
        raise AlreadyExists(
            f"a user {user} on {node} is not one of this service: it is left alone", hint="an operator has to look"
        )
    return found


def present(ctx: StepContext, node: str) -> AccountFacts:
    """As ``seen``; raises NotFound where it is absent."""
    found = seen(ctx, node)
    if not found.exists:
        raise NotFound(f"the account {found.user} is not on {node}")
    return found


def require_seen(found: AccountFacts, node: str) -> None:
    """Raises TransientDriverError where a part of it could not be looked at: what is not seen is neither right nor wrong."""
    if found.unknown:
        raise TransientDriverError(f"{node} cannot tell all of {found.user}: {'; '.join(found.unknown)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceArgs:
    account: AccountWanted


class AccountReserve(Reserve[PlaceArgs]):
    """Choose the hosting node that takes the account and promise it disk and memory."""

    name: ClassVar[str] = "account.reserve"
    args = PlaceArgs

    def wanted(self, args: PlaceArgs) -> Wanted:
        """No processor is promised: an account's share is a cap."""
        return _size(args.account)


def _size(account: AccountWanted) -> Wanted:
    limits = account.limits
    return Wanted(
        vcpus=0,
        memory_bytes=limits.memory_bytes,
        disk_bytes=limits.disk_bytes,
        kind=NodeKind.HOSTING,
        zone=account.zone,
        zones=account.zones,
    )


class AccountIdentify(BaseStep[OnNode]):
    """Give the service the uid that its account has for ever. It is not taken back: files of it may have been left somewhere."""

    name: ClassVar[str] = "account.identify"
    args = OnNode

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        uid = ctx.ports.uids.known(ctx.service_id)
        return Needed("it has no uid yet") if uid is None else Done(_identity(uid))

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        # After the store was brought back from a copy the node may know uids that were given since.
        there = ctx.ports.hosting(args.node).accounts((), deadline=ASK_SECONDS)
        return _identity(ctx.ports.uids.give(ctx.service_id, above=max((each.uid for each in there), default=0)))


def _identity(uid: int) -> Facts:
    return {"uid": uid, "user": accounts.user_of(uid)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyArgs:
    """``account`` as ``$spec.account``, ``access`` as ``$spec.access``."""

    node: str
    account: AccountWanted
    access: AccountAccess


class AccountCreate(BaseStep[ApplyArgs]):
    """Make the account with all its parts in one call."""

    name: ClassVar[str] = "account.create"
    args = ApplyArgs
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = 180.0

    def check(self, ctx: StepContext, args: ApplyArgs) -> Done | Needed:
        found = seen(ctx, args.node)
        if not found.exists:
            return Needed(f"there is no account {found.user} on {args.node}")
        apart = account_drift.differences(args.account, found)
        return Needed("; ".join(apart)) if apart else Done(_made(args.node, found), made_by=found.job_id)

    def apply(self, ctx: StepContext, args: ApplyArgs) -> Facts:
        seen(ctx, args.node)
        uid = int(user_of(ctx)[1:])
        spec = accounts.spec(args.account, args.access, service_id=ctx.service_id, uid=uid)
        done = ctx.ports.hosting(args.node).apply(spec, job_id=ctx.job_id, deadline=Timer(ctx).left())
        return _made(args.node, done.facts)

    def undo(self, ctx: StepContext, args: ApplyArgs, facts: Mapping[str, Any]) -> None:
        """Remove the account that this job made; it never was a customer's. Another's stays as it is."""
        found = seen(ctx, args.node)
        hosting, who = ctx.ports.hosting(args.node), {"service_id": ctx.service_id}
        if found.job_id == ctx.job_id:  # by its mark: its user may not be there yet, or not any more
            hosting.wipe(found.user, job_id=ctx.job_id, deadline=Timer(ctx).left(), **who)
        elif found.exists:
            return
        hosting.residue(found.user, uid=found.uid, clean=True, deadline=ASK_SECONDS, **who)


def _made(node: str, found: AccountFacts) -> Facts:
    return {
        "node": node,
        "user": found.user,
        "uid": found.uid,
        "limits": None if found.limits is None else asdict(found.limits),
        "sites": [{"name": site.name, "domains": list(site.domains), "php": site.php} for site in found.sites],
        "databases": [each.name for each in found.databases],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldArgs:
    """``holds``: the reasons that stop the service now, from its record; empty = it is open."""

    node: str
    account: AccountWanted
    holds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyArgs(HeldArgs):
    """``either``: it may be suspended or not, which is for other jobs to see to."""

    either: bool = False


class AccountVerify(BaseStep[VerifyArgs]):
    """Read the account back from its node: limits, sites, databases. It is done only when it is what was sold. Makes nothing."""

    name: ClassVar[str] = "account.verify"
    args = VerifyArgs

    def check(self, ctx: StepContext, args: VerifyArgs) -> Done | Needed:
        found = present(ctx, args.node)
        suspended = found.suspended if args.either else bool(args.holds)
        apart = account_drift.differences(args.account, found, suspended=suspended)
        if apart:
            return Needed("; ".join(apart))
        assert found.limits is not None
        return Done({"verified": {"limits": asdict(found.limits), "sites": [site.name for site in found.sites]}})

    def apply(self, ctx: StepContext, args: VerifyArgs) -> Facts:
        """Nothing can be done about a difference here: PermanentDriverError, naming it."""
        require_seen(present(ctx, args.node), args.node)
        found = self.check(ctx, args)
        if isinstance(found, Needed):
            raise PermanentDriverError(f"the account is not as it is to be: {found.why}")
        return found.facts


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckArgs(HeldArgs):
    """``kept``: the names of what the record says stands aside ($job.kept); ``asides``: those
    that a job explains which is not over, and ``packing`` whether one explains a pack ($job.asides, $job.packing)."""

    kept: tuple[str, ...] = ()
    asides: tuple[str, ...] = ()
    packing: bool = False


class AccountCheck(Look[CheckArgs]):
    """Compare the account, and what its node promises, with what was sold; what stands beside its home with what explains it."""

    name: ClassVar[str] = "account.check"
    args = CheckArgs

    def look(self, ctx: StepContext, args: CheckArgs) -> Facts:
        found = seen(ctx, args.node)
        apart = list(account_drift.differences(args.account, found, suspended=bool(args.holds)))
        if found.exists:
            apart += asides.apart(found, kept=args.kept, asides=args.asides, packing=args.packing)
        standing, size = ctx.ports.ledger.reservation(ctx.service_id), _size(args.account)
        if standing is None or standing.node != args.node:
            apart.append(f"no capacity is promised on {args.node}")
        elif (standing.memory_bytes, standing.disk_bytes) != (size.memory_bytes, size.disk_bytes):
            apart.append(f"{args.node} promises another size than was sold")
        return {"drift": apart}


class AccountRecord(Look[OnNode]):
    """Write down the limits that the account has before they are moved."""

    name: ClassVar[str] = "account.record"
    args = OnNode

    def look(self, ctx: StepContext, args: OnNode) -> Facts:
        found = present(ctx, args.node)
        if found.limits is None:
            raise PermanentDriverError(f"{args.node} does not tell the limits of {found.user}")
        return {"limits": asdict(found.limits), "bytes": found.used_bytes, "inodes": found.used_inodes}


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsArgs:
    """``before``: as account.record wrote them down."""

    node: str
    account: AccountWanted
    access: AccountAccess
    before: AccountLimits


class AccountLimitsMove(BaseStep[LimitsArgs]):
    """Move every limit of the account to what it is to have now, whether sold or left to it by a hold, and read them back."""

    name: ClassVar[str] = "account.limits"
    args = LimitsArgs
    deadline_seconds: ClassVar[float] = 120.0

    def check(self, ctx: StepContext, args: LimitsArgs) -> Done | Needed:
        found = present(ctx, args.node)
        if found.limits != args.account.in_force:
            return Needed("its limits are not what they are to be")
        made_by = ctx.job_id if args.before != args.account.in_force else ""
        return Done({"limits": asdict(found.limits)}, made_by=made_by)

    def apply(self, ctx: StepContext, args: LimitsArgs) -> Facts:
        """PermanentDriverError where the node shows other limits afterwards."""
        found = self._put(ctx, args, args.account.in_force)
        if found.limits != args.account.in_force:
            raise PermanentDriverError(
                f"{args.node} shows other limits of {found.user} than it was told", hint="look at its quota"
            )
        return {"limits": asdict(args.account.in_force)}

    def undo(self, ctx: StepContext, args: LimitsArgs, facts: Mapping[str, Any]) -> None:
        """Put the limits back that it had before."""
        if seen(ctx, args.node).exists:
            self._put(ctx, args, args.before)

    def _put(self, ctx: StepContext, args: LimitsArgs, limits: AccountLimits) -> AccountFacts:
        uid = int(present(ctx, args.node).user[1:])
        spec = accounts.spec(args.account, args.access, service_id=ctx.service_id, uid=uid)
        hosting = ctx.ports.hosting(args.node)
        hosting.apply(replace(spec, limits=limits), job_id=ctx.job_id, deadline=Timer(ctx).left())
        return present(ctx, args.node)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomArgs:
    """``before``: what the account uses, as account.record wrote it down."""

    node: str
    account: AccountWanted
    bytes: int
    inodes: int


class AccountFits(BaseStep[RoomArgs]):
    """See that what the account holds fits into what it is to have: a quota below that would lock its owner out of his files."""

    name: ClassVar[str] = "account.fits"
    args = RoomArgs

    def check(self, ctx: StepContext, args: RoomArgs) -> Done | Needed:
        """Raises Refused here, not when acting, so that no act is on record that could be undone."""
        accounts.require_room(args.account.limits, used_bytes=args.bytes, used_inodes=args.inodes)
        return Done({"fits": True})

    def apply(self, ctx: StepContext, args: RoomArgs) -> Facts:
        """The same verdict; the step never needs to act."""
        accounts.require_room(args.account.limits, used_bytes=args.bytes, used_inodes=args.inodes)
        return {"fits": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseArgs:
    """``before``: the limits as account.record wrote them down."""

    node: str
    account: AccountWanted
    before: AccountLimits


class AccountPromise(Reserve[PromiseArgs]):
    """Have the account's own node promise it another size."""

    name: ClassVar[str] = "account.promise"
    args = PromiseArgs

    def wanted(self, args: PromiseArgs) -> Wanted:
        """As for a new account; whoever is promised already is asked of his own node only."""
        return _size(args.account)

    def undo(self, ctx: StepContext, args: PromiseArgs, facts: Mapping[str, Any]) -> None:
        """Have it promise what it did before."""
        self.give_back(ctx, vcpus=0, memory_bytes=args.before.memory_bytes, disk_bytes=args.before.disk_bytes)
