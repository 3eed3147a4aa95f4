"""The configuration as its files would say it: every key by its own name, with its default where it was left out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from orchestrator.config.backup_values import span_words
from orchestrator.config.backups import backups_shown
from orchestrator.config.model import BillingSource, Config, DeploySettings, Settings
from orchestrator.config.policy_shown import shown
from orchestrator.config.units import duration_words, rate_words, size_words
from orchestrator.domain.machines import Machine
from orchestrator.domain.plans import AddressRange, GuestPlan, HostingPlan, MachinePlan, Node, Plan, Template


def files(config: Config) -> dict[str, dict[str, Any]]:
    """File names, relative to the configuration's directory, and what each says, in JSON types. Read again it is the same."""
    return {
        "orchestrator.yaml": _settings(config.settings),
        "nodes.yaml": {
            "zones": [{"name": zone.name, "description": zone.description, "country": zone.country} for zone in config.zones],
            "nodes": [_node(node) for node in config.nodes],
            "address_ranges": [_range(span) for span in config.ranges],
        },
        "machines.yaml": {"machines": [_machine(machine) for machine in config.machines]},
        "holidays.yaml": {
            "holidays": [{"date": day.day.isoformat(), "name": day.name, "source": day.source} for day in config.holidays]
        },
        "templates.yaml": {"templates": [_template(template) for template in config.templates.values()]},
        **{f"plans/{name}.yaml": _plan(plan) for name, plan in sorted(config.plans.items())},
        **{f"policies/{name}.yaml": shown(policy) for name, policy in sorted(config.policies.items())},
    }


def _settings(settings: Settings) -> dict[str, Any]:
    return {
        "provider": settings.provider,
        "timezone": settings.timezone,
        "country": settings.country,
        "state_dir": str(settings.state_dir),
        "database_url": settings.database_url,
        "database_password_file": settings.database_password_file and str(settings.database_password_file),
        "socket": str(settings.socket),
        "listen": settings.listen,
        "tls": None if settings.tls is None else {key: str(value) for key, value in asdict(settings.tls).items()},
        "limits": asdict(settings.limits),
        "consoles": {"idle": duration_words(settings.consoles.idle), "at_once": settings.consoles.at_once},
        "maintenance": {
            "notice": duration_words(settings.maintenance.notice),
            "takes": duration_words(settings.maintenance.takes),
        },
        "billing": [_billing(billing) for billing in settings.billing],
        "webhooks": {
            "tolerance": duration_words(settings.webhook_tolerance),
            "body_limit": size_words(settings.body_limit_bytes),
            "keep": duration_words(settings.keep_events),
            "confirm_wait": duration_words(settings.confirm_wait),
        },
        "messages": {
            "give_up_after": duration_words(settings.give_up_after),
            "keep": duration_words(settings.keep_messages),
        },
        "brakes": {
            "suspensions_per_hour": settings.brakes.suspensions_per_hour,
            "terminations_per_hour": settings.brakes.terminations_per_hour,
        },
        "jobs": {
            "threads": settings.job_threads,
            "keep": duration_words(settings.keep_engine_rows),
            "wait_for_nodes": duration_words(settings.wait_for_nodes),
        },
        "backups": backups_shown(settings.backups),
        "deploy": None if settings.deploy is None else _deploy(settings.deploy),
        "address_cool_down": duration_words(settings.address_cool_down),
    }


def _deploy(deploy: DeploySettings) -> dict[str, Any]:
    return {"listen": deploy.listen, "url": deploy.url, "image": str(deploy.image), "images": str(deploy.images)}


def _billing(billing: BillingSource) -> dict[str, Any]:
    return {
        "source": billing.source,
        "secret_files": [str(path) for path in billing.secret_files],
        "notify_url": billing.notify_url,
        "notify_secret_file": None if billing.notify_secret_file is None else str(billing.notify_secret_file),
    }


def _node(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "zone": node.zone,
        "kind": str(node.kind),
        "address": node.address,
        "port": node.port,
        "user": node.user,
        "driver": node.driver,
        "libvirt_uri": node.libvirt_uri,
        "pool": node.pool,
        "bridge": node.bridge,
        "cpu_ratio": node.cpu_ratio,
        "memory_ratio": node.memory_ratio,
        "disk_ratio": node.disk_ratio,
        "reserved_memory": size_words(node.reserved_memory_bytes),
        "heavy_slots": node.heavy_slots,
        "maintenance": node.maintenance,
        "windows": [span_words(span) for span in node.windows],
        "backups": node.backups,
        "backups_on_own_node": node.backups_on_own_node,
        "backups_at_once": node.backups_at_once,
        "disk_watermark_percent": node.disk_watermark_percent,
        "metadata_watermark_percent": node.metadata_watermark_percent,
    }


def _machine(machine: Machine) -> dict[str, Any]:
    return {
        "name": machine.name,
        "zone": machine.zone,
        "class": machine.machine_class,
        "driver": machine.driver,
        "bmc": machine.bmc,
        "bmc_user": machine.bmc_user,
        "bmc_secret_file": None if machine.bmc_secret_file is None else str(machine.bmc_secret_file),
        "bmc_system": machine.bmc_system,
        "macs": list(machine.macs),
        "disks": list(machine.disks),
        "deploy_address": machine.deploy_address,
        "deploy_gateway": machine.deploy_gateway,
        "deploy_mac": machine.deploy_mac,
        "maintenance": machine.maintenance,
    }


def _range(span: AddressRange) -> dict[str, Any]:
    return {
        "name": span.name,
        "zone": span.zone,
        "network": str(span.network),
        "gateway": str(span.gateway),
        "first": str(span.first),
        "last": str(span.last),
        "reserved": [str(address) for address in span.reserved],
        "dns": [str(address) for address in span.dns],
    }


def _template(template: Template) -> dict[str, Any]:
    return {
        "name": template.name,
        "os": template.os,
        "volume": template.volume,
        "sha256": template.sha256,
        "size": size_words(template.size_bytes),
        "format": str(template.format),
        "kernel": template.kernel,
        "initrd": template.initrd,
        "kernel_arguments": template.kernel_arguments,
        "cloud_init": template.cloud_init,
        "agent": template.agent,
        "ready": str(template.ready),
    }


def _plan(plan: Plan) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if isinstance(plan, GuestPlan):
        limits = _of_guests(plan)
    elif isinstance(plan, HostingPlan):
        limits = _of_accounts(plan)
    elif isinstance(plan, MachinePlan):
        limits = _of_machines(plan)
    return {
        "name": plan.name,
        "kind": str(plan.kind),
        "description": plan.description,
        **limits,
        "zones": list(plan.zones),
        "traffic": None if plan.traffic_bytes is None else size_words(plan.traffic_bytes),
        "traffic_over_per_gb": plan.traffic_over_per_gb,
        "price_per_hour": plan.price_per_hour,
        **({} if isinstance(plan, MachinePlan) else _of_backups(plan)),
        "policy": plan.policy,
        "forbids": [use.value for use in plan.forbids],
    }


def _of_backups(plan: Plan) -> dict[str, Any]:
    return {
        "backups_bought": plan.backups_bought,
        "backup_cap": None if plan.backup_cap_bytes is None else size_words(plan.backup_cap_bytes),
        "backup_cap_inodes": plan.backup_cap_inodes,
    }


def _of_machines(plan: MachinePlan) -> dict[str, Any]:
    return {
        "class": plan.machine_class,
        "ipv4": plan.ipv4,
        "ipv6": plan.ipv6,
        "templates": list(plan.templates),
        "default_template": plan.default_template,
    }


def _of_guests(plan: GuestPlan) -> dict[str, Any]:
    return {
        "vcpus": plan.vcpus,
        "vcpus_most": plan.vcpus_most,
        "cpu_percent": plan.cpu_percent,
        "memory": size_words(plan.memory_bytes),
        "disk": size_words(plan.disk_bytes),
        "disk_rate": rate_words(plan.disk_bytes_per_second),
        "disk_iops": plan.disk_iops,
        "network_rate": rate_words(plan.network_bytes_per_second),
        "limited_network": rate_words(plan.limited_rate),
        "traffic_over": "throttle" if plan.traffic_over_bytes_per_second else "charge",
        "traffic_over_rate": rate_words(plan.traffic_over_bytes_per_second) if plan.traffic_over_bytes_per_second else None,
        "encrypted": plan.encrypted,
        "full_copy": plan.full_copy,
        "outgoing_mail": "open" if plan.mail_out else "closed",
        "ipv4": plan.ipv4,
        "ipv6": plan.ipv6,
        "templates": list(plan.templates),
        "default_template": plan.default_template,
    }


def _of_accounts(plan: HostingPlan) -> dict[str, Any]:
    return {
        "disk": size_words(plan.disk_bytes),
        "inodes": plan.inodes,
        "cpu_percent": plan.cpu_percent,
        "limited_cpu_percent": min(plan.limited_cpu_percent, plan.cpu_percent),
        "memory": size_words(plan.memory_bytes),
        "tasks": plan.tasks,
        "io_rate": rate_words(plan.io_bytes_per_second),
        "iops": plan.iops,
        "sites": plan.sites,
        "databases": plan.databases,
        "php": list(plan.php),
    }
