"""What a node's processor and QEMU can do."""

from __future__ import annotations

from typing import Any

import libvirt

from orchestrator.drivers.libvirt.guest_xml import Machine, parse, text_of

VIRTUALISATION = frozenset({"vmx", "svm"})  # Intel's and AMD's flag


def machine_of(conn: Any) -> Machine:
    """KVM where QEMU offers it and the processor has the flag for it; software emulation otherwise.

    That ``/dev/kvm`` opens is not enough: on some virtual machines it does, and no ordinary kernel boots.
    """
    host = parse(conn.getCapabilities())
    architecture = host.findtext("host/cpu/arch", "x86_64")
    accelerated = _offers_kvm(conn, architecture) and bool(VIRTUALISATION & _cpu_flags(conn))
    machine = {"x86_64": "q35", "aarch64": "virt"}.get(architecture, "q35")
    return Machine(accelerated=accelerated, architecture=architecture, machine=machine)


def _offers_kvm(conn: Any, architecture: str) -> bool:
    try:
        conn.getDomainCapabilities(None, architecture, None, "kvm")
    except libvirt.libvirtError:
        return False
    return True


def _cpu_flags(conn: Any) -> frozenset[str]:
    """Every flag of the host's processor, also those that libvirt's model name stands for without listing them."""
    cpu = parse(conn.getCapabilities()).find("host/cpu")
    if cpu is None:
        return frozenset()
    try:
        whole = parse(conn.baselineCPU([text_of(cpu)], libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES))
    except libvirt.libvirtError:
        whole = cpu  # a processor that libvirt has no model for: what it lists is all that is known
    return frozenset(feature.get("name", "") for root in (cpu, whole) for feature in root.findall("feature"))


def version_text(number: int) -> str:
    """libvirt's numbers as people write them: 9000000 is 9.0.0."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
