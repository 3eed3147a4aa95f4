"""The controller is killed (SIGKILL) at named points of every playbook and started again: all ends as if nothing had happened.

Some steps of every playbook are struck, each at one of its moments, and so is its undoing after a failure of the last step that
can be undone; in the whole matrix (``make fault``) every moment of every step, the undoing from every step, and all twice in a
row.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.playbooks import load_playbooks
from orchestrator.domain.plans import PlanKind, guest_name
from tests.fault.battery import (
    PROCESS_SECONDS,
    ROOT,
    WIDTH,
    Battery,
    batches,
    copies,
    disk_of,
    good_backups,
    safety_copies,
    service,
    snapshot,
    write_more,
)
from tests.fault.controller import KEEPING, PLAYBOOKS, UNPAID, Orders, Scenario
from tests.fault.house import prepared, seeded_world
from tests.fault.striking import failing_points, some, strike_anywhere, strike_failing
from tests.store_files import engine_database

BOOKS = {name: book for name, book in load_playbooks(PLAYBOOKS).items() if book.for_ == PlanKind.VPS}
# The whole matrix of one playbook is some hundred lives of a controller.
pytestmark = pytest.mark.timeout(1800)
INTENTS = sorted([*(name.removeprefix("vps-") for name in BOOKS), KEEPING])
# A failure there, of what cannot be had back any more, can only be carried on.
BEYOND = (
    *("vps-terminate/wipe/during", "vps-erase/destroy/during", "vps-reinstall/wipe/during", "vps-move/wipe/during"),
    "vps-change-plan/disk/during",
)


@pytest.fixture(scope="session")
def battery(tmp_path_factory: pytest.TempPathFactory) -> Battery:
    return Battery(suite="product", home=tmp_path_factory.mktemp("battery"))


@pytest.mark.parametrize("intent", INTENTS)
def test_killed_at_any_point_a_job_ends_as_if_nothing_had_happened(
    battery: Battery, tmp_path: Path, whole_matrix: bool, intent: str
) -> None:
    strike_anywhere(battery, tmp_path, intent, whole=whole_matrix)


@pytest.mark.parametrize("intent", INTENTS)
def test_killed_at_any_point_of_a_failing_job_all_it_made_is_undone(
    battery: Battery, tmp_path: Path, whole_matrix: bool, intent: str
) -> None:
    fails = failing_points(BOOKS[f"vps-{'terminate' if intent == KEEPING else intent}"], whole=whole_matrix)
    strike_failing(battery, tmp_path, intent, fails, beyond=BEYOND, whole=whole_matrix)


@pytest.mark.rare
@pytest.mark.parametrize("intent", ["provision"])
def test_killed_while_it_goes_to_wait_for_its_node_a_job_ends_as_if_nothing_had_happened(
    battery: Battery, tmp_path: Path, intent: str
) -> None:
    """The node is away at each step before it is done; just after, the next attempt finds it done and waits for nothing."""
    points, wanted = battery.recon(tmp_path / "recon", Scenario(service="", intent=intent))
    name = f"vps-{intent}"
    steps = [at for at in dict.fromkeys(points) if at.endswith("/before") and "/finish/" not in at]
    struck = [(at, f"{name}/away/{kill}") for at in steps for kill in ("before", "after")]
    for number, batch in enumerate(batches([Scenario(service="", intent=intent, away=at, kill=kill) for at, kill in struck])):
        found = battery.run(tmp_path / f"away-{number}", batch)
        assert [seen | {"jobs": wanted["jobs"]} for seen in found] == [wanted] * len(batch)


def test_a_failed_provisioning_leaves_nothing(battery: Battery, tmp_path: Path) -> None:
    fail = "vps-provision/verify/before"
    _, seen = battery.recon(tmp_path / "failed", Scenario(service="", intent="provision", fail=fail))
    assert seen["state"] == "failed"
    nothing = {key: seen[key] for key in ("guests", "volumes", "secrets")}  # its log stays, for whoever asks why
    assert nothing == {"guests": [], "volumes": [], "secrets": []}
    assert (seen["leased"], seen["mac"], seen["reserved"]) == (0, False, 0)


def test_paid_at_any_instant_of_a_termination_the_data_is_whole_or_wholly_gone(battery: Battery, tmp_path: Path) -> None:
    """The fence decides, also when the controller is killed right after the payment came in."""
    points, gone = battery.recon(tmp_path / "recon", Scenario(service="", intent="terminate"))
    before = snapshot(battery.state_before("terminate", tmp_path / "before"), service(0))
    asked = list(dict.fromkeys(points))
    spared = set(asked[: asked.index("vps-terminate/wipe/during")])
    for batch in batches([Scenario(service="", intent="terminate", kill=point, pay=point) for point in asked]):
        found = battery.run(tmp_path / f"paid-{batch[0].kill.replace('/', '-')}", batch)
        for scenario, seen in zip(batch, found, strict=True):
            things = ("guests", "volumes", "secrets", "leased", "mac", "reserved", "state", "node")
            wanted = before if scenario.kill in spared else gone
            assert {key: seen[key] for key in things} == {key: wanted[key] for key in things}, scenario
            told = "payment.too_late" in seen["outbox"]
            assert told == (scenario.kill not in spared), (scenario, seen["outbox"])
            if scenario.kill in spared:
                assert seen["jobs"][0][:3] == ["terminate", "failed", "fence-closed"], (scenario, seen["jobs"])


def written(seen: dict[str, Any]) -> list[Any]:
    """What the customer wrote, by volume; nobody wrote to the seed."""
    return [markers for *_, markers in seen["volumes"] if markers]


def test_the_three_lives_of_an_archive_leave_exactly_one_copy_or_none(battery: Battery, tmp_path: Path) -> None:
    letters = ["the letters of SERVICE"]
    _, kept = battery.recon(tmp_path / "kept", Scenario(service="", intent=KEEPING))
    _, back = battery.recon(tmp_path / "back", Scenario(service="", intent="reactivate"))
    _, gone = battery.recon(tmp_path / "gone", Scenario(service="", intent="erase"))
    assert (kept["state"], kept["volumes"], kept["secrets"], kept["guests"]) == ("archived", [], [], [])
    assert (kept["held"], kept["certificates"], kept["facts"].keys()) == ([letters], 1, {"archive"})
    assert [state for _, state, *_ in kept["backups"]] == ["forgotten", "verified"]
    assert (back["state"], back["held"], back["guests"][0]["power"]) == ("active", [letters], "running")
    assert written(back) == [letters]
    assert (gone["state"], gone["held"], gone["volumes"], gone["certificates"]) == ("erased", [], [], 2)
    assert gone["generations"] == [[1, "destroyed"]]


def test_a_termination_leaves_nothing_of_the_backups(battery: Battery, tmp_path: Path) -> None:
    before = snapshot(battery.state_before("terminate", tmp_path / "before"), service(0))
    assert (before["held"], len(before["caches"])) == ([["the letters of SERVICE"]], 1)
    _, gone = battery.recon(tmp_path / "gone", Scenario(service="", intent="terminate"))
    assert (gone["held"], gone["caches"], gone["generations"]) == ([], [], [[1, "destroyed"]])
    assert [state for _, state, *_ in gone["backups"]] == ["forgotten"]


@pytest.mark.parametrize("intent", [KEEPING, "reactivate"])
def test_killed_at_any_instant_the_customers_data_is_there_at_least_once(
    battery: Battery, tmp_path: Path, whole_matrix: bool, intent: str
) -> None:
    """As the world stands when the process is dead, before anybody mends it; and when all has come to rest."""
    points, _ = battery.recon(tmp_path / "recon", Scenario(service="", intent=intent))
    scenarios = [Scenario(service="", intent=intent, kill=point) for point in some(points, whole=whole_matrix)]
    for number, batch in enumerate(batches(scenarios)):
        directory = tmp_path / f"killed-{number}"
        battery.state_before(intent, directory)
        scenarios = [replace(scenario, service=service(n)) for n, scenario in enumerate(batch)]
        battery.process(directory, scenarios, kill=True)
        dead = {scenario.kill: copies(directory, scenario.service) for scenario in scenarios}
        battery.process(directory, scenarios, submit=False)
        assert [point for point, there in dead.items() if there not in (1, 2, 3)] == []
        # What was brought back is in the guest, and in the archive that it came from.
        rest = 1 if intent == KEEPING else 2
        assert [copies(directory, scenario.service) for scenario in scenarios] == [rest] * len(scenarios)


def free_to_run(directory: Path, service_id: str) -> list[str]:
    """The nodes on which a guest of the service runs, or might be started."""
    nodes, name = seeded_world(directory).read()["nodes"], guest_name(service_id)
    there = {node: state["guests"][name] for node, state in nodes.items() if name in state["guests"]}
    return [node for node, guest in there.items() if guest["power"] == "running" or not guest["mark"]["holds"]]


def test_killed_at_any_instant_of_a_move_one_guest_at_most_may_run_and_its_disk_is_whole(
    battery: Battery, tmp_path: Path, whole_matrix: bool
) -> None:
    """As the world stands when the process is dead, and when all has come to rest."""
    points, wanted = battery.recon(tmp_path / "recon", Scenario(service="", intent="move"))
    assert (wanted["node"], wanted["guests"], wanted["volumes"], wanted["secrets"]) == ("n2", [], [], [])
    assert (written(wanted["second"]), wanted["second"]["guests"][0]["power"]) == ([["the letters of SERVICE"]], "running")
    assert (wanted["reserved"], wanted["moving"], wanted["leased"]) == (1, 0, 2)
    struck = [Scenario(service="", intent="move", kill=point) for point in some(points, whole=whole_matrix)]
    for number, batch in enumerate(batches(struck)):
        directory = tmp_path / f"killed-{number}"
        battery.state_before("move", directory)
        scenarios = [replace(scenario, service=service(n)) for n, scenario in enumerate(batch)]
        battery.process(directory, scenarios, kill=True)
        for each in scenarios:
            assert len(free_to_run(directory, each.service)) <= 1, each
            assert copies(directory, each.service) >= 1, each
        battery.process(directory, scenarios, submit=False)
        assert [free_to_run(directory, each.service) for each in scenarios] == [["n2"]] * len(scenarios)
        assert [copies(directory, each.service) for each in scenarios] == [2] * len(scenarios)


def test_killed_at_any_instant_a_guest_of_a_lost_node_comes_up_once_elsewhere_and_nothing_there_is_touched(
    battery: Battery, tmp_path: Path, whole_matrix: bool
) -> None:
    points, wanted = battery.recon(tmp_path / "recon", Scenario(service="", intent="recover"))
    before = snapshot(battery.state_before("recover", tmp_path / "before"), service(0))
    untouched = ("guests", "volumes", "secrets")
    assert {key: wanted[key] for key in untouched} == {key: before[key] for key in untouched}
    assert (wanted["node"], wanted["reserved"], wanted["moving"], wanted["leased"]) == ("n2", 1, 0, 2)
    assert (written(wanted["second"]), wanted["second"]["guests"][0]["power"]) == ([["the letters of SERVICE"]], "running")
    struck = [Scenario(service="", intent="recover", kill=point) for point in some(points, whole=whole_matrix)]
    for number, batch in enumerate(batches(struck)):
        directory = tmp_path / f"killed-{number}"
        battery.state_before("recover", directory)
        scenarios = [replace(scenario, service=service(n)) for n, scenario in enumerate(batch)]
        battery.process(directory, scenarios, kill=True)
        assert not seeded_world(directory).node("n1")["up"]
        battery.process(directory, scenarios, submit=False)
        nodes = seeded_world(directory).read()["nodes"]
        there = {each.service: nodes["n2"]["guests"][guest_name(each.service)]["power"] for each in scenarios}
        assert there == {each.service: "running" for each in scenarios}
        assert [snapshot(directory, each.service)["node"] for each in scenarios] == ["n2"] * len(scenarios)


def test_killed_at_any_instant_of_a_backup_a_verified_one_stands(battery: Battery, tmp_path: Path, whole_matrix: bool) -> None:
    """As the world stands when the process is dead; when all has come to rest; and as it stands when the job fails."""
    points, wanted = battery.recon(tmp_path / "recon", Scenario(service="", intent="backup"))
    assert [state for _, state, *_ in wanted["backups"]] == ["forgotten", "verified"]
    assert (wanted["held"], len(wanted["checkpoints"]), wanted["exported"], wanted["frozen"]) == (
        [["the letters of SERVICE"]],
        1,
        False,
        False,
    )
    scenarios = [Scenario(service="", intent="backup", kill=point) for point in some(points, whole=whole_matrix)]
    scenarios += [replace(each, fail=f"vps-backup/{step}/before") for each in scenarios for step in failing(each, whole_matrix)]
    for number, batch in enumerate(batches(scenarios)):
        directory = tmp_path / f"killed-{number}"
        battery.state_before("backup", directory)
        named = [replace(scenario, service=service(n)) for n, scenario in enumerate(batch)]
        battery.process(directory, named, kill=True)
        assert [each.kill for each in named if not good_backups(directory, each.service)] == []
        battery.process(directory, named, submit=False)
        assert [good_backups(directory, each.service) for each in named] == [1] * len(named)


def test_killed_at_any_instant_of_a_restore_the_guest_has_one_whole_disk(
    battery: Battery, tmp_path: Path, whole_matrix: bool
) -> None:
    """As the world stands when the process is dead; when all has come to rest; and what was written since the backup is kept."""
    points, _ = battery.recon(tmp_path / "recon", Scenario(service="", intent="restore"))
    since, switched = "written since", points.index("vps-restore/disk/during")
    struck = [Scenario(service="", intent="restore", kill=point) for point in some(points, whole=whole_matrix)]
    for number, batch in enumerate(batches(struck)):
        directory = tmp_path / f"killed-{number}"
        battery.state_before("restore", directory)
        scenarios = [replace(scenario, service=service(n)) for n, scenario in enumerate(batch)]
        for each in scenarios:
            write_more(directory, each.service, since)
        battery.process(directory, scenarios, kill=True)
        dead = {each.kill: disk_of(directory, each.service) for each in scenarios}
        old, new = ["the letters", since], ["the letters"]
        assert {point: text for point, text in dead.items() if text not in (old, new)} == {}
        assert {point: text == new for point, text in dead.items()} == {point: points.index(point) >= switched for point in dead}
        battery.process(directory, scenarios, submit=False)
        assert [disk_of(directory, each.service) for each in scenarios] == [new] * len(scenarios)
        assert [safety_copies(directory, each.service) for each in scenarios] == [[old]] * len(scenarios)


def failing(scenario: Scenario, whole: bool) -> list[str]:
    """The later steps whose failure follows the kill."""
    steps = [step.id for step in BOOKS["vps-backup"].steps]
    at = scenario.kill.split("/")[1]
    return steps[steps.index(at) + 1 :] if whole and at in steps else []


def test_killed_at_any_instant_of_an_erasure_the_archive_is_whole_until_the_fence_was_asked(
    battery: Battery, tmp_path: Path
) -> None:
    points, _ = battery.recon(tmp_path / "recon", Scenario(service="", intent="erase"))
    asked = list(dict.fromkeys(points))
    dead: dict[str, int] = {}
    for number, batch in enumerate(batches([Scenario(service="", intent="erase", kill=point) for point in asked])):
        directory = tmp_path / f"killed-{number}"
        battery.state_before("erase", directory)
        scenarios = [replace(scenario, service=service(n)) for n, scenario in enumerate(batch)]
        battery.process(directory, scenarios, kill=True)
        dead |= {scenario.kill: copies(directory, scenario.service) for scenario in scenarios}
    first = asked.index("vps-erase/destroy/during")
    assert dead == {point: int(number < first) for number, point in enumerate(asked)}


@pytest.mark.parametrize("intent", [KEEPING, "erase"])
def test_paid_at_any_instant_of_the_end_it_runs_again_with_its_data_or_billing_is_told(
    battery: Battery, tmp_path: Path, whole_matrix: bool, intent: str
) -> None:
    """Paid and killed at the same instant: a termination is stopped, or brought back out of its archive; an erasure is stopped,
    or it is too late."""
    points, _ = battery.recon(tmp_path / "recon", Scenario(service="", intent=intent))
    asked = list(dict.fromkeys(points))
    lost = set() if intent == KEEPING else set(asked[asked.index("vps-erase/destroy/during") :])
    struck = some(points, whole=whole_matrix or intent == "erase")
    for number, batch in enumerate(batches([Scenario(service="", intent=intent, kill=point, pay=point) for point in struck])):
        directory = tmp_path / f"paid-{number}"
        for scenario, seen in zip(batch, battery.run(directory, batch), strict=True):
            gone = scenario.kill in lost
            assert (seen["state"], bool(seen["held"])) == ("erased" if gone else "active", not gone), (scenario, seen["jobs"])
            assert written(seen) == ([] if gone else [["the letters of SERVICE"]]), scenario
            assert ("payment.too_late" in seen["outbox"]) == gone, (scenario, seen["outbox"])


def test_paid_at_any_instant_of_a_suspension_the_guest_runs_in_the_end(
    battery: Battery, tmp_path: Path, whole_matrix: bool
) -> None:
    points, held = battery.recon(tmp_path / "recon", Scenario(service="", intent=UNPAID))
    assert (held["guests"][0]["power"], held["guests"][0]["holds"]) == ("stopped", ["nonpayment"])
    before = snapshot(battery.state_before("suspend", tmp_path / "before"), service(0))
    struck = some(points, whole=whole_matrix)
    for number, batch in enumerate(batches([Scenario(service="", intent=UNPAID, kill=point, pay=point) for point in struck])):
        found = battery.run(tmp_path / f"paid-{number}", batch)
        for scenario, seen in zip(batch, found, strict=True):
            assert (seen["guests"], seen["holds"]) == (before["guests"], []), scenario


@pytest.mark.parametrize("point", ["accept/before", "accept/after"])
def test_killed_while_it_accepts_an_event_is_taken_once_when_it_comes_again(battery: Battery, tmp_path: Path, point: str) -> None:
    directory = prepared(tmp_path / "state", engine_database)
    scenario = Scenario(service="s00", intent="provision", kill=point)
    killed = launch(directory, Orders(suite="product", scenarios=[scenario], kill=True))
    assert killed.wait(PROCESS_SECONDS) == -9
    battery.process(directory, [replace(scenario, kill="")])
    seen = snapshot(directory, "s00")
    assert (seen["state"], len(seen["jobs"]), len(seen["guests"]), seen["leased"]) == ("active", 1, 1, 2)


def test_killed_again_and_again_at_odd_moments_every_service_has_one_guest(
    battery: Battery, tmp_path: Path, whole_matrix: bool
) -> None:
    _, wanted = battery.recon(tmp_path / "recon", Scenario(service="", intent="provision"))
    directory = prepared(tmp_path / "state", engine_database)
    scenarios = [Scenario(service=service(n), intent="provision") for n in range(WIDTH)]
    for number in range(12 if whole_matrix else 4):
        running = launch(directory, Orders(suite="product", scenarios=scenarios))
        try:
            running.wait(1.0 + 0.17 * number)
            break
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
    battery.process(directory, scenarios)
    assert [snapshot(directory, scenario.service) for scenario in scenarios] == [wanted] * WIDTH


def launch(directory: Path, orders: Orders) -> subprocess.Popen[str]:
    """A controller that nobody waits for yet."""
    running = subprocess.Popen(
        [sys.executable, "-m", "tests.fault.controller", str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )
    assert running.stdin is not None
    running.stdin.write(json.dumps(asdict(orders)))
    running.stdin.close()
    return running
