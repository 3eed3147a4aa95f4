"""Jobs on accounts of a real hosting node while the controller is killed, the agent, or the connection between them.

What is compared is what the node itself shows: before the job and after it, and between accounts. A suspension waits for a full
minute of cron, so most of these are in the whole matrix only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.tenant import Tenant
from tests.fault.crashing import KILL
from tests.fault.crashing import Order as Point
from tests.fault.hosting_ground import Ground
from tests.fault.strikes import AFTER, AGENT, BEFORE, CONNECTION, DURING, Order
from tests.hosting_server import HostingServer

pytestmark = [pytest.mark.guest, pytest.mark.rare, pytest.mark.timeout(3000)]

# Points of a job of each intent, for as many accounts as are struck at a time: of those of the simulated battery, which tries
# them all, the ones at which the node itself is half done. Three accounts at a time: with five, an emulated node that others
# keep busy does not answer the watch within its 15 s, counts as down, and gets no new plan.
POINTS = {
    "provision": ("place/after", "account/during"),
    "suspend": ("suspend/during", "prove/before", "prove/during"),
    "unsuspend": ("unsuspend/before", "unsuspend/during", "unsuspend/after"),
    "change-plan": ("place/during", "limits/during", "verify/before"),
    "terminate": ("suspend/during", "wipe/during", "residue/during"),
}
LIMITS = {"web-small": (24 << 20, 300, 24), "web-large": (48 << 20, 600, 32)}


@pytest.fixture
def ground(hosting_node: HostingServer, hosting_ground: Ground) -> Iterator[Ground]:
    assert hosting_ground.server is hosting_node
    if hosting_ground.site.process is None or hosting_ground.site.process.poll() is not None:
        hosting_ground.site.start()
    yield hosting_ground
    hosting_ground.board.clear()
    hosting_ground.strikes.arm({})


def killed(ground: Ground, intent: str, tenants: list[Tenant]) -> list[dict[str, Any]]:
    """The controller dies when each of these accounts' jobs stands at a point of its own, and is started again; the jobs."""
    services = [each.service for each in tenants]
    for service, point in zip(services, POINTS[intent], strict=False):
        ground.board.arm(service, Point(f"hosting-{intent}/{point}", KILL))
    jobs = [ground.ask(intent, each) for each in tenants]
    ground.dies(services[: len(POINTS[intent])])
    ground.site.start()
    ended = ground.done(*jobs, seconds=900)
    for each in tenants:
        ground.board.disarm(each.service)
        listed = ground.site.ask("job", "list", "--service", each.service)["items"]
        assert [job["state"] for job in listed if job["intent"] == intent].count("done") == 1, listed
    return ended


def alike(ground: Ground, tenants: list[Tenant]) -> dict[str, Any]:
    """What all of them are, but for their names; fails where one is otherwise."""
    found = [anonymous(ground.facts(each), each) for each in tenants]
    assert found == [found[0]] * len(found)
    return found[0]


def anonymous(facts: dict[str, Any], tenant: Tenant) -> dict[str, Any]:
    sites = [{k: v for k, v in site.items() if not k.startswith("certificate")} for site in facts["sites"]]
    text = repr({**facts, "sites": sites, "job_id": "", "suspended_by": ""})
    named = text.replace(tenant.user, "USER").replace(str(tenant.uid), "UID").replace(tenant.service, "SERVICE")
    return {"facts": named}


def gone(ground: Ground, tenant: Tenant) -> None:
    """On the node, and in the controller's books: certified once, and nothing promised any more."""
    assert ground.left(tenant) == []
    named = ("(", "-uid", str(tenant.uid), "-o", "-gid", str(tenant.uid), "-o", "-name", f"*{tenant.user}*", ")")
    assert tenant.node.run("find", "/", "-xdev", *named) == ""
    assert ground.site.ask("certificate", "show", tenant.service)["residue"]["clean"] is True
    issued = ground.site.http("GET", f"/v1/certificates?service_id={tenant.service}").json()["items"]
    assert len(issued) == 1
    assert ground.hosting.service(tenant)["state"] == "erased"


def test_killed_while_it_makes_accounts_the_controller_makes_each_of_them_once(ground: Ground) -> None:
    tenants = ground.new("mara", "nils")
    killed(ground, "provision", tenants)
    for each in tenants:
        ground.settled(each)
        assert (each.visit(), ground.hosting.service(each)["state"]) == (1, "active")
    assert tenants[0].uid != tenants[1].uid
    alike(ground, tenants)
    users = [line.split(":")[0] for line in ground.server.run("getent", "passwd").splitlines() if line.startswith("h1")]
    assert sorted(users) == sorted(each.user for each in ground.tenants.values() if each.user)
    assert ground.strays() == []


def test_killed_at_points_of_a_whole_life_the_controller_brings_each_job_to_its_end(ground: Ground) -> None:
    tenants = ground.new("olga", "pia", "quinn")
    killed(ground, "provision", tenants)
    for each in tenants:
        ground.settled(each)
    before = alike(ground, tenants)
    each_before = [ground.facts(each) for each in tenants]

    killed(ground, "suspend", tenants)
    for each in tenants:
        assert each.get("/").status == 503
        assert ground.hosting.service(each)["suspension_proven_at"]
        assert (ground.facts(each)["suspended"], set(ground.ways(each).values())) == (True, {False})
    killed(ground, "unsuspend", tenants)
    assert alike(ground, tenants) == before
    assert [ground.facts(each) for each in tenants] == each_before
    assert all(each.visit() for each in tenants)

    killed(ground, "change-plan", tenants)
    alike(ground, tenants)
    for each in tenants:
        limits = ground.facts(each)["limits"]
        assert (limits["disk_bytes"], limits["inodes"], limits["tasks"]) == LIMITS["web-large"]
        assert ground.hosting.service(each)["plan"] == "web-large"

    killed(ground, "terminate", tenants)
    for each in tenants:
        gone(ground, each)
    assert ground.strays() == []


STRIKES: dict[str, dict[str, tuple[Order, ...]]] = {
    "provision": {"account-apply": (Order(4, AGENT, DURING), Order(9, CONNECTION, AFTER))},
    "suspend": {
        "account-suspend": (Order(3, AGENT, AFTER), Order(9, CONNECTION, BEFORE)),
        "account-probe": (Order(4, AGENT, AFTER), Order(12, CONNECTION, DURING)),
    },
    "unsuspend": {"account-unsuspend": (Order(4, CONNECTION, DURING), Order(12, AGENT, AFTER))},
    "change-plan": {"account-apply": (Order(3, CONNECTION, AFTER), Order(8, AGENT, DURING))},
    "terminate": {
        "account-suspend": (Order(6, AGENT, AFTER),),
        "account-wipe": (Order(5, AGENT, AFTER), Order(12, CONNECTION, BEFORE), Order(24, AGENT, DURING)),
        "account-residue": (Order(1, AGENT, BEFORE),),
    },
}


def test_a_job_whose_agent_or_connection_is_killed_ends_right_after_its_retries(ground: Ground) -> None:
    (tina,) = ground.new("tina")
    for intent, orders in STRIKES.items():
        before = {} if intent == "provision" else ground.facts(tina)
        ground.strikes.arm(orders)
        ground.done(ground.ask(intent, tina), seconds=900)
        assert len(ground.strikes.struck()) >= len(orders), (intent, ground.strikes.struck())
        ground.strikes.arm({})
        if intent == "provision":
            ground.settled(tina)
            assert tina.visit() == 1
        elif intent == "suspend":
            active = before
            assert (tina.get("/").status, set(ground.ways(tina).values())) == (503, {False})
        elif intent == "unsuspend":
            assert (ground.facts(tina), tina.visit() > 1) == (active, True)
        elif intent == "change-plan":
            assert ground.facts(tina)["limits"]["inodes"] == LIMITS["web-large"][1]
    gone(ground, tina)
    assert ground.strays() == []


def test_an_account_of_which_nothing_but_its_mark_could_be_made_is_unmade(ground: Ground) -> None:
    (ulla,) = ground.new("ulla")
    ground.strikes.arm({"account-apply": [Order(number, AGENT, BEFORE) for number in range(1, 10)]})
    ended = ground.rest(ground.ask("provision", ulla))
    assert (ended["state"], len(ground.strikes.struck()) >= 3) == ("failed", True), ended["error"]
    assert ground.strays() == []
    assert [name for name in ground.server.run("ls", "/etc/orchestrator/accounts").split() if name not in marks(ground)] == []


def marks(ground: Ground) -> set[str]:
    """Of the accounts that are there."""
    return {f"{each.user}.json" for each in ground.tenants.values() if each.user}
