"""orchestrator simulate: what it prints, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.served import command

CONFIGS = Path(__file__).parents[2] / "configs"
ENTERPAGE = str(CONFIGS / "policies" / "enterpage.yaml")


def test_a_year_without_loss_is_flawless() -> None:
    done = command("simulate", "--policy", ENTERPAGE, "--services", "60")
    assert (done.returncode, done.stderr) == (0, "")
    assert "wrong wipes: 0\nmissed deadlines: 0\n" in done.stdout
    assert "provision done" in done.stdout


def test_a_year_with_loss_is_flawless_because_billing_is_asked() -> None:
    noise = ["--loss", "3%", "--late", "2%", "--duplicates", "5%", "--outage", "100:7d", "--billing-outage", "200:5d"]
    done = command("simulate", "--policy", ENTERPAGE, "--services", "60", *noise)
    assert (done.returncode, done.stderr) == (0, "")
    assert "paid only after billing had let it go: 0\nwrong wipes: 0\nmissed deadlines: 0\n" in done.stdout
    assert "billing refused" in done.stdout


def test_wrong_wipes_are_named_and_are_no_success() -> None:
    blind = ["--unasked", "--approve-unseen"]
    done = command("simulate", "--policy", ENTERPAGE, "--services", "60", "--loss", "3%", *blind)
    assert done.returncode == 3
    assert "paid until" in done.stdout
    assert "billing's own books" in done.stderr
    assert "missed deadlines: 0" in done.stdout


def test_the_report_as_json_is_the_same_for_the_same_seed() -> None:
    words = ["simulate", "--policy", ENTERPAGE, "--services", "40", "--json", "--duplicates", "0.1", "--outage", "100:7d"]
    one, again, other = command(*words), command(*words), command(*words, "--seed", "2")
    report = json.loads(one.stdout)
    assert one.stdout == again.stdout != other.stdout
    assert (report["policy"], report["services"], report["flawless"]) == ("enterpage", 40, True)
    assert report["webhooks_lost"] > 0  # the outage was longer than billing tries


def test_a_policy_is_found_by_its_name() -> None:
    done = command("--config", str(CONFIGS), "simulate", "--policy", "herza", "--services", "5", "--days", "40")
    assert done.returncode == 0
    assert "policy herza" in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--policy", "nothing-of-this-name"], "nothing-of-this-name"),
        (["--policy", ENTERPAGE, "--loss", "101%"], "no chance"),
        (["--policy", ENTERPAGE, "--loss", "nan"], "no chance"),
        (["--policy", ENTERPAGE, "--outage", "7d"], "100:7d"),
        (["--policy", ENTERPAGE, "--outage", "99999999999:7d"], "100:7d"),
        (["--policy", ENTERPAGE, "--outage", "10:7d", "--outage", "12:1h"], "overlap"),
        (["--policy", ENTERPAGE, "--zone", "Mars/Base"], "time zone"),
        (["--policy", ENTERPAGE, "--country", "XX"], "XX"),
        (["--policy", ENTERPAGE, "--billing-outage", "10:7d", "--billing-outage", "12:1h"], "overlap"),
        (["--policy", ENTERPAGE, "--approve-after", "soon"], "duration"),
        (["--policy", ENTERPAGE, "--confirm-wait", "soon"], "duration"),
        (["--policy", ENTERPAGE, "--start", "9999-06-01"], "--start"),
    ],
)
def test_what_makes_no_sense_is_said(words: list[str], says: str) -> None:
    done = command("simulate", *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert "unexpected" not in done.stderr
