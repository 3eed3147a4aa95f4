"""Plans out of their files: by which model one is read, and what it says as a value of ours."""

from __future__ import annotations

from typing import Any

from orchestrator.config.machine_files import MachinePlanFile
from orchestrator.config.plan_files import HostingPlanFile, PlanFile, SoldFile
from orchestrator.domain.plans import GuestPlan, HostingPlan, MachinePlan, Plan, PlanKind

AnyPlanFile = PlanFile | HostingPlanFile | MachinePlanFile

# What stands in for values that could not be read: the ones about which no other value can be wrong.
_UNREAD_GUEST: dict[str, object] = {
    "kind": "vps",
    "vcpus": 1,
    "memory": "1 GiB",
    "disk": "1024 TiB",
    "templates": ["unread"],
}
_UNREAD_ACCOUNT: dict[str, object] = {"kind": "hosting", "disk": "1 GiB", "inodes": 1000, "memory": "1 GiB"}
_UNREAD_MACHINE: dict[str, object] = {"kind": "dedicated", "class": "unread", "templates": ["unread"]}


def plan_model(data: object) -> tuple[type[AnyPlanFile], dict[str, object]]:
    """The model of the plan's kind, and its stand-ins. One of an unknown kind is read by that of guests, which says so."""
    if isinstance(data, dict) and data.get("kind") == PlanKind.HOSTING:
        return HostingPlanFile, _UNREAD_ACCOUNT
    if isinstance(data, dict) and data.get("kind") == PlanKind.DEDICATED:
        return MachinePlanFile, _UNREAD_MACHINE
    return PlanFile, _UNREAD_GUEST


def plan_of(entry: AnyPlanFile) -> Plan:
    """In base units, by its kind."""
    if isinstance(entry, HostingPlanFile):
        return HostingPlan(
            disk_bytes=entry.disk,
            inodes=entry.inodes,
            cpu_percent=entry.cpu_percent,
            memory_bytes=entry.memory,
            tasks=entry.tasks,
            io_bytes_per_second=entry.io_rate,
            iops=entry.iops,
            limited_cpu_percent=entry.limited_cpu_percent,
            sites=entry.sites,
            databases=entry.databases,
            php=tuple(entry.php),
            **_sold(entry),
        )
    if isinstance(entry, MachinePlanFile):
        return MachinePlan(
            machine_class=entry.class_,
            ipv4=entry.ipv4,
            ipv6=entry.ipv6,
            templates=tuple(entry.templates),
            default_template=entry.default_template or entry.templates[0],
            **_sold(entry),
        )
    return GuestPlan(
        vcpus=entry.vcpus,
        vcpus_most=entry.vcpus_most,
        memory_bytes=entry.memory,
        disk_bytes=entry.disk,
        cpu_percent=entry.cpu_percent,
        disk_bytes_per_second=entry.disk_rate,
        disk_iops=entry.disk_iops,
        network_bytes_per_second=entry.network_rate,
        limited_network_bytes_per_second=entry.limited_network,
        traffic_over_bytes_per_second=(entry.traffic_over_rate or 0) if entry.traffic_over == "throttle" else 0,
        encrypted=entry.encrypted,
        full_copy=entry.full_copy,
        mail_out=entry.outgoing_mail == "open",
        ipv4=entry.ipv4,
        ipv6=entry.ipv6,
        templates=tuple(entry.templates),
        default_template=entry.default_template or entry.templates[0],
        **_sold(entry),
    )


def _sold(entry: SoldFile) -> dict[str, Any]:
    """What every plan says."""
    return {
        "name": entry.name,
        "zones": tuple(entry.zones),
        "policy": entry.policy,
        "traffic_bytes": entry.traffic,
        "traffic_over_per_gb": entry.traffic_over_per_gb,
        "price_per_hour": entry.price_per_hour,
        "backups_bought": entry.backups_bought,
        "backup_cap_bytes": entry.backup_cap,
        "backup_cap_inodes": entry.backup_cap_inodes,
        "forbids": tuple(sorted(entry.forbids)),
        "description": entry.description,
    }
