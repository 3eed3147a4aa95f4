"""What a node's processor and QEMU can do."""

from __future__ import annotations

from typing import Any

import libvirt

from orchestrator.drivers.libvirt.guest_xml import Machine, parse, text_of

VIRTUALISATION = frozenset({"vmx", "svm"})  # Intel's and AMD's flag
ABSENT = frozenset({"disable", "forbid"})  # policies of a flag that the processor does not have


def machine_of(conn: Any) -> Machine:
    """What the node of this connection runs guests on."""
    capabilities = conn.getCapabilities()
    return decide(capabilities, expanded_cpu=_expanded_cpu(conn, capabilities), kvm_offered=_offers_kvm(conn, capabilities))


def decide(capabilities: str, *, expanded_cpu: str, kvm_offered: bool) -> Machine:
    """KVM where QEMU offers it and the processor has the flag for it; software emulation otherwise. Pure.

    That ``/dev/kvm`` opens is not enough: on some virtual machines it does, and no ordinary kernel boots. ``expanded_cpu`` is the
    processor with every flag that libvirt's model name stands for without listing them; '' where libvirt has no model for it.
    Where the nearest model has a flag that the processor lacks, libvirt lists that flag with the policy `disable`.
    """
    host = parse(capabilities).find("host/cpu")
    listed = [host] if host is not None else []
    expanded = [parse(expanded_cpu)] if expanded_cpu else []
    features = [feature for cpu in (*listed, *expanded) for feature in cpu.findall("feature")]
    flags = {feature.get("name", "") for feature in features if feature.get("policy", "require") not in ABSENT}
    architecture = _architecture(capabilities)
    return Machine(
        accelerated=kvm_offered and bool(VIRTUALISATION & flags),
        architecture=architecture,
        machine={"aarch64": "virt"}.get(architecture, "q35"),
    )


def _architecture(capabilities: str) -> str:
    return parse(capabilities).findtext("host/cpu/arch", "x86_64")


def _offers_kvm(conn: Any, capabilities: str) -> bool:
    try:
        conn.getDomainCapabilities(None, _architecture(capabilities), None, "kvm")
    except libvirt.libvirtError:
        return False
    return True


def _expanded_cpu(conn: Any, capabilities: str) -> str:
    cpu = parse(capabilities).find("host/cpu")
    if cpu is None:
        return ""
    try:
        return str(conn.baselineCPU([text_of(cpu)], libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES))
    except libvirt.libvirtError:
        return ""


def version_text(number: int) -> str:
    """libvirt's numbers as people write them: 9000000 is 9.0.0."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
