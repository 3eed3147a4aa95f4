"""A guest that is there, as it would be defined again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.ports.hypervisor import GuestDefinition, GuestFacts
from orchestrator.steps.base import StepContext
from orchestrator.steps.common import node_state


def definition_of(ctx: StepContext, facts: GuestFacts, node: str, known: Mapping[str, Any]) -> GuestDefinition | None:
    """The guest as it is defined now. None where it has no addresses any more: such a one is not brought back.

    What it boots with is not told by the hypervisor: that is as step guest.define recorded it. ``known``: the service's facts.
    """
    lease = ctx.ports.addresses.lease(ctx.service_id)
    if lease is None or facts.mark is None:
        return None
    boot = boot_of(known)
    return GuestDefinition(
        name=facts.name,
        uuid=facts.uuid,
        mark=facts.mark,
        vcpus=facts.vcpus_at_start,
        memory_bytes=facts.memory_at_start,
        cpu_percent=facts.cpu_percent or 100,
        disks=facts.disks,
        bridge=facts.bridge or node_state(ctx, node).node.bridge,
        lease=lease,
        network_bytes_per_second=facts.network_bytes_per_second,
        kernel=str(boot.get("kernel", "")),
        initrd=str(boot.get("initrd", "")),
        kernel_arguments=str(boot.get("kernel_arguments", "")),
        agent=bool(boot.get("agent", True)),
        mail_out=facts.mail_out_at_start,
        vcpus_most=facts.vcpus_most if facts.vcpus_most > facts.vcpus_at_start else 0,
    )


def boot_of(known: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the guest boots with, as the step recorded it that defined it last."""
    found: Mapping[str, Any] = next(
        (g["boot"] for g in known.values() if isinstance(g, Mapping) and isinstance(g.get("boot"), Mapping)), {}
    )
    return found
