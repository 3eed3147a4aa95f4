"""What a guest is made of on the node's pool: the template it comes from, its disk, its seed image."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from orchestrator.domain.errors import AlreadyExists, NotFound, PermanentDriverError
from orchestrator.domain.plans import Lease, volume_name
from orchestrator.domain.sizes import compared
from orchestrator.ports.volumes import VolumeFacts, VolumeSpec
from orchestrator.steps import seed
from orchestrator.steps.arguments import dump
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import ASK_SECONDS, POOL_SECONDS, BaseStep, Look, Timer

DISK = "disk"
SEED = "seed"


def disk_name(ctx: StepContext) -> str:
    return volume_name(ctx.service_id, DISK, ctx.job_id, "qcow2")


def seed_name(ctx: StepContext) -> str:
    return volume_name(ctx.service_id, SEED, ctx.job_id, "iso")


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateArgs:
    """File names in the node's pool; ``sha256`` is of the volume. Empty ``kernel`` and ``initrd``: none are used."""

    node: str
    volume: str
    sha256: str
    kernel: str = ""
    initrd: str = ""


class TemplateCheck(Look[TemplateArgs]):
    """Make sure that the template on the node is whole and the one that was declared. Makes nothing."""

    name: ClassVar[str] = "template.check"
    args = TemplateArgs
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = 300.0

    def look(self, ctx: StepContext, args: TemplateArgs) -> Facts:
        """Raises NotFound where a file is missing, PermanentDriverError where the hash is another."""
        timer = Timer(ctx)
        store = ctx.ports.volumes(args.node)
        for name in filter(None, (args.volume, args.kernel, args.initrd)):
            if store.volume(name, deadline=POOL_SECONDS) is None:
                raise NotFound(f"{name} is not in the pool of {args.node}", hint="put the template's files there")
        found = store.volume(args.volume, deadline=POOL_SECONDS)
        path = found.path if found is not None else args.volume
        answer = ctx.ports.agent(args.node).call(
            "template-check", {"path": path, "sha256": args.sha256}, deadline=timer.left(), progress=ctx.progress
        )
        if not answer["ok"]:
            raise PermanentDriverError(
                f"the template {args.volume} on {args.node} is not the declared one: its SHA-256 is {answer['sha256']}",
                hint="replace the file, or declare the new one under another name",
            )
        return {"path": path, "sha256": args.sha256}


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeArgs:
    """``template`` and ``template_format`` as declared; ``full_copy``: without a backing file."""

    node: str
    capacity_bytes: int
    template: str
    template_format: str
    full_copy: bool
    encrypted: bool


class VolumeCreate(BaseStep[VolumeArgs]):
    """Make the guest's disk. Its name carries the job, so that it is known whose it is."""

    name: ClassVar[str] = "volume.create"
    args = VolumeArgs
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = 600.0

    def check(self, ctx: StepContext, args: VolumeArgs) -> Done | Needed:
        """Raises AlreadyExists where another job's disk of this service lies in the pool: it may hold the customer's data."""
        found = ctx.ports.volumes(args.node).volumes(deadline=POOL_SECONDS)
        own = disk_name(ctx)
        for volume in found:
            if volume.name.startswith(volume_name(ctx.service_id, DISK, "", "").rstrip(".") + ".") and volume.name != own:
                raise AlreadyExists(
                    f"{args.node} holds a disk of this service that another job made: {volume.name}",
                    hint="an operator has to look",
                )
        mine = next((v for v in found if v.name == own), None)
        if mine is None:
            return Needed(f"{own} is not in the pool")
        return self.made(ctx, mine, args)

    def made(self, ctx: StepContext, mine: VolumeFacts, args: VolumeArgs) -> Done:
        """This job's disk, where it is as it was asked for; raises PermanentDriverError."""
        return Done(_facts(_fitting(mine, args)), made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: VolumeArgs) -> Facts:
        store = ctx.ports.volumes(args.node)
        spec = VolumeSpec(
            name=disk_name(ctx),
            capacity_bytes=args.capacity_bytes,
            template=args.template,
            template_format=args.template_format,
            full_copy=args.full_copy,
            encrypted=args.encrypted,
        )
        try:
            made = store.create(spec, deadline=Timer(ctx).left())
        except AlreadyExists:
            # Ours by its name: an earlier attempt of this job whose answer was lost.
            there = store.volume(spec.name, deadline=POOL_SECONDS)
            if there is None:
                raise
            made = there
        return _facts(_fitting(made, args))

    def undo(self, ctx: StepContext, args: VolumeArgs, facts: Mapping[str, Any]) -> None:
        ctx.ports.volumes(args.node).delete(disk_name(ctx), deadline=POOL_SECONDS)


def _fitting(volume: VolumeFacts, args: VolumeArgs) -> VolumeFacts:
    """The volume, where it is what was asked for; raises PermanentDriverError."""
    wrong = []
    if volume.capacity_bytes != args.capacity_bytes:
        wrong.append("it has {} instead of {}".format(*compared(volume.capacity_bytes, args.capacity_bytes)))
    if bool(volume.secret_uuid) != args.encrypted:
        wrong.append("it is encrypted" if volume.secret_uuid else "it is not encrypted")
    if args.full_copy and volume.backing_path:
        wrong.append("it depends on its template")
    if wrong:
        raise PermanentDriverError(f"the disk {volume.name} is not as asked for: {'; '.join(wrong)}")
    return volume


def _facts(volume: VolumeFacts) -> Facts:
    return {"volume": dump(volume)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedArgs:
    """``lease`` as step address.allocate gave it. ``known``: the service's facts ($facts) where the system is to stay the
    one that it was: cloud-init makes another one of whatever has a new name."""

    node: str
    hostname: str
    lease: Lease
    ssh_keys: tuple[str, ...] = ()
    password_hash: str = ""
    known: dict[str, Any] = field(default_factory=dict)


class SeedCreate(BaseStep[SeedArgs]):
    """Put the image that cloud-init reads into the pool."""

    name: ClassVar[str] = "seed.create"
    args = SeedArgs

    def check(self, ctx: StepContext, args: SeedArgs) -> Done | Needed:
        """By the hash of the whole content: a torso of the right size is none."""
        volume = ctx.ports.volumes(args.node).volume(seed_name(ctx), deadline=POOL_SECONDS)
        if volume is None:
            return Needed("the seed is not in the pool")
        wanted = hashlib.sha256(_image(ctx, args)).hexdigest()
        answer = ctx.ports.agent(args.node).call("template-check", {"path": volume.path, "sha256": wanted}, deadline=ASK_SECONDS)
        found = {**_facts(volume), "instance": _instance(ctx, args)}
        return Done(found, made_by=ctx.job_id) if answer["ok"] else Needed("the seed in the pool is another one")

    def apply(self, ctx: StepContext, args: SeedArgs) -> Facts:
        made = ctx.ports.volumes(args.node).put(seed_name(ctx), _image(ctx, args), deadline=Timer(ctx).left())
        return {**_facts(made), "instance": _instance(ctx, args)}

    def undo(self, ctx: StepContext, args: SeedArgs, facts: Mapping[str, Any]) -> None:
        ctx.ports.volumes(args.node).delete(seed_name(ctx), deadline=POOL_SECONDS)


def _instance(ctx: StepContext, args: SeedArgs) -> str:
    """By the job that installed the system. Of a seed that was made before this was noted, its name says which that was."""
    seed_known = args.known.get(SEED)
    if not isinstance(seed_known, Mapping):
        return f"{ctx.service_id}-{ctx.job_id}"
    name = str(seed_known["volume"]["name"])
    return str(seed_known.get("instance") or f"{ctx.service_id}-{name.removesuffix('.iso').rpartition('.')[2]}")


def _image(ctx: StepContext, args: SeedArgs) -> bytes:
    return seed.image(
        seed.Seed(
            instance_id=_instance(ctx, args),
            hostname=args.hostname,
            ssh_keys=args.ssh_keys,
            password_hash=args.password_hash,
            lease=args.lease,
        )
    )
