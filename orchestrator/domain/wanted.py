"""The wanted state of a service, whatever kind of plan it is sold under: what ``$spec`` means in its playbooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.domain import accounts, machine_specs, specs, traffic
from orchestrator.domain.errors import NotFound
from orchestrator.domain.plans import GuestPlan, HostingPlan, InstalledPlan, MachinePlan, Plan, Template
from orchestrator.domain.services import Service


def spec(service: Service, plan: Plan, templates: Mapping[str, Template]) -> dict[str, Any]:
    """As plain JSON. Raises NotFound where its template is not declared, RequestError where what was ordered cannot be given."""
    if isinstance(plan, GuestPlan):
        found = specs.to_json(specs.guest_spec(service, plan, template_of(service, plan, templates)))
        over = traffic.over_rate(service, plan)
        if over:  # the digest is of what is sold, and stays
            found["guest"]["limited_network_bytes_per_second"] = over
        return found
    if isinstance(plan, HostingPlan):
        return accounts.to_json(service, plan)
    if isinstance(plan, MachinePlan):
        return machine_specs.to_json(service, plan, template_of(service, plan, templates))
    raise NotFound(f"plan '{plan.name}' is of a kind that is not sold")


def template_of(service: Service, plan: InstalledPlan, templates: Mapping[str, Template]) -> Template:
    """What the service's guest, or machine, is installed from; raises NotFound where that is not declared."""
    name = service.template or plan.default_template
    template = templates.get(name)
    if template is None:
        raise NotFound(f"there is no template '{name}'", hint="add it to templates.yaml, restart the controller")
    return template
