"""Control groups of the lab's own, on version 1 (split hierarchies), version 2, and both at once.

libvirt creates its groups at the top of what it sees. So the lab gets one group per hierarchy, and the processes inside see that
group as the top (a cgroup namespace): nothing is left in the machine's own tree, and `cputune` works without systemd-machined.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
WANTED = ("cpu", "cpuset", "io", "memory", "pids")
LEAF = "init"


@dataclass(frozen=True)
class Hierarchy:
    """One mounted hierarchy of control groups."""

    mountpoint: Path
    options: str
    unified: bool


def hierarchies(mounts: str) -> tuple[Hierarchy, ...]:
    """The hierarchies in the text of /proc/self/mounts (proc(5)), in the order they are mounted."""
    found = []
    for line in mounts.splitlines():
        _source, target, kind, options = line.split()[:4]
        if kind in {"cgroup", "cgroup2"} and Path(target).is_relative_to(ROOT):
            keep = ",".join(
                o for o in options.split(",") if o not in {"rw", "ro", "relatime", "nosuid", "nodev", "noexec", "nsdelegate"}
            )
            found.append(Hierarchy(mountpoint=Path(target), options=keep, unified=kind == "cgroup2"))
    return tuple(found)


def create(name: str, found: Iterable[Hierarchy]) -> tuple[Path, ...]:
    """Make the group `name` at the top of each hierarchy. Raises OSError where the machine does not allow it."""
    return tuple(_create_unified(h, name) if h.unified else _create_split(h, name) for h in found)


def _create_unified(hierarchy: Hierarchy, name: str) -> Path:
    _enable_controllers(hierarchy.mountpoint)
    group = hierarchy.mountpoint / name
    group.mkdir()
    (group / LEAF).mkdir()
    return group


def _create_split(hierarchy: Hierarchy, name: str) -> Path:
    group = hierarchy.mountpoint / name
    group.mkdir()
    for setting in ("cpuset.cpus", "cpuset.mems"):  # empty in a new group, and then no process may enter
        if (group / setting).exists():
            (group / setting).write_text((hierarchy.mountpoint / setting).read_text())
    return group


def _enable_controllers(group: Path) -> None:
    """Hand the wanted controllers down to the children of `group`; those that the kernel lacks are passed over."""
    offered = (group / "cgroup.controllers").read_text().split()
    active = (group / "cgroup.subtree_control").read_text().split()
    for controller in WANTED:
        if controller in offered and controller not in active:
            (group / "cgroup.subtree_control").write_text(f"+{controller}")


def settle(found: Iterable[Hierarchy]) -> None:
    """Inside the lab, after its hierarchies were mounted: leave the top of a unified one, so that it can hand controllers down.

    A group of version 2 that holds processes cannot do that (cgroups(7), "no internal processes").
    """
    for hierarchy in found:
        if hierarchy.unified:
            for pid in (hierarchy.mountpoint / "cgroup.procs").read_text().split():
                (hierarchy.mountpoint / LEAF / "cgroup.procs").write_text(pid)
            _enable_controllers(hierarchy.mountpoint)
