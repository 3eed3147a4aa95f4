"""Guests that a node has come into the store: those whose records were lost with it, by what they carry, and those that were
there before us, by what an operator says. Nothing is restarted, and of a guest nothing is changed but our metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Any

from orchestrator.domain import specs, wanted
from orchestrator.domain.addresses import range_with
from orchestrator.domain.errors import AlreadyExists, NotFound, OrchestratorError, Refused, RequestError, WrongState
from orchestrator.domain.guards import Wait, WaitReason, joined
from orchestrator.domain.guest_records import ADOPTED, GuestRecord, carried, with_holds
from orchestrator.domain.placement import Reservation
from orchestrator.domain.plans import GuestPlan, Lease, Node, NodeKind
from orchestrator.domain.services import SERVICE_ID, Lifecycle, Service
from orchestrator.engine.acts import Works
from orchestrator.engine.records import Records
from orchestrator.engine.settings import Catalog
from orchestrator.engine.waits import tell
from orchestrator.ports.hypervisor import GuestDisk, GuestFacts, GuestMark
from orchestrator.ports.volumes import VolumeFacts
from orchestrator.steps.arguments import dump
from orchestrator.steps.common import ASK_SECONDS, POOL_SECONDS
from orchestrator.steps.compare import Expected, limits_apart, mail_apart
from orchestrator.store import audit, services, settings
from orchestrator.store.database import Connection
from orchestrator.store.taking_in import TakenIn, take_in

KNOWN = "it is in our records already"
RULE = "what a guest carries"


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    """A guest as an operator takes it in. ``addresses``: those that it has; ``template``: what it would be installed from
    anew, '' = its plan's own."""

    guest: str
    service_id: str
    plan: str
    client_id: str
    addresses: tuple[str, ...] = ()
    template: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of one guest. ``done``: it is in the store now, or would be; ``says``: why not; ``remarks``: what is not as
    sold; ``disks``: its files on the node, which nothing touches."""

    guest: str
    service_id: str
    done: bool
    says: str = ""
    remarks: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()


class TakingIn:
    """One transaction a service. What is cut off in between is taken up by the same command."""

    def __init__(self, works: Works, catalog: Catalog, records: Records) -> None:
        self._works = works
        self._catalog = catalog
        self._records = records

    def rebuild(self, node: str, wanted_services: Sequence[str] = (), *, who: str, dry: bool = False) -> tuple[Taken, ...]:
        """Write the records again of all guests of the node that carry theirs, or of these services. Raises NotFound, WrongState,
        Refused where a service that is named is not taken, and what the node raises; then those before it are taken."""
        self._hypervisor(node)
        guests = self._works.ports.hypervisor(node).guests(deadline=ASK_SECONDS)
        marked = [(guest.mark.service_id, guest) for guest in guests if guest.mark is not None]
        for service_id in wanted_services:
            if service_id not in dict(marked):
                raise NotFound(f"no guest on {node} carries the mark of service {service_id}")
        found = tuple(
            self._rebuilt(node, guest, who=who, dry=dry)
            for service_id, guest in marked
            if not wanted_services or service_id in wanted_services
        )
        taken = {each.service_id for each in found if each.done}
        refused = [f"{each.service_id}: {each.says}" for each in found if each.service_id not in taken]
        if wanted_services and refused:
            raise Refused(f"not taken in: {'; '.join(refused)}", rule=RULE)
        return found

    def adopt(self, node: str, newcomer: Newcomer, *, who: str, dry: bool = False) -> Taken:
        """Take in a guest that was there before us. Raises RequestError, NotFound, WrongState, AlreadyExists."""
        declared, plan = self._hypervisor(node), self._plan(newcomer)
        facts = self._works.ports.hypervisor(node).guest(newcomer.guest, deadline=ASK_SECONDS)
        if facts is None:
            raise NotFound(f"there is no guest {newcomer.guest} on {node}")
        self._may_be_taken(newcomer, facts)
        now = self._works.clock.now()
        service = Service(
            id=newcomer.service_id,
            client_id=newcomer.client_id,
            plan=plan.name,
            template=newcomer.template,
            zone=declared.zone,
            state=Lifecycle.ACTIVE,
            created_at=now,
            activated_at=now,
            node=node,
        )
        if facts.mark is not None:  # whoever was held stays so
            service = with_holds(service, facts.mark.holds, facts.mark.limits, who=who, now=now)
        lease = self._lease(newcomer, facts)
        spec = specs.guest_spec(service, plan, wanted.template_of(service, plan, self._catalog.templates))
        expected = Expected(guest=specs.wanted(spec), lease=lease, disk_path="", bridge=declared.bridge)
        taken = TakenIn(
            service=service,
            node=node,
            facts=self._facts(node, facts, who=who, now=now),
            lease=lease,
            reservation=_promised(facts, service.id, node, lease.job_id),
        )
        done = Taken(
            guest=facts.name,
            service_id=service.id,
            done=True,
            remarks=(*limits_apart(facts, expected), *mail_apart(facts, expected)),
            disks=tuple(disk.path for disk in facts.disks if disk.path),
        )
        told = {"guest": facts.name, "from": "an operator", "disks": list(done.disks)}
        self._write(taken, who=who, facts=told, only_try=True)
        if not dry:
            self._tag(node, facts, taken, digest=specs.to_json(spec)["digest"])
            self._write(taken, who=who, facts=told)
        return done

    # -- by what a guest carries ---------------------------------------------------------------------------------------------

    def _rebuilt(self, node: str, guest: GuestFacts, *, who: str, dry: bool) -> Taken:
        assert guest.mark is not None
        service_id = guest.mark.service_id
        disks = tuple(disk.path for disk in guest.disks if disk.path)
        said = Taken(guest=guest.name, service_id=service_id, done=False, disks=disks)
        with self._works.db.read() as conn:
            if services.get(conn, service_id) is not None:
                return replace(said, says=KNOWN)
        record, hostile = self._records.read(node, guest)
        if record is None:
            return replace(
                said, says=hostile or f"it carries no record: node adopt {node} --guest {guest.name} --plan … takes it in"
            )
        if record.service.id != service_id:
            return replace(said, says=f"its record is that of {record.service.id}, and its mark says {service_id}")
        now = self._works.clock.now()
        # The mark may be newer than the record.
        back = with_holds(record.service, guest.mark.holds, guest.mark.limits, who=who, now=now)
        remarks = () if back.plan in self._catalog.plans else (f"its plan {back.plan} is not sold any more",)
        try:
            told = {"guest": guest.name, "from": "its signed record"}
            self._write(_taken(record, back), who=who, facts=told, only_try=dry, waits=True)
        except OrchestratorError as exc:
            return replace(said, says=str(exc))
        return replace(said, done=True, remarks=remarks)

    # -- by what an operator says --------------------------------------------------------------------------------------------

    def _hypervisor(self, node: str) -> Node:
        declared = next((each for each in self._catalog.nodes if each.name == node), None)
        if declared is None:
            raise NotFound("there is no node of that name in nodes.yaml", hint="`orchestrator node list` shows all of them")
        if declared.kind != NodeKind.HYPERVISOR:
            hint = "what lives on a hosting node is taken into an account: orchestrator service adopt"
            raise WrongState(f"{node} is a hosting node, and has no guests", hint=hint)
        return declared

    def _plan(self, newcomer: Newcomer) -> GuestPlan:
        if not SERVICE_ID.fullmatch(newcomer.service_id):
            raise RequestError(f"{newcomer.service_id!r} is no service id", hint=f"as in {SERVICE_ID.pattern}")
        plan = self._catalog.plans.get(newcomer.plan)
        if plan is None:
            raise NotFound(f"there is no plan {newcomer.plan}", hint="`orchestrator plan list` shows all of them")
        if not isinstance(plan, GuestPlan):
            raise RequestError(f"plan {newcomer.plan} is not one of guests")
        return plan

    def _may_be_taken(self, newcomer: Newcomer, facts: GuestFacts) -> None:
        mark = facts.mark
        # One that was cut off half way carries the mark already, and goes on.
        if mark is not None and mark.service_id != newcomer.service_id:
            raise AlreadyExists(f"{facts.name} carries our mark, of service {mark.service_id}", hint="orchestrator drift")
        if not facts.mac:
            raise WrongState(f"{facts.name} has no network interface: it would have no MAC that is its own")
        with self._works.db.read() as conn:
            if services.get(conn, newcomer.service_id) is not None:
                hint = f"orchestrator service show {newcomer.service_id}"
                raise AlreadyExists(f"service {newcomer.service_id} is in our records already", hint=hint)

    def _lease(self, newcomer: Newcomer, facts: GuestFacts) -> Lease:
        v4: list[IPv4Interface] = []
        v6: list[IPv6Interface] = []
        for text in newcomer.addresses:
            try:
                address = ip_interface(text).ip
            except ValueError:
                raise RequestError(f"{text!r} is no address") from None
            range_ = range_with(self._catalog.ranges, address)
            length = address.max_prefixlen if range_ is None else range_.network.prefixlen
            one = ip_interface(f"{address}/{length}")
            (v4 if isinstance(one, IPv4Interface) else v6).append(one)  # type: ignore[arg-type]  # each family goes to its own
        job = _by(newcomer.service_id)
        return Lease(service_id=newcomer.service_id, job_id=job, mac=facts.mac.lower(), ipv4=tuple(v4), ipv6=tuple(v6))

    def _facts(self, node: str, facts: GuestFacts, *, who: str, now: datetime) -> dict[str, Any]:
        """What its making would have left: each of its disks, so that a wipe finds them, and its name."""
        there = {volume.path: volume for volume in self._works.ports.volumes(node).volumes(deadline=POOL_SECONDS)}
        found: dict[str, Any] = {ADOPTED: {"guest": facts.name, "by": who, "at": now.isoformat(timespec="seconds")}}
        disks = [disk for disk in facts.disks if disk.path and not disk.read_only and not disk.cdrom]
        for number, disk in enumerate(disks):
            volume = there.get(disk.path, _volume(disk))
            found["disk" if number == 0 else f"disk-{number + 1}"] = {"volume": dump(volume)}
        return found

    def _tag(self, node: str, facts: GuestFacts, taken: TakenIn, *, digest: str) -> None:
        """First the record, then the mark: a guest with our mark carries all that is needed to take it in."""
        signature = self._works.ports.secrets.sign(digest.encode("ascii"))
        standing = facts.mark or GuestMark(service_id=taken.service.id, job_id=_by(taken.service.id))
        mark = replace(standing, spec_digest=digest, spec_signature=f"{signature.key_id}:{signature.value}")
        record = GuestRecord(
            node=node,
            guest=facts.name,
            uuid=facts.uuid,
            service=carried(taken.service),
            policy=self._catalog.policy_of(taken.service).name,
            lease=taken.lease,
            reservation=taken.reservation,
            facts=taken.facts,
        )
        self._records.put(node, facts, self._records.sign(record))
        self._works.at("node-adopt/record/after")
        self._works.ports.hypervisor(node).mark(facts.name, mark, autostart=facts.autostart, deadline=ASK_SECONDS)
        self._works.at("node-adopt/mark/after")

    def _write(self, taken: TakenIn, *, who: str, facts: dict[str, Any], only_try: bool = False, waits: bool = False) -> None:
        """In one transaction. ``only_try``: what would keep it from being written is raised, and nothing is. ``waits``: no
        deadline terminates anything until somebody made sure of what was paid."""
        now = self._works.clock.now()
        with suppress(_OnlyTried), self._works.db.write() as conn:
            take_in(conn, taken, ranges=self._catalog.ranges, now=now)
            if only_try:
                raise _OnlyTried
            told = {**facts, "node": taken.node}
            audit.append(conn, at=now, who=who, what="guest taken in", service_id=taken.service.id, facts=told)
            if waits:
                _wait(conn, now=now)
        if not only_try:
            self._works.at("node-adopt/store/after")


class _OnlyTried(Exception):
    """Undoes the transaction of a dry run."""


def _wait(conn: Connection, *, now: datetime) -> None:
    standing = settings.waits(conn)
    if WaitReason.RESTORED not in standing:
        why = "records came from what the guests carry: what was paid or lifted since they were written is not known"
        wait = Wait(reason=WaitReason.RESTORED, why=why, since=now)
        settings.put_waits(conn, joined(standing, [wait]).values(), now=now)
        tell(conn, wait, now=now)


def _by(service_id: str) -> str:
    """In the place of the job that would have made it."""
    return f"adopt-{service_id}"


def _promised(facts: GuestFacts, service_id: str, node: str, job_id: str) -> Reservation:
    """What it has: that is what is not there for others."""
    return Reservation(
        service_id=service_id,
        job_id=job_id,
        node=node,
        vcpus=facts.vcpus,
        memory_bytes=facts.memory_bytes,
        disk_bytes=sum(disk.capacity_bytes for disk in facts.disks if not disk.read_only and not disk.cdrom),
    )


def _volume(disk: GuestDisk) -> VolumeFacts:
    """A disk that lies beside the pool."""
    return VolumeFacts(
        name=disk.path.rpartition("/")[2],
        path=disk.path,
        format=disk.format,
        capacity_bytes=disk.capacity_bytes,
        allocated_bytes=0,
        secret_uuid=disk.secret_uuid,
    )


def _taken(record: GuestRecord, service: Service) -> TakenIn:
    return TakenIn(service=service, node=record.node, facts=record.facts, lease=record.lease, reservation=record.reservation)
