"""Public holidays from the library, joint leave from the file."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import holidays
import pytest

from orchestrator.config.holidays import load_holidays
from orchestrator.domain.errors import ConfigError
from orchestrator.drivers.local.holidays import public_holidays

SHIPPED = Path(__file__).parents[2] / "configs" / "holidays.yaml"
INDONESIA_2026 = public_holidays("ID", [2026])


def joint_leave(year: int) -> set[date]:
    return {holiday.day for holiday in load_holidays(SHIPPED) if holiday.day.year == year}


@pytest.mark.parametrize(
    "day",
    [
        date(2026, 1, 1),
        date(2026, 2, 17),  # Imlek
        date(2026, 3, 19),  # Nyepi
        date(2026, 3, 21),  # Idul Fitri, two days
        date(2026, 3, 22),
        date(2026, 5, 27),  # Idul Adha
        date(2026, 6, 1),
        date(2026, 8, 17),
        date(2026, 12, 25),
    ],
    ids=str,
)
def test_indonesias_public_holidays_of_2026(day: date) -> None:
    assert day in INDONESIA_2026


def test_the_decree_of_2026_names_seventeen_public_holidays_and_eight_days_of_joint_leave() -> None:
    assert len(INDONESIA_2026) == 17
    assert len(joint_leave(2026)) == 8


def test_joint_leave_is_a_holiday_by_the_file_and_not_by_the_library() -> None:
    assert date(2026, 3, 20) in joint_leave(2026)
    assert not joint_leave(2026) & INDONESIA_2026
    assert public_holidays("ID", [2026], joint_leave(2026)) == INDONESIA_2026 | joint_leave(2026)


@pytest.mark.parametrize("year", [2026, 2027])
def test_the_shipped_file_has_the_joint_leave_that_the_library_knows(year: int) -> None:
    known = holidays.country_holidays("ID", years=year, categories=(holidays.GOVERNMENT,))
    assert joint_leave(year) == set(known), "a decree has changed: see what is right, and mend configs/holidays.yaml"


def test_only_the_years_asked_for_are_there() -> None:
    assert {day.year for day in public_holidays("ID", range(2025, 2028))} == {2025, 2026, 2027}
    assert public_holidays("ID", []) == frozenset()


@pytest.mark.parametrize("country", ["XX", "id", "", "HolidayBase", "x" * 1000])
def test_a_country_that_is_not_known_is_refused(country: str) -> None:
    with pytest.raises(ConfigError) as caught:
        public_holidays(country, [2026])
    assert f"'{country[:60]}' are not known" in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("year", [1945, 2101])
def test_a_year_that_is_not_known_is_refused_and_not_taken_for_one_without_holidays(year: int) -> None:
    with pytest.raises(ConfigError, match=f"of ID in {year} are not known"):
        public_holidays("ID", [2026, year])


def problems(path: Path) -> list[tuple[int, str, str]]:
    with pytest.raises(ConfigError) as caught:
        load_holidays(path)
    listed: list[dict[str, Any]] = caught.value.details["problems"]
    assert {problem["file"] for problem in listed} == {str(path)}
    return [(problem["line"], problem["path"], problem["sentence"]) for problem in listed]


def test_the_days_come_in_order_of_time(tmp_path: Path) -> None:
    path = tmp_path / "holidays.yaml"
    path.write_text(
        "holidays:\n  - {date: 2027-01-04, name: Later, source: us}\n  - {date: '2026-12-31', name: Stock-taking, source: us}\n"
    )
    assert [(str(day.day), day.name, day.source) for day in load_holidays(path)] == [
        ("2026-12-31", "Stock-taking", "us"),
        ("2027-01-04", "Later", "us"),
    ]


def test_without_the_file_no_day_is_added(tmp_path: Path) -> None:
    assert load_holidays(tmp_path / "holidays.yaml") == ()


def test_a_link_that_leads_nowhere_is_no_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "holidays.yaml"
    path.symlink_to(tmp_path / "gone.yaml")
    assert problems(path) == [(0, "", "the file is missing")]


def test_every_fault_of_the_file_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "holidays.yaml"
    path.write_text(
        "holidays:\n"
        "  - {date: 2026-02-30, name: No such day, source: us}\n"
        "  - {date: 20260216, name: No dashes, source: us}\n"
        "  - {date: 2026-02-16, name: '', source: us}\n"
        "  - {date: 2026-02-17, name: From nowhere}\n"
        "  - {date: 2026-02-18, name: Too much, source: us, until: 2026-02-19}\n"
        "  - {date: 2026-W08-1, name: A week's day, source: us}\n"
    )
    found = problems(path)
    assert [(line, where) for line, where, _ in found] == [
        (2, "holidays[0].date"),
        (3, "holidays[1].date"),
        (4, "holidays[2].name"),
        (5, "holidays[3].source"),
        (6, "holidays[4].until"),
        (7, "holidays[5].date"),
    ]
    assert "'2026-02-30' is no date: write year, month and day" in found[0][2]
    assert "'20260216' is no date" in found[1][2]


def test_a_day_stands_in_the_file_once(tmp_path: Path) -> None:
    path = tmp_path / "holidays.yaml"
    path.write_text(
        "holidays:\n  - {date: 2026-02-16, name: Imlek, source: us}\n  - {date: 2026-02-16, name: Other, source: us}\n"
    )
    assert problems(path) == [(3, "holidays[1].date", "2026-02-16 is there twice, also as 'Imlek': keep one")]


@pytest.mark.parametrize(
    "text", ["", "holidays:\n", "holiday: []\n", "- 2026-02-16\n", "holidays: [2026-02-16]\n", "holidays: [\n"]
)
def test_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "holidays.yaml"
    path.write_text(text)
    assert problems(path)
