"""Whether what was ordered is sold: what no state of the nodes changes, only the configuration.

Asked before a service is provisioned, so that an order that nothing could ever carry out becomes no job that must fail.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from orchestrator.domain import account_checks, accounts, wanted
from orchestrator.domain.errors import NoCapacity, NotFound, RequestError
from orchestrator.domain.machines import Machine
from orchestrator.domain.plans import HostingPlan, MachinePlan, Node, Plan, PlanKind, Template
from orchestrator.domain.services import Service
from orchestrator.domain.sizes import compared

_WHERE = {
    PlanKind.VPS: ("node", "nodes.yaml"),
    PlanKind.HOSTING: ("hosting node", "nodes.yaml"),
    PlanKind.DEDICATED: ("machine", "machines.yaml"),
}


def sellable(
    service: Service,
    *,
    plans: Mapping[str, Plan],
    templates: Mapping[str, Template],
    nodes: Collection[Node],
    machines: Collection[Machine] = (),
) -> None:
    """Return where plan, template and place of the service are declared and go together.

    Raises NotFound for a name that is not declared, NoCapacity where every declared node, or machine of the class, is in another
    zone, RequestError where what was ordered cannot be given to a guest.
    """
    plan = plans.get(service.plan)
    if plan is None:
        raise NotFound(f"there is no plan '{service.plan}'", hint="add it to plans/, restart the controller")
    wanted.spec(service, plan, templates)
    if isinstance(plan, HostingPlan):
        _require_tellable(service)
    if isinstance(plan, MachinePlan):
        _somewhere(plan, service.zone, {each.zone for each in machines if each.machine_class == plan.machine_class})
    else:
        _somewhere(plan, service.zone, {node.zone for node in nodes if node.kind == plan.kind.node_kind})


def _require_tellable(service: Service) -> None:
    """Its node is told of all who may log in in one request."""
    size, most = account_checks.wire_bytes(accounts.access_of(service).ssh_keys), account_checks.MOST_KEY_BYTES
    if size > most:
        have, takes = compared(size, most)
        raise RequestError(f"its SSH keys have {have} together, an account takes {takes}", hint="fewer keys")


def _somewhere(plan: Plan, zone: str, zones: Collection[str]) -> None:
    """``zones``: where what takes it stands. A node that is down, full or in maintenance counts, and so does a machine that has a
    service: that passes, and the job that waits for it can be tried again."""
    sold = f"plan '{plan.name}' is sold in {', '.join(plan.zones)} only"
    if zone and plan.zones and zone not in plan.zones:
        raise NoCapacity(f"zone '{zone}' is wanted, and {sold}", hint="add it to the plan's zones, restart the controller")
    if any(zone in ("", each) and (not plan.zones or each in plan.zones) for each in zones):
        return
    where = f"in zone '{zone}'" if zone else f"where it could be: {sold}" if plan.zones else "at all"
    what, file = _WHERE[plan.kind]
    if isinstance(plan, MachinePlan):
        what = f"machine of class '{plan.machine_class}'"
    raise NoCapacity(f"there is no {what} {where}", hint=f"add one to {file}, restart the controller")
