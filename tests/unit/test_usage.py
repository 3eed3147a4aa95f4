"""When a customer is to hear of what he uses."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from orchestrator.domain.calendar import Calendar
from orchestrator.domain.usage import Metered, Of, Share, cpu_total, databases_full, month_of, notices, shares
from tests.hosting_ground import SMALL

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MONTH = "2026-11"
READ = Metered(service_id="s1", node="h1", at=NOW)
PLAN = replace(SMALL, disk_bytes=1000, inodes=1000, traffic_bytes=1000)


def using(metered: Metered, of: Of, amount: int) -> Metered:
    match of:
        case Of.DISK:
            return replace(metered, bytes=amount)
        case Of.INODES:
            return replace(metered, inodes=amount)
        case _:
            return replace(metered, traffic={MONTH: amount})


def walk(*per_cent: int, of: Of = Of.DISK) -> list[int]:
    """The levels that are told while so much is used, one reading after another."""
    told, metered = [], READ
    for used in per_cent:
        read = using(metered, of, used * 10)
        metered, tells = notices(read, shares(read, PLAN, MONTH), MONTH)
        told += [int(str(tell.data["level"])) for tell in tells]
    return told


@pytest.mark.parametrize("of", list(Of))
def test_each_level_is_told_once_while_it_is_not_left(of: Of) -> None:
    assert walk(79, 80, 85, 94, 95, 100, 96, of=of) == [80, 95, 100]


def disk(files: int, databases: int = 0, sold: int = 5 << 30) -> Share:
    metered = replace(READ, bytes=files, database_bytes=databases)
    return shares(metered, replace(PLAN, disk_bytes=sold), MONTH)[0]


@pytest.mark.parametrize(
    ("free", "closed", "full"),
    [
        (1 << 30, False, False),
        (4096, False, False),
        (4095, False, True),
        (0, False, True),
        (-7, False, True),
        (4096, True, True),
        ((5 << 30) // 100 - 1, True, True),
        ((5 << 30) // 100 + 1, True, False),
    ],
)
def test_databases_take_no_more_when_nothing_is_left_and_again_when_some_is(free: int, closed: bool, full: bool) -> None:
    assert databases_full(disk((5 << 30) - free), now=closed) is full


def test_databases_count_with_the_files() -> None:
    assert (disk(3 << 30, 2 << 30).gone, disk(3 << 30, 1 << 30).gone) == (True, False)
    assert disk(3 << 30, 1 << 30).per_cent == 80


def test_what_jumps_over_a_level_is_told_once() -> None:
    assert walk(10, 99) == [95]


def test_what_goes_up_and_down_around_a_level_is_told_once() -> None:
    assert walk(80, 79, 81, 76, 82) == [80]


def test_what_was_left_and_is_reached_again_is_told_again() -> None:
    assert walk(96, 10, 96) == [95, 95]
    assert walk(96, 82, 96) == [95, 95]


def test_another_month_begins_anew() -> None:
    full = replace(READ, traffic={MONTH: 900})
    told, tells = notices(full, shares(full, PLAN, MONTH), MONTH)
    assert len(tells) == 1
    later = replace(told, traffic={MONTH: 900, "2026-12": 850})
    after, again = notices(later, shares(later, PLAN, "2026-12"), "2026-12")
    assert [tell.data["period"] for tell in again] == ["2026-12"]
    assert set(after.told) == {"traffic/2026-12"}


def test_traffic_without_an_end_is_no_share_of_anything() -> None:
    assert [share.of for share in shares(READ, SMALL, MONTH)] == [Of.DISK, Of.INODES]


def test_the_processor_is_counted_on_where_a_node_began_anew() -> None:
    assert cpu_total(None, 10.0) == 10.0
    before = replace(READ, cpu_seconds=100.0, cpu_reading=30.0)
    assert cpu_total(before, 35.0) == 105.0
    assert cpu_total(before, 4.0) == 104.0


def test_a_month_is_one_of_the_providers_zone() -> None:
    late = datetime(2026, 11, 30, 20, tzinfo=UTC)
    assert month_of(late, Calendar(ZoneInfo("Asia/Jakarta"))) == "2026-12"
