"""The wanted machine of a service, checked, as plain JSON: what ``$spec`` means in the playbooks of dedicated machines.

``$spec.machine`` holds what is sold and how it is named, ``$spec.access`` who may log in, ``$spec.template`` what it is installed
from, ``$spec.digest`` the SHA-256 of them all: as ``domain.specs`` has them of a guest, and with the same checks.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.domain.canonical import canonical_json, digest
from orchestrator.domain.plans import MachinePlan, Template
from orchestrator.domain.services import Service
from orchestrator.domain.specs import hostname_of, password_hash, require_sold_with, ssh_keys_of


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineWanted:
    """``$spec.machine``. ``zone`` is the service's wish ('' = any); ``zones`` where its plan is sold (empty = everywhere)."""

    machine_class: str
    hostname: str
    zone: str
    zones: tuple[str, ...]
    ipv4: int
    ipv6: int


def wanted(service: Service, plan: MachinePlan) -> MachineWanted:
    """Raises RequestError where the host name is none."""
    return MachineWanted(
        machine_class=plan.machine_class,
        hostname=hostname_of(service, suffix="machine"),
        zone=service.zone,
        zones=plan.zones,
        ipv4=plan.ipv4,
        ipv6=plan.ipv6,
    )


def to_json(service: Service, plan: MachinePlan, template: Template) -> dict[str, Any]:
    """Plain JSON: ``service_id``, ``plan`` (its name), ``kind``, ``machine``, ``access``, ``template`` and ``digest``.

    Raises RequestError where what was ordered cannot be installed on a machine.
    """
    require_sold_with(plan, template)
    data: dict[str, Any] = {
        "service_id": service.id,
        "plan": plan.name,
        "kind": plan.kind.value,
        "machine": asdict(wanted(service, plan)),
        "access": {"ssh_keys": list(ssh_keys_of(service)), "password_hash": password_hash(service.password_hash)},
        "template": asdict(template),
    }
    plain: dict[str, Any] = json.loads(canonical_json(data))
    return {**plain, "digest": digest(plain)}
