"""Hypervisors driven through libvirt; the only importer of its binding."""

from orchestrator.drivers.libvirt.access import LibvirtAccess
from orchestrator.drivers.libvirt.connection import Connection
from orchestrator.drivers.libvirt.consoles import LibvirtConsoles
from orchestrator.drivers.libvirt.hypervisor import LibvirtHypervisor
from orchestrator.drivers.libvirt.sizes import LibvirtSizes
from orchestrator.drivers.libvirt.uri import ssh_uri, write_wrapper
from orchestrator.drivers.libvirt.volumes import LibvirtVolumes

__all__ = [
    "Connection",
    "LibvirtAccess",
    "LibvirtConsoles",
    "LibvirtHypervisor",
    "LibvirtSizes",
    "LibvirtVolumes",
    "ssh_uri",
    "write_wrapper",
]
