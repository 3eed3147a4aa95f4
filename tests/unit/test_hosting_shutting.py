"""What a suspension puts away, what comes back, and what a probe that was killed left."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.node.hosting import closing, loading, manifest, sweep
from agents.node.hosting.layout import Home
from agents.node.hosting.manifest import Manifest
from agents.node.protocol import AgentError
from tests.unit.account_files import account


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return account(tmp_path)


def test_what_is_put_away_is_kept_once_and_what_came_after_it_goes(home: Home) -> None:
    closing.put_away(home.keys, manifest.keys(home))
    assert (home.keys.exists(), manifest.keys(home).read_text()) == (False, "ssh-ed25519 AAAA\n")
    home.keys.write_text("ssh-ed25519 INTRUDER\n")
    closing.put_away(home.keys, manifest.keys(home))
    closing.put_away(home.keys, manifest.keys(home))
    assert (home.keys.exists(), manifest.keys(home).read_text()) == (False, "ssh-ed25519 AAAA\n")


def test_what_a_killed_probe_left_is_taken_away_and_the_customers_lines_stay(home: Home) -> None:
    home.keys.write_text(f"ssh-ed25519 AAAA\nssh-ed25519 BBBB {sweep.TAG}\n")
    home.crontab.write_text(f"* * * * * touch x # {sweep.TAG}\n")
    sweep.note(home)
    sweep.probes(home)
    assert home.keys.read_text() == "ssh-ed25519 AAAA\n"
    assert not home.crontab.exists()
    assert not sweep.record(home).exists()


def test_a_manifest_that_cannot_be_read_asks_for_an_operator(home: Home) -> None:
    Manifest(service_id="web-1", job_id="j1", suspended_at="now", before={"cron": 1}).save(home)
    found = manifest.load(home)
    assert found is not None
    assert found.before == {"cron": 1}
    (home.records / "manifest.json").write_text("{")
    with pytest.raises(AgentError) as caught:
        manifest.load(home)
    assert caught.value.code == "in-doubt"


@pytest.mark.parametrize(("named", "lines"), [((), "5 5 * * * mine\n"), (("shop",), "* * * * * true\n")])
def test_with_databases_that_are_named_no_line_of_the_crontab_comes_back(home: Home, named: tuple[str, ...], lines: str) -> None:
    held = Manifest(service_id="web-1", job_id="j1", suspended_at="", before={"cron": 1})
    closing.put_away(home.crontab, manifest.crontab(home))
    loading.bring_back_settings(home, held, {"crontab": "5 5 * * * mine\n"}, named=named)
    assert manifest.crontab(home).read_text() == lines
