"""The controller is killed (SIGKILL) at points of every playbook of hosting accounts, and started again, as in test_crashes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.config.playbooks import load_playbooks
from orchestrator.domain.plans import PlanKind
from tests.fault import account_ground
from tests.fault.battery import HOSTING, Battery, batches, service, snapshot
from tests.fault.controller import ASIDE, KEEPING, PLAYBOOKS, Scenario
from tests.fault.striking import failing_points, some, strike_anywhere, strike_failing

BOOKS = {name: book for name, book in load_playbooks(PLAYBOOKS).items() if book.for_ == PlanKind.HOSTING}
INTENTS = sorted([*(name.removeprefix("hosting-") for name in BOOKS), KEEPING, ASIDE])
# The playbooks of those that are named otherwise.
BOOK_OF = {KEEPING: "terminate", ASIDE: "restore"}
pytestmark = pytest.mark.timeout(1800)
# A failure there, of what cannot be had back any more, can only be carried on.
BEYOND = "hosting-terminate/wipe/during"
NO_WAY_BACK = (BEYOND, "hosting-erase/destroy/during")


@pytest.fixture(scope="session")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Battery:
    return Battery(suite=HOSTING, home=tmp_path_factory.mktemp("accounts"))


@pytest.mark.parametrize("intent", INTENTS)
def test_killed_at_any_point_a_job_on_an_account_ends_as_if_nothing_had_happened(
    accounts: Battery, tmp_path: Path, whole_matrix: bool, intent: str
) -> None:
    strike_anywhere(accounts, tmp_path, intent, whole=whole_matrix)


@pytest.mark.parametrize("intent", INTENTS)
def test_killed_at_any_point_of_a_failing_job_on_an_account_all_it_made_is_undone(
    accounts: Battery, tmp_path: Path, whole_matrix: bool, intent: str
) -> None:
    book = BOOKS[f"hosting-{BOOK_OF.get(intent, intent)}"]
    fails = failing_points(book, whole=whole_matrix, only=("aside",) if intent == ASIDE else ())
    strike_failing(accounts, tmp_path, intent, fails, beyond=NO_WAY_BACK, whole=whole_matrix)


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


def killed(accounts: Battery, directory: Path, intent: str, points: list[str], *, spoilt: bool = False) -> list[Scenario]:
    """A life of the controller that ends at each of these points, of services of their own."""
    accounts.state_before(intent, directory)
    named = [Scenario(service=service(n), intent=intent, kill=point) for n, point in enumerate(points)]
    for each in named if spoilt else ():
        account_ground.spoil(directory, each.service)
    accounts.process(directory, named, kill=True)
    return named


def parts(accounts: Battery, tmp_path: Path, intent: str, *, whole: bool) -> list[list[str]]:
    """The points that the job passes, or one of every step, as many at a time as die together."""
    points, _ = accounts.recon(tmp_path / "recon", Scenario(service="", intent=intent))
    scenarios = [Scenario(service="", intent=intent, kill=point) for point in some(points, whole=whole)]
    return [[each.kill for each in batch] for batch in batches(scenarios)]


def test_the_three_lives_of_an_accounts_archive_leave_exactly_one_copy_or_none(accounts: Battery, tmp_path: Path) -> None:
    _, kept = accounts.recon(tmp_path / "kept", Scenario(service="", intent=KEEPING))
    _, back = accounts.recon(tmp_path / "back", Scenario(service="", intent="reactivate"))
    _, gone = accounts.recon(tmp_path / "gone", Scenario(service="", intent="erase"))
    assert (kept["state"], kept["accounts"], kept["homes"], kept["certificates"]) == ("archived", [], {}, 1)
    assert (len(kept["held"]), kept["facts"].keys()) == (1, {"archive"})
    assert [state for _, state, *_ in kept["backups"]] == ["forgotten", "verified"]
    assert (back["state"], back["held"], len(back["accounts"])) == ("active", kept["held"], 1)
    assert back["homes"] == {"/srv/h/USER": {"home/letters": "the letters of SERVICE"}}
    assert (gone["state"], gone["held"], gone["accounts"], gone["homes"], gone["certificates"]) == ("erased", [], [], {}, 2)
    assert gone["generations"] == [[1, "destroyed"]]


@pytest.mark.parametrize("intent", [KEEPING, "reactivate"])
def test_killed_at_any_instant_what_the_customer_wrote_is_there_at_least_once(
    accounts: Battery, tmp_path: Path, whole_matrix: bool, intent: str
) -> None:
    """As the world stands when the process is dead, before anybody mends it; and when all has come to rest."""
    for number, points in enumerate(parts(accounts, tmp_path, intent, whole=whole_matrix)):
        directory = tmp_path / f"killed-{number}"
        named = killed(accounts, directory, intent, points)
        dead = {each.kill: account_ground.copies(directory, each.service) for each in named}
        assert [point for point, there in dead.items() if there < 1] == []
        accounts.process(directory, named, submit=False)
        rest = 1 if intent == KEEPING else 2
        assert [account_ground.copies(directory, each.service) for each in named] == [rest] * len(named)


def test_killed_at_any_instant_of_a_backup_a_verified_one_of_the_account_stands(
    accounts: Battery, tmp_path: Path, whole_matrix: bool
) -> None:
    """As the world stands when the process is dead; when all has come to rest; and as it stands when the job fails at its end."""
    for number, points in enumerate(parts(accounts, tmp_path, "backup", whole=whole_matrix)):
        directory = tmp_path / f"killed-{number}"
        named = killed(accounts, directory, "backup", points)
        assert [each.kill for each in named if not account_ground.good_backups(directory, each.service)] == []
        failing = [replace(each, kill="", fail="hosting-backup/settle/before") for each in named]
        accounts.process(directory, failing, submit=False)
        assert [account_ground.good_backups(directory, each.service) for each in named] == [1] * len(named)


def test_killed_at_any_instant_of_a_restore_nobody_is_shown_half_of_it(
    accounts: Battery, tmp_path: Path, whole_matrix: bool
) -> None:
    """What is open is what was there, or all of what was restored; in the end it is that."""
    for number, points in enumerate(parts(accounts, tmp_path, "restore", whole=whole_matrix)):
        directory = tmp_path / f"killed-{number}"
        named = killed(accounts, directory, "restore", points, spoilt=True)
        for each in named:
            letters, rows = account_ground.LETTERS.format(each.service), account_ground.ROWS.format(each.service)
            spoilt = (account_ground.SPOILT, account_ground.SPOILT, True)
            there = account_ground.content(directory, each.service)
            assert there in (spoilt, (letters, rows, True)) or (there is not None and not there[2]), each.kill
        accounts.process(directory, named, submit=False)
        for each in named:
            letters, rows = account_ground.LETTERS.format(each.service), account_ground.ROWS.format(each.service)
            assert account_ground.content(directory, each.service) == (letters, rows, True), each.kill


@pytest.mark.parametrize("intent", [KEEPING, "erase"])
def test_paid_at_any_instant_of_the_end_an_account_is_back_with_its_data_or_billing_is_told(
    accounts: Battery, tmp_path: Path, whole_matrix: bool, intent: str
) -> None:
    points, _ = accounts.recon(tmp_path / "recon", Scenario(service="", intent=intent))
    asked = list(dict.fromkeys(points))
    lost = set() if intent == KEEPING else set(asked[asked.index("hosting-erase/destroy/during") :])
    struck = some(points, whole=whole_matrix or intent == "erase")
    for number, batch in enumerate(batches([Scenario(service="", intent=intent, kill=point, pay=point) for point in struck])):
        for scenario, seen in zip(batch, accounts.run(tmp_path / f"paid-{number}", batch), strict=True):
            gone = scenario.kill in lost
            assert (seen["state"], bool(seen["held"])) == ("erased" if gone else "active", not gone), (scenario, seen["jobs"])
            home = {} if gone else {"/srv/h/USER": {"home/letters": "the letters of SERVICE"}}
            assert seen["homes"] == home, scenario
            assert ("payment.too_late" in seen["outbox"]) == gone, (scenario, seen["outbox"])
