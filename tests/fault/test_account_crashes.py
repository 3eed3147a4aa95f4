"""The controller is killed (SIGKILL) at points of every playbook of hosting accounts, and started again, as in test_crashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config.playbooks import load_playbooks
from orchestrator.domain.plans import PlanKind
from orchestrator.domain.playbooks import OnFailure
from tests.fault.battery import HOSTING, Battery, batches, service, snapshot
from tests.fault.controller import PLAYBOOKS, Scenario
from tests.fault.test_crashes import sample, strike

BOOKS = {name: book for name, book in load_playbooks(PLAYBOOKS).items() if book.for_ == PlanKind.HOSTING}
INTENTS = sorted(name.removeprefix("hosting-") for name in BOOKS)
pytestmark = pytest.mark.timeout(1800)
# A failure there, of what cannot be had back any more, can only be carried on.
BEYOND = "hosting-terminate/wipe/during"


@pytest.fixture(scope="session")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Battery:
    return Battery(suite=HOSTING, home=tmp_path_factory.mktemp("accounts"))


def undoing(intent: str, *, whole: bool) -> list[str]:
    """Where failures strike that are to be undone: the last step that undoes, or each of them."""
    book = BOOKS[f"hosting-{intent}"]
    steps = [step.id for step in book.steps if step.on_failure == OnFailure.UNDO]
    return [f"{book.name}/{step}/{moment}" for step in (steps if whole else steps[-1:]) for moment in ("before", "during")]


@pytest.mark.parametrize("intent", INTENTS)
def test_killed_at_any_point_a_job_on_an_account_ends_as_if_nothing_had_happened(
    accounts: Battery, tmp_path: Path, whole_matrix: bool, intent: str
) -> None:
    points, wanted = accounts.recon(tmp_path / "recon", Scenario(service="", intent=intent))
    assert wanted["jobs"][0][1] == "done"
    struck = list(dict.fromkeys(points)) if whole_matrix else sample(points)
    scenarios = [Scenario(service="", intent=intent, kill=point) for point in struck]
    strike(accounts, tmp_path, scenarios, wanted)
    if whole_matrix:
        strike(accounts, tmp_path, scenarios, wanted, kills=2)


@pytest.mark.parametrize("intent", INTENTS)
def test_killed_at_any_point_of_a_failing_job_on_an_account_all_it_made_is_undone(
    accounts: Battery, tmp_path: Path, whole_matrix: bool, intent: str
) -> None:
    for number, fail in enumerate(undoing(intent, whole=whole_matrix)):
        directory = tmp_path / str(number)
        points, wanted = accounts.recon(directory / "recon", Scenario(service="", intent=intent, fail=fail))
        if fail not in points:
            continue
        assert wanted["jobs"][0][1] == ("needs_operator" if fail == BEYOND else "failed")
        struck = [p for p in dict.fromkeys(points) if "undo" in p or "finish" in p or (p == fail and p.endswith("before"))]
        scenarios = [Scenario(service="", intent=intent, kill=point, fail=fail) for point in struck]
        strike(accounts, directory, scenarios, wanted, kills=2 if whole_matrix else 1)


def test_paid_at_any_instant_of_its_end_an_account_is_whole_or_wholly_gone(accounts: Battery, tmp_path: Path) -> None:
    points, gone = accounts.recon(tmp_path / "recon", Scenario(service="", intent="terminate"))
    before = snapshot(accounts.state_before("terminate", tmp_path / "before"), service(0))
    assert (len(before["accounts"]), gone["accounts"]) == (1, [])
    asked = list(dict.fromkeys(points))
    spared = set(asked[: asked.index(BEYOND)])
    for number, batch in enumerate(batches([Scenario(service="", intent="terminate", kill=point, pay=point) for point in asked])):
        found = accounts.run(tmp_path / f"paid-{number}", batch)
        for scenario, seen in zip(batch, found, strict=True):
            wanted = before if scenario.kill in spared else gone
            things = ("accounts", "reserved", "state", "node")
            assert {key: seen[key] for key in things} == {key: wanted[key] for key in things}, scenario
            assert ("payment.too_late" in seen["outbox"]) == (scenario.kill not in spared), scenario
