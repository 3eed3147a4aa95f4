"""The calendar that a configuration gives: the country's holidays, and the provider's own days."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

from orchestrator import wiring

CONFIGS = Path(__file__).parents[2] / "configs"
INDEPENDENCE, JOINT_LEAVE, THURSDAY = date(2026, 8, 17), date(2026, 12, 24), date(2026, 11, 19)


def test_public_holidays_and_the_providers_own_days_are_no_business_days() -> None:
    calendar = wiring.calendar_of(wiring.load_config(CONFIGS))
    assert [calendar.business(day) for day in (INDEPENDENCE, JOINT_LEAVE, THURSDAY)] == [False, False, True]
    assert str(calendar.zone) == "Asia/Jakarta"


def test_without_a_country_only_the_providers_own_days_are_left_out() -> None:
    config = wiring.load_config(CONFIGS)
    calendar = wiring.calendar_of(replace(config, settings=replace(config.settings, country="")))
    assert [calendar.business(day) for day in (INDEPENDENCE, JOINT_LEAVE)] == [True, False]


def test_a_country_whose_holidays_nobody_knows_is_a_problem_of_the_configuration(tmp_path: Path) -> None:
    shutil.copytree(CONFIGS, tmp_path / "configs")
    file = tmp_path / "configs" / "orchestrator.yaml"
    file.write_text(file.read_text().replace("country: ID", "country: XX"))
    (problem,) = wiring.check(tmp_path / "configs")
    assert "public holidays of 'XX' are not known" in problem["sentence"]
