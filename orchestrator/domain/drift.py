"""What differs between our records and what a node shows: its guests, what lies in its pool, its accounts. Pure.

Three ways: the store says what is to be there, the hypervisor which guests use what, the pool what lies there. What is not ours
is named and never touched. A service that a job works on is left out: its job knows better.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from orchestrator.domain.fence import LEAVES_COPIES
from orchestrator.domain.plans import guest_name
from orchestrator.domain.services import Lifecycle, Service

OURS = "orch."
"""What the names of our guests and volumes begin with; the service's id follows, up to the next dot."""
_WIPING = ".wiping"
_ARCHIVE = "archive"


class DriftKind(StrEnum):
    MISSING = "missing"  # known to the store, and not on its node
    STRAY = "stray"  # ours by its tag, and not known to the store there
    FOREIGN = "foreign"  # nobody's of ours
    LIMITS = "limits"  # sizes and limits that are not those of the plan
    HOLDS = "holds"  # held, and not stopped; or held there only
    DIFFERS = "differs"  # something else of it is not as it was made
    RECORD = "record"  # its signed record is none that this controller has signed for it

    @property
    def counts(self) -> bool:
        """What is not ours is no drift."""
        return self != DriftKind.FOREIGN


class Repair(StrEnum):
    """What is safe to do by itself; each but the last is a job of that name."""

    SUSPEND = "suspend"
    LIMIT = "limit"
    UNLIMIT = "unlimit"
    MAIL = "set-mail"
    SIGN = "sign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``name``: of the guest, volume or account on the node. ``repair``: what would mend it, None = nothing that is safe;
    ``todo``: what a person does then."""

    kind: DriftKind
    node: str
    name: str
    says: str
    service_id: str = ""
    repair: Repair | None = None
    todo: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """Sentences of one guest or account, by kind."""

    limits: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    throttle: tuple[str, ...] = ()
    mail: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenGuest:
    """``service_id``: of our mark, None = it has none. ``disks``: paths. ``hostile``: why its record is not ours, '' = nothing is
    wrong with it; ``adoptable``: its record can be taken into a store that does not know it. ``apart`` from what was sold."""

    name: str
    service_id: str | None
    disks: tuple[str, ...] = ()
    hostile: str = ""
    adoptable: bool = False
    apart: Apart = field(default_factory=Apart)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenVolume:
    """``backing``: the path of what lies under it."""

    name: str
    path: str
    backing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenAccount:
    """``service_id``: of its mark; '' = none of ours."""

    user: str
    service_id: str
    apart: Apart = field(default_factory=Apart)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the store knows: every service by its id; ``busy``: those that a job works on, or that changed while was looked;
    ``names``: guests that are called otherwise than by their service, by service; ``templates``: volumes that all nodes have."""

    services: Mapping[str, Service]
    busy: Collection[str] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    templates: Collection[str] = ()

    def name(self, service_id: str) -> str:
        return self.names.get(service_id, guest_name(service_id))

    def living(self, node: str) -> Iterator[Service]:
        """Those that have to be there."""
        for service in self.services.values():
            if service.node == node and service.state == Lifecycle.ACTIVE and service.id not in self.busy:
                yield service

    def left(self, node: str, service_id: str) -> bool:
        """Whether the service goes on, and on another node, or has ended: what is there is an old copy."""
        service = self.services.get(service_id)
        if service is None or service.state not in LEAVES_COPIES:
            return False
        return service.state != Lifecycle.ACTIVE or service.node not in ("", node)

    def why_stray(self, node: str, service_id: str) -> str:
        """Why nothing of the service is to be on the node; '' = it may be."""
        service = self.services.get(service_id)
        if service_id in self.busy:
            return ""
        if service is None:
            return f"service {service_id or 'without an id'} is not in our records"
        if service.state in (Lifecycle.PROVISIONING, Lifecycle.TERMINATING):
            return ""
        if service.state != Lifecycle.ACTIVE:
            return f"service {service_id} is {service.state}"
        return "" if service.node == node else f"service {service_id} is on {service.node or 'no node'}"


def of_hypervisor(
    node: str, known: Known, *, guests: Collection[SeenGuest], volumes: Collection[SeenVolume], keys: Collection[str]
) -> tuple[Finding, ...]:
    """Everything that differs on a hypervisor, guests first. ``keys``: volumes for which the node has the key."""
    found = [*_missing_guests(node, known, guests), *_guests(node, known, guests)]
    return (*found, *_volumes(node, known, guests, volumes), *_keys(node, known, volumes, keys))


def _missing_guests(node: str, known: Known, guests: Collection[SeenGuest]) -> Iterator[Finding]:
    there = {guest.name for guest in guests if guest.service_id is not None}
    for service in known.living(node):
        name = known.name(service.id)
        if name not in there:
            todo = f"orchestrator service check {service.id}; what it had is in its backups: orchestrator restore {service.id}"
            yield _of(DriftKind.MISSING, node, name, "the guest is not there", service=service, todo=todo)


def _guests(node: str, known: Known, guests: Collection[SeenGuest]) -> Iterator[Finding]:
    for guest in guests:
        if guest.service_id is None:
            todo = f"to take it in: orchestrator node adopt {node} --guest {guest.name}"
            yield Finding(kind=DriftKind.FOREIGN, node=node, name=guest.name, says="a guest that is not ours", todo=todo)
            continue
        stray = known.why_stray(node, guest.service_id)
        service = known.services.get(guest.service_id)
        if not stray and service is not None and guest.name != known.name(service.id):
            stray = f"the guest of service {service.id} is called {known.name(service.id)}"
        if stray:
            yield _stray_guest(node, guest, stray, forgotten=service is None, elsewhere=known.left(node, guest.service_id))
        elif service is not None and service.state == Lifecycle.ACTIVE and service.id not in known.busy:
            yield from _apart(node, guest.name, service, guest.apart)
            if guest.hostile:
                yield _of(DriftKind.RECORD, node, guest.name, guest.hostile, service=service, repair=Repair.SIGN)


def _stray_guest(node: str, guest: SeenGuest, why: str, *, forgotten: bool, elsewhere: bool) -> Finding:
    todo = f"look what it is; on {node}: virsh dumpxml {guest.name}, and to remove it: virsh undefine --nvram {guest.name}"
    if elsewhere:
        todo = _tidy(guest.service_id or "", node)
    if forgotten and guest.adoptable:
        todo = f"orchestrator node adopt {node} --service {guest.service_id}"
    says = f"it carries our mark, and {why}" + (f"; {guest.hostile}" if guest.hostile else "")
    return Finding(kind=DriftKind.STRAY, node=node, name=guest.name, service_id=guest.service_id or "", says=says, todo=todo)


def _tidy(service_id: str, node: str) -> str:
    return (
        f"look that what goes on elsewhere, or its archive, is good, then: orchestrator service tidy {service_id} --left {node}"
    )


def _apart(node: str, name: str, service: Service, apart: Apart, *, limits: Repair | None = None) -> Iterator[Finding]:
    """``limits``: the job that sets the limits again, where one does."""
    look = f"orchestrator service check {service.id}"
    again = f"orchestrator service change-plan {service.id} {service.plan} --restart now --why TEXT"
    for says in apart.limits:
        mend = None if service.stopped else limits
        todo = "" if mend else look if limits else again
        yield _of(DriftKind.LIMITS, node, name, says, service=service, repair=mend, todo=todo)
    for says in apart.throttle:
        mend = None if service.stopped else Repair.LIMIT if service.limited else Repair.UNLIMIT
        yield _of(DriftKind.LIMITS, node, name, says, service=service, repair=mend, todo="" if mend else look)
    for says in apart.mail:
        yield _of(DriftKind.LIMITS, node, name, says, service=service, repair=Repair.MAIL)
    for says in apart.holds:
        # What is held there only may have been held by somebody for a good reason.
        mend = Repair.SUSPEND if service.stopped else None
        todo = "" if mend else f"if it is to run: orchestrator service unsuspend {service.id}; else set a hold: service hold"
        yield _of(DriftKind.HOLDS, node, name, says, service=service, repair=mend, todo=todo)
    for says in apart.differs:
        yield _of(DriftKind.DIFFERS, node, name, says, service=service, todo=look)


def _volumes(node: str, known: Known, guests: Collection[SeenGuest], volumes: Collection[SeenVolume]) -> Iterator[Finding]:
    ours = {path: guest for guest in guests if guest.service_id is not None for path in guest.disks}
    theirs = {path for guest in guests if guest.service_id is None for path in guest.disks}
    # What a guest that is gone had belongs to its customer, and is needed to bring it back.
    marked = {guest.service_id for guest in guests}
    lost = {service.id for service in known.living(node) if service.id not in marked}
    there = {volume.path for volume in volumes}
    pool = next((volume.path.rpartition("/")[0] for volume in volumes), "")
    for path, guest in sorted(ours.items()):
        service = known.services.get(guest.service_id or "")
        gone = bool(pool) and path.startswith(f"{pool}/") and path not in there
        if gone and service is not None and service.id not in known.busy and service.state == Lifecycle.ACTIVE:
            todo = f"what it had is in its backups: orchestrator restore {service.id}"
            yield _of(DriftKind.MISSING, node, path, f"a disk of {guest.name} is gone", service=service, todo=todo)
    yield from _kept(node, known, volumes)
    under = {volume.backing for volume in volumes if volume.backing}
    for volume in volumes:
        owner = _owner(volume.name)
        if owner is None:
            if volume.name not in known.templates and volume.path not in under and volume.path not in ours:
                says = "a disk of a guest that is not ours" if volume.path in theirs else "a volume that is not ours"
                yield Finding(kind=DriftKind.FOREIGN, node=node, name=volume.name, says=says)
        elif volume.path not in ours:
            why = "" if owner in lost else _why_volume_stray(node, known, owner, volume.name)
            if why:
                todo = (
                    f"look what it is; on {node}: qemu-img info {volume.path}, and to remove it: virsh vol-delete {volume.path}"
                )
                if known.left(node, owner):
                    todo = _tidy(owner, node)
                whose, says = owner if owner in known.services else "", f"it has a name of ours, and {why}"
                yield Finding(kind=DriftKind.STRAY, node=node, name=volume.name, service_id=whose, says=says, todo=todo)


def _kept(node: str, known: Known, volumes: Collection[SeenVolume]) -> Iterator[Finding]:
    there = {volume.name.removesuffix(_WIPING) for volume in volumes}
    for service in known.living(node):
        for each in service.kept:
            if each.node == node and each.name not in there:
                yield _of(DriftKind.MISSING, node, each.name, f"it was to be kept until {each.until:%Y-%m-%d}", service=service)


def _why_volume_stray(node: str, known: Known, owner: str, name: str) -> str:
    """Why a volume of our naming, which no guest of ours uses, is nobody's."""
    service = known.services.get(owner)
    if service is not None and service.state == Lifecycle.ARCHIVED and name.split(".")[2:3] == [_ARCHIVE]:
        return ""
    stray = known.why_stray(node, owner)
    if stray or service is None or owner in known.busy or service.state != Lifecycle.ACTIVE:
        return stray
    kept = {each.name for each in service.kept}
    return "" if name.removesuffix(_WIPING) in kept else f"no guest uses it, and service {owner} keeps nothing of that name"


def _keys(node: str, known: Known, volumes: Collection[SeenVolume], keys: Collection[str]) -> Iterator[Finding]:
    there = {volume.name.removesuffix(_WIPING) for volume in volumes}
    for name in sorted(set(keys) - there):
        owner = _owner(name)
        if owner is not None and owner not in known.busy:
            says = "a key of ours, and its volume is gone"
            service_id = owner if owner in known.services else ""
            yield Finding(
                kind=DriftKind.STRAY, node=node, name=name, service_id=service_id, says=says, todo="look for the volume"
            )


def _owner(name: str) -> str | None:
    """The service that a volume's name says; None where the name is none of ours."""
    if not name.startswith(OURS):
        return None
    return name.removeprefix(OURS).partition(".")[0]


def of_hosting(node: str, known: Known, accounts: Collection[SeenAccount]) -> tuple[Finding, ...]:
    """Everything that differs on a hosting node. What others left there is `node residue`'s to find."""
    there = {account.service_id for account in accounts}
    found = [
        _of(DriftKind.MISSING, node, service.id, "the account is not there", service=service, todo=_back(service))
        for service in known.living(node)
        if service.id not in there
    ]
    for account in accounts:
        service = known.services.get(account.service_id)
        stray = known.why_stray(node, account.service_id) if account.service_id else ""
        if not account.service_id:
            says, todo = "an account that is not ours", "to take it in: orchestrator service adopt"
            found.append(Finding(kind=DriftKind.FOREIGN, node=node, name=account.user, says=says, todo=todo))
        elif stray:
            todo = f"look what it is; what is left of it: orchestrator node residue {node}"
            says = f"it carries our mark, and {stray}"
            found.append(
                Finding(kind=DriftKind.STRAY, node=node, name=account.user, service_id=account.service_id, says=says, todo=todo)
            )
        elif service is not None and service.state == Lifecycle.ACTIVE and service.id not in known.busy:
            again = Repair.LIMIT if service.limited else Repair.UNLIMIT
            found += _apart(node, account.user, service, account.apart, limits=again)
    return tuple(found)


def _back(service: Service) -> str:
    return f"what it had is in its backups: orchestrator restore {service.id}"


def _of(
    kind: DriftKind, node: str, name: str, says: str, *, service: Service, repair: Repair | None = None, todo: str = ""
) -> Finding:
    return Finding(kind=kind, node=node, name=name, service_id=service.id, says=says, repair=repair, todo=todo)


def counts(findings: Collection[Finding]) -> dict[DriftKind, int]:
    """How many of each kind; every kind is named."""
    return {kind: sum(finding.kind == kind for finding in findings) for kind in DriftKind}
