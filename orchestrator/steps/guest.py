"""The guest itself: defining it, waiting until it is up, and reading back that it is what was sold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.errors import AlreadyExists, NotFound, PermanentDriverError, StepFailed, Stopped, TransientDriverError
from orchestrator.domain.plans import Lease, Template, guest_name
from orchestrator.domain.specs import GuestWanted
from orchestrator.ports.hypervisor import GuestDefinition, GuestDisk, GuestMark, Power
from orchestrator.ports.volumes import VolumeFacts
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import (
    ASK_SECONDS,
    POOL_SECONDS,
    RUNS,
    BaseStep,
    Timer,
    guest_uuid,
    node_state,
    own_guest,
    present_guest,
    put_down,
)
from orchestrator.steps.compare import Expected, differences
from orchestrator.steps.storage import seed_name

SSH_PORT = 22
POLL_SECONDS = 1.0
BANNER_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DefineArgs:
    """``volume`` as volume.create gave it, ``lease`` as address.allocate did; ``digest`` of the spec, to be signed."""

    node: str
    guest: GuestWanted
    template: Template
    volume: VolumeFacts
    lease: Lease
    digest: str


class GuestDefine(BaseStep[DefineArgs]):
    """Define the guest with all its limits, its filter, and the signed digest of what was sold."""

    name: ClassVar[str] = "guest.define"
    args = DefineArgs

    def check(self, ctx: StepContext, args: DefineArgs) -> Done | Needed:
        """Raises AlreadyExists where the name is somebody else's, or this service's by another job."""
        facts = own_guest(ctx, args.node)
        if facts is None or facts.mark is None:
            return Needed(f"{guest_name(ctx.service_id)} is not defined on {args.node}")
        if facts.mark.job_id != ctx.job_id:
            raise AlreadyExists(
                f"{facts.name} on {args.node} was made by job {facts.mark.job_id}: it is left alone",
                hint="an operator has to look",
            )
        if facts.mark.spec_digest != args.digest:
            return Needed("it is defined after another spec")
        return Done(_facts(_definition(ctx, args)), made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: DefineArgs) -> Facts:
        definition = _definition(ctx, args)
        ctx.ports.hypervisor(args.node).define(definition, deadline=Timer(ctx).left())
        return _facts(definition)

    def undo(self, ctx: StepContext, args: DefineArgs, facts: Mapping[str, Any]) -> None:
        """Only a guest whose mark carries this job: nothing of the customer's is in one that was never handed over."""
        found = own_guest(ctx, args.node)
        if found is None or found.mark is None or found.mark.job_id != ctx.job_id:
            return
        hypervisor = ctx.ports.hypervisor(args.node)
        put_down(hypervisor, found, grace_seconds=0, seconds=ASK_SECONDS)
        hypervisor.undefine(found.name, deadline=ASK_SECONDS)


def _facts(definition: GuestDefinition) -> Facts:
    """``boot``: what the hypervisor does not tell and bringing the guest back would need."""
    boot = {
        "kernel": definition.kernel,
        "initrd": definition.initrd,
        "kernel_arguments": definition.kernel_arguments,
        "agent": definition.agent,
    }
    return {"guest": definition.name, "uuid": definition.uuid, "boot": boot}


def _definition(ctx: StepContext, args: DefineArgs) -> GuestDefinition:
    mark = GuestMark(
        service_id=ctx.service_id, job_id=ctx.job_id, spec_digest=args.digest, spec_signature=signed(ctx, args.digest)
    )
    return GuestDefinition(
        name=guest_name(ctx.service_id),
        uuid=guest_uuid(ctx),
        mark=mark,
        vcpus=args.guest.vcpus,
        memory_bytes=args.guest.memory_bytes,
        cpu_percent=args.guest.cpu_percent,
        disks=_disks(ctx, args),
        bridge=node_state(ctx, args.node).node.bridge,
        lease=args.lease,
        network_bytes_per_second=args.guest.network_bytes_per_second,
        kernel=pool_path(ctx, args.node, args.template.kernel),
        initrd=pool_path(ctx, args.node, args.template.initrd),
        kernel_arguments=args.template.kernel_arguments,
        agent=args.template.agent,
        vcpus_most=args.guest.vcpus_most,
        mail_out=bool(args.guest.mail_out),
    )


def _disks(ctx: StepContext, args: DefineArgs) -> tuple[GuestDisk, ...]:
    disk = GuestDisk(
        path=args.volume.path,
        format=args.volume.format,
        capacity_bytes=args.volume.capacity_bytes,
        secret_uuid=args.volume.secret_uuid,
        bytes_per_second=args.guest.disk_bytes_per_second,
        iops=args.guest.disk_iops,
    )
    if not args.template.cloud_init:
        return (disk,)
    return (disk, seed_disk(ctx, args.node))


def seed_disk(ctx: StepContext, node: str) -> GuestDisk:
    """This job's seed as the guest has it. A virtio disk, not a CD: cloud kernels have virtio, and not always what a CD drive
    hangs on."""
    image = in_pool(ctx, node, seed_name(ctx))
    return GuestDisk(path=image.path, format="raw", target="vdb", capacity_bytes=image.capacity_bytes, read_only=True)


def signed(ctx: StepContext, digest: str) -> str:
    """The controller's signature of a spec's digest, as a mark carries it."""
    signature = ctx.ports.secrets.sign(digest.encode("ascii"))
    return f"{signature.key_id}:{signature.value}"


def in_pool(ctx: StepContext, node: str, name: str) -> VolumeFacts:
    """The volume of that name in the node's pool; raises NotFound."""
    volume = ctx.ports.volumes(node).volume(name, deadline=POOL_SECONDS)
    if volume is None:
        raise NotFound(f"{name} is not in the pool of {node}")
    return volume


def pool_path(ctx: StepContext, node: str, name: str) -> str:
    """The absolute path of a file in the node's pool, '' for no name; raises NotFound."""
    return in_pool(ctx, node, name).path if name else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitArgs:
    """``ready``: what shows that the guest is up: "agent", "ssh" (a banner on any of ``addresses``) or "running"."""

    node: str
    ready: str
    addresses: tuple[str, ...] = ()


class GuestWait(BaseStep[WaitArgs]):
    """Wait until the guest's agent or its SSH server answers. Makes nothing."""

    name: ClassVar[str] = "guest.wait"
    args = WaitArgs
    # Under software emulation a Debian guest is up in 30 to 60 s, more on a busy node.
    deadline_seconds: ClassVar[float] = 300.0
    attempts: ClassVar[int] = 1

    def check(self, ctx: StepContext, args: WaitArgs) -> Done | Needed:
        how = _answers(ctx, args)
        return Done({"ready": how}) if how else Needed("the guest does not answer yet")

    def apply(self, ctx: StepContext, args: WaitArgs) -> Facts:
        """Raises PermanentDriverError where it stops running meanwhile, TransientDriverError when the time is over."""
        timer = Timer(ctx)
        while not timer.over:
            if ctx.stopping():
                raise Stopped("the job was asked to stop while it waited for the guest")
            how = _answers(ctx, args)
            if how:
                return {"ready": how}
            ctx.progress(timer.fraction, f"the guest is starting, waiting for {args.ready}")
            ctx.ports.clock.sleep(POLL_SECONDS)
        raise TransientDriverError(f"the guest did not answer within {ctx.deadline:g} s ({args.ready})", retry_after=30.0)


def _answers(ctx: StepContext, args: WaitArgs) -> str:
    """How the guest showed that it is up, '' = not yet."""
    facts, _ = present_guest(ctx, args.node)
    if facts.power not in RUNS:
        raise PermanentDriverError(
            f"{facts.name} does not run any more: it is {facts.power}", hint="see its console log on the node"
        )
    if args.ready == "running":
        return "running"
    if args.ready == "agent":
        answered = ctx.ports.hypervisor(args.node).agent_ping(facts.name, deadline=BANNER_SECONDS)
        return "agent" if answered else ""
    if args.ready != "ssh":
        raise StepFailed(f"a guest cannot show by {args.ready!r} that it is up", hint="agent, ssh or running")
    for address in args.addresses:
        banner = ctx.ports.reach.banner(address, SSH_PORT, deadline=BANNER_SECONDS)
        if banner.startswith("SSH-"):
            return f"ssh {address}: {banner}"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyArgs:
    """What the guest is to be; the same values that defined it. ``autostart`` and running are asked for too. ``limited``: a hold
    throttles it."""

    node: str
    guest: GuestWanted
    volume: VolumeFacts
    lease: Lease
    digest: str
    limited: bool = False


class GuestVerify(BaseStep[VerifyArgs]):
    """Read the guest back from the hypervisor and compare it with what was sold. Makes nothing."""

    name: ClassVar[str] = "guest.verify"
    args = VerifyArgs

    def check(self, ctx: StepContext, args: VerifyArgs) -> Done | Needed:
        facts, _ = present_guest(ctx, args.node)
        expected = Expected(
            guest=args.guest,
            lease=args.lease,
            digest=args.digest,
            disk_path=args.volume.path,
            bridge=node_state(ctx, args.node).node.bridge,
            limited=args.limited,
        )
        wrong = differences(ctx, facts, expected)
        if facts.power != Power.RUNNING:
            wrong.append(f"it is {facts.power}, not running")
        if not facts.autostart:
            wrong.append("it would not start with its host")
        if wrong:
            return Needed("; ".join(wrong))
        addresses = [*(str(i.ip) for i in args.lease.ipv4), *(str(i.ip) for i in args.lease.ipv6)]
        return Done({"verified": {"vcpus": facts.vcpus, "memory_bytes": facts.memory_bytes, "addresses": addresses}})

    def apply(self, ctx: StepContext, args: VerifyArgs) -> Facts:
        """Nothing can be done about a difference here: PermanentDriverError, naming each."""
        found = self.check(ctx, args)
        if isinstance(found, Needed):
            raise PermanentDriverError(f"the guest is not what was sold: {found.why}")
        return found.facts
