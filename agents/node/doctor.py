"""Whether this machine has what a node needs."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from agents.node.backup_needs import needs, program, row
from agents.node.call import Call
from agents.node.hello import python
from agents.node.medium import COPY_ON_WRITE, medium
from agents.node.place import Place

Row = dict[str, Any]

_QEMU = f"qemu-system-{os.uname().machine}"

# Programs that are called on a node: what for, and the Debian package that brings each.
PROGRAMS = (
    (_QEMU, "runs the guests", "qemu-system-x86"),
    ("qemu-img", "makes the volumes", "qemu-utils"),
    ("setpriv", "lets it end with the agent", "util-linux"),
    ("virsh", "proves the host hook at enrolment", "libvirt-clients"),
    ("virt-ssh-helper", "carries libvirt's connection over SSH", "libvirt-daemon"),
    ("ssh-keygen", "verifies the agent's signature", "openssh-client"),
    ("ebtables", "filters spoofed frames (libvirt's nwfilter)", "ebtables"),
    ("iptables", "filters spoofed packets (libvirt's nwfilter)", "iptables"),
)
_SOCKETS = ("run/libvirt/libvirt-sock", "run/libvirt/virtqemud-sock")


def doctor(call: Call) -> dict[str, Any]:
    """What a node must have, each with what was found and what to do; ``accelerated``: guests run on the CPU itself.

    ``backups`` asks for what these need, too."""
    place = call.place
    accelerated = _accelerated(place)
    rows = [
        row("root", os.geteuid() == 0, f"uid {os.geteuid()}", "the agent must run as root"),
        row("python", sys.version_info >= (3, 11), python(), "install Python 3.11 or newer", "python3"),
        *(program(*each) for each in PROGRAMS),
        _libvirt(place),
        _pool(call.arguments["pool_path"]),
        _bridge(place, call.arguments["bridge"]),
        _cgroups(place),
        *(needs(place) if call.arguments["backups"] else ()),
        row("virtualisation", True, "KVM" if accelerated else "none: guests run in software emulation, slowly", ""),
    ]
    return {"requirements": rows, "accelerated": accelerated}


def _libvirt(place: Place) -> Row:
    mend = "start the libvirt daemon (systemctl enable --now libvirtd)"
    for candidate in _SOCKETS:
        path = place.root / candidate
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(5)
            try:
                probe.connect(str(path))
            except OSError:
                continue
            return row("libvirt", True, str(path), "")
    return row("libvirt", False, "no daemon answers", mend, "libvirt-daemon-system")


def _pool(path: str) -> Row:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        return row("storage pool", False, f"{path}: {exc.strerror}", "make the directory and define the pool in libvirt")
    try:
        found, space = medium(fd), os.fstatvfs(fd)
    finally:
        os.close(fd)
    text = f"{path} on {found.file_system}, {space.f_bavail * space.f_frsize // 10**6} MB free"
    if found.file_system in COPY_ON_WRITE or not found.device:
        return row(
            "storage pool", False, text, "put the pool on ext4 or xfs on a block device: nothing else can be wiped in place"
        )
    if not os.access(found.device, os.R_OK):
        text += f"; {found.device} cannot be read here, so a wipe will not be verified on the medium"
    return row("storage pool", True, text, "")


def _bridge(place: Place, name: str) -> Row:
    there = (place.root / "sys/class/net" / name / "bridge").is_dir()
    return row(
        "bridge", there, name if there else f"no bridge {name}", f"make the bridge {name} (ip link add {name} type bridge)"
    )


def _cgroups(place: Place) -> Row:
    """libvirt limits CPU time through the cpu controller."""
    unified = place.root / "sys/fs/cgroup/cgroup.controllers"
    found = unified.read_text().split() if unified.is_file() else []
    if not found and (place.root / "sys/fs/cgroup/cpu").exists():
        found = ["cpu"]
    return row("cgroup cpu controller", "cpu" in found, " ".join(found) or "none", "enable the cpu controller of cgroups")


def _accelerated(place: Place) -> bool:
    """KVM needs the CPU's flag too: the device alone opens on machines where no guest would boot."""
    try:
        flags = (place.root / "proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return (place.root / "dev/kvm").exists() and ("vmx" in flags or "svm" in flags)
