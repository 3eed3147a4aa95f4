"""The controller is killed (SIGKILL) at points of every playbook of dedicated machines, and started again, as in test_crashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config.playbooks import load_playbooks
from orchestrator.domain.plans import PlanKind
from tests.fault.battery import DEDICATED, Battery, batches, service, snapshot
from tests.fault.controller import KEEPING, PLAYBOOKS, Scenario
from tests.fault.striking import failing_points, strike_anywhere, strike_failing

BOOKS = {name: book for name, book in load_playbooks(PLAYBOOKS).items() if book.for_ == PlanKind.DEDICATED}
INTENTS = sorted([*(name.removeprefix("machine-") for name in BOOKS), KEEPING])
pytestmark = pytest.mark.timeout(1800)
# A failure there, of what cannot be had back any more, can only be carried on.
BEYOND = "machine-terminate/erase/during"
NO_WAY_BACK = (BEYOND, "machine-erase/erase/during", "machine-reinstall/write/during")


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Battery:
    return Battery(suite=DEDICATED, home=tmp_path_factory.mktemp("machines"))


@pytest.mark.parametrize("intent", INTENTS)
def test_killed_at_any_point_a_job_on_a_machine_ends_as_if_nothing_had_happened(
    machines: Battery, tmp_path: Path, whole_matrix: bool, intent: str
) -> None:
    strike_anywhere(machines, tmp_path, intent, whole=whole_matrix)


@pytest.mark.parametrize("intent", INTENTS)
def test_killed_at_any_point_of_a_failing_job_on_a_machine_all_it_made_is_undone(
    machines: Battery, tmp_path: Path, whole_matrix: bool, intent: str
) -> None:
    fails = failing_points(BOOKS[f"machine-{'terminate' if intent == KEEPING else intent}"], whole=whole_matrix)
    strike_failing(machines, tmp_path, intent, fails, beyond=NO_WAY_BACK, whole=whole_matrix)


def test_paid_at_any_instant_of_its_end_a_machine_is_whole_or_erased(machines: Battery, tmp_path: Path) -> None:
    points, gone = machines.recon(tmp_path / "recon", Scenario(service="", intent="terminate"))
    before = snapshot(machines.state_before("terminate", tmp_path / "before"), service(0))
    assert ([each["disks"][0]["markers"] for each in before["machines"]], gone["machines"]) == ([["the letters of SERVICE"]], [])
    asked = list(dict.fromkeys(points))
    spared = set(asked[: asked.index(BEYOND)])
    for number, batch in enumerate(batches([Scenario(service="", intent="terminate", kill=point, pay=point) for point in asked])):
        found = machines.run(tmp_path / f"paid-{number}", batch)
        for scenario, seen in zip(batch, found, strict=True):
            wanted = before if scenario.kill in spared else gone
            disks = [each["disks"] for each in seen["machines"]]
            assert (disks, seen["state"]) == ([each["disks"] for each in wanted["machines"]], wanted["state"]), scenario
            assert ("payment.too_late" in seen["outbox"]) == (scenario.kill not in spared), (scenario, seen["outbox"])
