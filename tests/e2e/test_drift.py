"""Records against real nodes: what differs in libvirt and in the pool is found and mended, and a store that was lost comes back.

One installation with two tiny guests, which is shared by all tests here, in this order. Other guests of the lab are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.drivers.libvirt.guest_xml import NAMESPACE, PREFIX, mark_xml, parse, read_mark
from tests.e2e.billing import Billing
from tests.e2e.site import NODE, SECRET, Site
from tests.e2e.stand import SMALL
from tests.e2e.traces import virsh
from tests.lab.environment import Lab
from tests.lab.templates import Installed

pytestmark = pytest.mark.timeout(900)
FOREIGN = "web1"
PLAN = replace(SMALL, name="plain", encrypted=False)
STRANGER = """
<domain type='qemu'><name>web1</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
<os><type arch='x86_64'>hvm</type></os><devices>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
<interface type='bridge'><mac address='52:54:00:77:77:77'/><source bridge='{bridge}'/><model type='virtio'/></interface>
</devices></domain>
"""


def ok(*words: str) -> str:
    done = virsh(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def site(lab: Lab, tiny_template: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Billing(SECRET) as billing:
        made = Site(
            lab=lab,
            directory=tmp_path_factory.mktemp("drift"),
            templates=(tiny_template,),
            plans=(PLAN,),
            billing=billing,
        )
        made.prepare()
        made.start()
        made.enrol()
        made.wait_for_node()
        provisioned(made, "d-1", "d-2")
        yield made
        made.stop()
        clear(lab)


def clear(lab: Lab) -> None:
    """Nothing of this installation is left on the node."""
    for name in virsh("list", "--all", "--name").stdout.split():
        if name.startswith("orch.d-") or name == FOREIGN:
            virsh("destroy", name)
            virsh("undefine", name)
    for path in (*lab.pool_path.glob("orch.d-*"), lab.pool_path / "web1.raw"):
        path.unlink(missing_ok=True)


def provisioned(site: Site, *services: str) -> None:
    asked = [
        site.send("order.paid", name, client_id="c1", order_id=f"o-{name}", plan=PLAN.name, hostname=name).json()["job_id"]
        for name in services
    ]
    assert [site.wait_for_job(job)["state"] for job in asked] == ["done"] * len(asked)


def drift(site: Site, **asked: Any) -> list[dict[str, Any]]:
    """What differs of ours here; the lab is shared."""
    found = site.http("POST", "/v1/drift", json=asked, timeout=120).json()["findings"]
    return [row for row in found if re.search(r"\bd-\d|web1", f"{row['service_id']} {row['name']}")]


def kinds(found: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(row["kind"], row["service_id"] or row["name"]) for row in found}


def held(site: Site, service: str) -> None:
    answer = site.http("POST", f"/v1/services/{service}/holds", json={"reason": "abuse", "effect": "stop", "why": "spam"})
    assert site.wait_for_job(answer.json()["job_id"])["state"] == "done"


def unmark(guest: str) -> None:
    """Somebody takes the hold out of the mark, so that the hook lets the guest start."""
    mark = read_mark(parse(ok("dumpxml", guest)))
    assert mark is not None
    ok("metadata", guest, "--uri", NAMESPACE, "--key", PREFIX, "--set", mark_xml(replace(mark, holds=())), "--config")


def stranger(site: Site) -> None:
    disk = site.lab.pool_path / "web1.raw"
    disk.write_bytes(bytes(1 << 20))
    definition = site.directory / "web1.xml"
    definition.write_text(STRANGER.format(disk=disk, bridge=site.lab.bridge), encoding="utf-8")
    ok("define", str(definition))
    ok("start", FOREIGN)


def test_what_was_changed_behind_our_back_is_found_and_what_is_safe_is_mended(site: Site) -> None:
    assert drift(site) == []
    held(site, "d-2")
    unmark("orch.d-2")
    ok("start", "orch.d-2")
    ok("autostart", "orch.d-2")
    ok("schedinfo", "orch.d-1", "--set", "vcpu_quota=50000", "--live")
    (site.lab.pool_path / "orch.d-9.disk.j0.qcow2").write_bytes(b"somebody's")
    stranger(site)
    found = drift(site)
    assert kinds(found) == {
        ("limits", "d-1"),
        ("holds", "d-2"),
        ("stray", "orch.d-9.disk.j0.qcow2"),
        ("foreign", "web1"),
        ("foreign", "web1.raw"),
    }
    (limits,) = [row["says"] for row in found if row["kind"] == "limits"]
    assert limits.startswith("50 per cent")
    jobs = [row["job_id"] for row in drift(site, repair=True, why="mend") if row["job_id"]]
    assert [site.wait_for_job(job)["state"] for job in jobs] == ["done"] * len(jobs)
    assert (ok("domstate", "orch.d-2").strip(), "disable" in ok("dominfo", "orch.d-2")) == ("shut off", True)
    assert virsh("start", "orch.d-2").returncode != 0, "the hook refuses it again"
    assert "holds" not in {kind for kind, _ in kinds(drift(site))}
    assert (site.lab.pool_path / "orch.d-9.disk.j0.qcow2").read_bytes() == b"somebody's"
    assert ok("domstate", FOREIGN).strip() == "running"
    ok("schedinfo", "orch.d-1", "--set", "vcpu_quota=100000", "--live")


def test_a_guest_made_by_hand_is_taken_in_while_it_runs(site: Site) -> None:
    before, run = ok("dumpxml", FOREIGN), ok("domid", FOREIGN)
    words = ("--guest", FOREIGN, "--plan", PLAN.name, "--service", "d-7", "--customer", "c7", "--address", "10.77.0.45")
    told = site.cli("node", "adopt", NODE, *words)
    assert "web1.raw" in told
    after = ok("dumpxml", FOREIGN)
    assert re.sub(r"(?s) *<metadata>.*</metadata>\n", "", after) == re.sub(r"(?s) *<metadata>.*</metadata>\n", "", before)
    assert ok("domid", FOREIGN) == run
    assert site.ask("service", "show", "d-7")["state"] == "active"
    ok("destroy", FOREIGN)  # it has no system that could be asked to end
    held(site, "d-7")
    assert virsh("start", FOREIGN).returncode != 0, "the hook refuses it"


def test_a_store_that_was_lost_is_written_again_from_what_the_guests_carry(site: Site) -> None:
    drift(site, repair=True, why="fresh records")
    fields = ("state", "client_id", "plan", "node", "order_id", "suspended")
    services = ("d-1", "d-2", "d-7")
    shown = {name: {key: site.ask("service", "show", name)[key] for key in fields} for name in services}
    leases = {name: site.http("GET", f"/v1/ips/leases/{name}").json() for name in services}
    run = ok("domid", "orch.d-1")
    site.stop()
    for path in site.state.glob("orchestrator.sqlite*"):
        path.unlink()
    site.cli("init")
    site.start()
    site.enrol()
    site.wait_for_node()
    assert {("stray", "d-1"), ("stray", "d-2"), ("stray", "d-7")} <= {
        (row["kind"], row["name"].removeprefix("orch.").replace(FOREIGN, "d-7")) for row in drift(site)
    }
    site.cli("node", "adopt", NODE, *(word for name in services for word in ("--service", name)))
    assert {name: {key: site.ask("service", "show", name)[key] for key in fields} for name in services} == shown
    for name in services:
        assert site.http("GET", f"/v1/ips/leases/{name}").json() == leases[name]
    assert ok("domid", "orch.d-1") == run
    assert not {kind for kind, whose in kinds(drift(site)) if whose in services} & {"stray", "missing", "holds", "record"}
    held(site, "d-1")
    assert ok("domstate", "orch.d-1").strip() == "shut off"
