"""A guest of a node that is lost, brought up on another one: what it was, of which its hypervisor cannot be asked any more, and
the backup that its disk is made of. Nothing here touches the lost node."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.errors import TransientDriverError, WrongState
from orchestrator.domain.plans import Lease
from orchestrator.domain.specs import GuestWanted
from orchestrator.ports.hypervisor import GuestDefinition, GuestDisk, GuestMark, Power
from orchestrator.ports.volumes import VolumeFacts
from orchestrator.steps.archive import KeptArchive
from orchestrator.steps.arguments import dump
from orchestrator.steps.base import Facts, StepContext
from orchestrator.steps.common import Look, OnNode, guest_uuid, node_state
from orchestrator.steps.definition import boot_of
from orchestrator.steps.guest import signed
from orchestrator.steps.repository import Shelf, restorable
from orchestrator.steps.residue import things_on


class NodeGivenUp(Look[OnNode]):
    """Make sure that an operator's statement stands that the node is lost: else two copies of the guest could run."""

    name: ClassVar[str] = "node.given-up"
    args = OnNode

    def look(self, ctx: StepContext, args: OnNode) -> Facts:
        """Raises WrongState where none does."""
        lost = node_state(ctx, args.node).lost
        if lost is None:
            raise WrongState(
                f"{args.node} is not lost (any more): {ctx.service_id} is not restored elsewhere", hint="service move"
            )
        return {"statement": lost.statement, "left": args.node}


class NodeLeft(Look[OnNode]):
    """Make sure that the service is not on the node, nor about to be: what is there of it is an old copy. Makes nothing."""

    name: ClassVar[str] = "node.left"
    args = OnNode

    def look(self, ctx: StepContext, args: OnNode) -> Facts:
        """Raises WrongState where it is."""
        promised = (ctx.ports.ledger.reservation(ctx.service_id, moving=moving) for moving in (False, True))
        if any(each is not None and each.node == args.node for each in promised):
            raise WrongState(f"{ctx.service_id} is on {args.node}: what is there is no old copy of it")
        return {"left": args.node}


class NodeNoneLeft(Look[OnNode]):
    """Make sure that no other node has an old copy of the service: once what it runs on is wiped, nothing could take that away
    any more, and no proof could be had. One that does not answer just now is asked for the proof. Makes nothing."""

    name: ClassVar[str] = "node.none-left"
    args = OnNode

    def look(self, ctx: StepContext, args: OnNode) -> Facts:
        """Raises WrongState where one does."""
        lost = {state.node.name for state in ctx.ports.ledger.nodes() if state.lost is not None}
        others = [node for node in ctx.ports.ledger.nodes_ever(ctx.service_id) if node != args.node and node not in lost]
        for node in others:
            with suppress(TransientDriverError):
                if there := things_on(ctx, node):
                    raise WrongState(
                        f"an old copy of {ctx.service_id} is on {node}: {', '.join(there)[:500]}",
                        hint=f"orchestrator service tidy {ctx.service_id} --left {node}, then end it",
                    )
        return {"looked_at": others}


@dataclass(frozen=True, slots=True, kw_only=True)
class FindArgs:
    """``backup``: its id; ``left``: the node that it was made on; ``disk``: the service's disk there."""

    backup: str
    left: str
    disk: VolumeFacts


class BackupFind(Look[FindArgs]):
    """Look the backup up that is to be brought back, and since when what was written is lost with it. Makes nothing."""

    name: ClassVar[str] = "backup.find"
    args = FindArgs

    def look(self, ctx: StepContext, args: FindArgs) -> Facts:
        """Raises NotFound, and WrongState where it does not count any more."""
        found = restorable(ctx, args.backup)
        made = found.made_at or found.begun_at
        archive = KeptArchive(
            id=found.id,
            node=args.left,
            job=found.job_id,
            target=Shelf(ctx, args.left).generation(found.generation).target,
            generation=found.generation,
            snapshot=found.snapshot_id,
            backup=found.id,
            disk=args.disk.name,
            bytes=found.size_bytes,
            kept_at=made,
        )
        return {"archive": dump(archive), "backup": found.id, "lost_since": made.isoformat()}


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildArgs:
    """``old``: the disk that it had; ``lease`` as address.allocate gave it; ``digest`` of the spec, to be signed; ``known``: the
    service's facts ($facts)."""

    guest: GuestWanted
    old: VolumeFacts
    lease: Lease
    digest: str
    known: dict[str, Any]


class GuestRebuild(Look[RebuildArgs]):
    """Write down how the guest is to be defined, from what was sold and what our jobs recorded: the same name, uuid, MAC and
    addresses, held if a hold stops it now. Makes nothing."""

    name: ClassVar[str] = "guest.rebuild"
    args = RebuildArgs

    def look(self, ctx: StepContext, args: RebuildArgs) -> Facts:
        holds = ctx.ports.fence.stopped(service_id=ctx.service_id)
        boot = boot_of(args.known)
        mark = GuestMark(
            service_id=ctx.service_id,
            job_id=ctx.job_id,
            spec_digest=args.digest,
            spec_signature=signed(ctx, args.digest),
            holds=tuple(sorted(holds)),
            **(_before(args.known) if holds else {}),
        )
        guest = args.guest
        disk = GuestDisk(
            path=args.old.path,
            format=args.old.format,
            capacity_bytes=args.old.capacity_bytes,
            secret_uuid=args.old.secret_uuid,
            bytes_per_second=guest.disk_bytes_per_second,
            iops=guest.disk_iops,
        )
        definition = GuestDefinition(
            name=ctx.guest,
            uuid=_uuid(ctx, args.known),
            mark=mark,
            vcpus=guest.vcpus,
            memory_bytes=guest.memory_bytes,
            cpu_percent=guest.cpu_percent,
            disks=(disk,),
            bridge="",
            lease=args.lease,
            network_bytes_per_second=guest.network_bytes_per_second,
            kernel_arguments=str(boot.get("kernel_arguments", "")),
            agent=bool(boot.get("agent", True)),
            vcpus_most=guest.vcpus_most,
            mail_out=bool(guest.mail_out),
        )
        return {"definition": dump(definition), "ran": not holds, "autostart": not holds}


def _before(known: Mapping[str, Any]) -> dict[str, Any]:
    """How the held guest was before it was held, as the suspension recorded it: so it is again when nothing holds it any more."""
    held = known.get("hold")
    noted = held if isinstance(held, Mapping) else {}
    power = Power(noted.get("power_before") or Power.RUNNING)
    return {"power_before": power, "autostart_before": bool(noted.get("autostart_before", True))}


def _uuid(ctx: StepContext, known: Mapping[str, Any]) -> str:
    """The one that it was made with, as our jobs recorded it beside how it boots."""
    made = (each for each in known.values() if isinstance(each, Mapping) and isinstance(each.get("boot"), Mapping))
    return next((str(each["uuid"]) for each in made if each.get("uuid")), "") or guest_uuid(ctx)
