"""A machine for a service, and its addresses: taken when it is ordered, given back when its drives are proven erased."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.errors import UndoFailed, WrongState
from orchestrator.domain.machine_specs import MachineWanted
from orchestrator.domain.machines import Found, MachineState, system_mac
from orchestrator.domain.machines import MachineWanted as Placed
from orchestrator.ports.bmc import MachinePower
from orchestrator.steps.arguments import dump
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import ASK_SECONDS, BaseStep, OnNode
from orchestrator.steps.machine_bench import own_machine
from orchestrator.steps.network import AllocateArgs


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveArgs:
    machine: MachineWanted


class MachineReserve(BaseStep[ReserveArgs]):
    """Choose the machine that the service gets, and allocate it."""

    name: ClassVar[str] = "machine.reserve"
    args = ReserveArgs

    def check(self, ctx: StepContext, args: ReserveArgs) -> Done | Needed:
        standing = next(iter(ctx.ports.machines.of_service(ctx.service_id)), None)
        if standing is None or standing.record.state != MachineState.ALLOCATED:
            return Needed("no machine is allocated yet")
        facts = {"node": standing.machine.name, "zone": standing.machine.zone, "verdicts": []}
        return Done(facts, made_by=standing.record.job_id)

    def apply(self, ctx: StepContext, args: ReserveArgs) -> Facts:
        """Raises NoCapacity, with a verdict on each machine."""
        wanted = Placed(machine_class=args.machine.machine_class, zone=args.machine.zone, zones=args.machine.zones)
        placement = ctx.ports.machines.allocate(service_id=ctx.service_id, job_id=ctx.job_id, wanted=wanted)
        rows = [{"node": v.node, "fits": v.fits, "reasons": list(v.reasons)} for v in placement.verdicts]
        zone = ctx.ports.machines.machine(placement.node).machine.zone
        return {"node": placement.node, "zone": zone, "verdicts": rows}

    def undo(self, ctx: StepContext, args: ReserveArgs, facts: Mapping[str, Any]) -> None:
        """Whatever this job wrote to its drives was erased before, by the undoing of what wrote it."""
        for standing in ctx.ports.machines.of_service(ctx.service_id):
            name, record = standing.machine.name, standing.record
            if record.job_id != ctx.job_id:
                continue
            why = f"job {ctx.job_id} was undone: nothing of {ctx.service_id} was left on it"
            who: dict[str, str] = {"service_id": ctx.service_id, "job_id": ctx.job_id}
            if record.state == MachineState.ALLOCATED:
                ctx.ports.machines.move(name, MachineState.CLEANING, reason=why, **who)
            ctx.ports.machines.move(name, MachineState.AVAILABLE, reason=why, proof=why, **who)


class MachineAddresses(BaseStep[AllocateArgs]):
    """Take addresses for the service, out of the ranges of the machine's zone; the MAC is the machine's own."""

    name: ClassVar[str] = "machine.addresses"
    args = AllocateArgs

    def check(self, ctx: StepContext, args: AllocateArgs) -> Done | Needed:
        lease = ctx.ports.addresses.lease(ctx.service_id)
        if lease is None:
            return Needed("the service has no addresses yet")
        return Done(self._facts(ctx, args), made_by=lease.job_id)

    def apply(self, ctx: StepContext, args: AllocateArgs) -> Facts:
        self._mac(ctx, args)  # before anything is taken
        zone = own_machine(ctx, args.node).machine.zone
        ctx.ports.addresses.allocate(service_id=ctx.service_id, job_id=ctx.job_id, zone=zone, ipv4=args.ipv4, ipv6=args.ipv6)
        return self._facts(ctx, args)

    def undo(self, ctx: StepContext, args: AllocateArgs, facts: Mapping[str, Any]) -> None:
        """Give back what this job took, once the machine is seen off: what runs may use them."""
        lease = ctx.ports.addresses.lease(ctx.service_id)
        if lease is None or lease.job_id != ctx.job_id:
            return
        if ctx.ports.bmc(args.node).facts(deadline=ASK_SECONDS).power != MachinePower.OFF:
            raise UndoFailed(f"machine {args.node} is on: its addresses cannot be given back")
        when = ctx.ports.clock.now().isoformat(timespec="seconds")
        proof = f"job {ctx.job_id} was undone: machine {args.node} was seen off at {when}"
        ctx.ports.addresses.release(service_id=ctx.service_id, proof=proof)

    def _facts(self, ctx: StepContext, args: AllocateArgs) -> Facts:
        lease = ctx.ports.addresses.lease(ctx.service_id)
        assert lease is not None
        mac = self._mac(ctx, args)
        addresses = [*(str(i.ip) for i in lease.ipv4), *(str(i.ip) for i in lease.ipv6)]
        return {"lease": {**dump(lease), "mac": mac}, "addresses": addresses, "mac": mac}

    def _mac(self, ctx: StepContext, args: AllocateArgs) -> str:
        """The machine's own. Raises WrongState where none is declared or was found."""
        standing = own_machine(ctx, args.node)
        inspection = standing.record.inspection
        mac = system_mac(standing.machine, None if inspection is None else Found.of(inspection))
        if not mac:
            raise WrongState(
                f"by which card machine {args.node} is in the network is not known: when it was inspected none had a link",
                hint="say its macs in machines.yaml, or see to its cable and enrol it anew",
            )
        return mac


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeArgs(OnNode):
    """``proof`` names what proves that its drives were erased."""

    proof: str


class MachineFree(BaseStep[FreeArgs]):
    """Give the machine back to the pool, on the certificate of its erasure."""

    name: ClassVar[str] = "machine.free"
    args = FreeArgs

    def check(self, ctx: StepContext, args: FreeArgs) -> Done | Needed:
        record = ctx.ports.machines.machine(args.node).record
        if record.service_id == ctx.service_id:
            return Needed(f"machine {args.node} is {record.state}")
        return Done({"freed": args.node}, made_by=record.job_id)

    def apply(self, ctx: StepContext, args: FreeArgs) -> Facts:
        """Raises WrongState where it is not being cleaned, Refused without a proof."""
        ctx.ports.machines.move(
            args.node,
            MachineState.AVAILABLE,
            reason=f"it was erased after service {ctx.service_id}",
            service_id=ctx.service_id,
            job_id=ctx.job_id,
            proof=args.proof,
        )
        return {"freed": args.node}
