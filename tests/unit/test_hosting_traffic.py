"""The traffic of an account, counted from the logs of its sites."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from agents.node.hosting import usage
from agents.node.hosting.layout import Home
from tests.unit.account_files import account, put


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return account(tmp_path)


def line(size: int, month: str = "2026-11") -> str:
    visitor = '"GET / HTTP/1.1" 200 5 "-" "a \\x22 7 7 2020-01"'
    return f"127.0.0.1 - - [27/Nov/2026:11:34:25 +0000] {visitor} {size} 10 {month}-27T11:34:25+00:00\n"


def test_every_line_is_counted_once(home: Home) -> None:
    log = home.logs / "shop.access.log"
    put(home.node.place.root, "var/log/orchestrator/h100001/shop.access.log", line(100) + line(50, "2026-10"))
    assert usage.count(home) == {"2026-10": 60, "2026-11": 110}
    assert usage.count(home) == {"2026-10": 60, "2026-11": 110}
    with log.open("a") as stream:
        stream.write(line(1) + line(2)[:-20])
    assert usage.count(home) == {"2026-10": 60, "2026-11": 121}
    with log.open("a") as stream:
        stream.write(line(2)[-20:])
    assert usage.count(home) == {"2026-10": 60, "2026-11": 133}


def test_a_log_that_was_rotated_is_read_to_its_end_first(home: Home) -> None:
    log = home.logs / "shop.access.log"
    put(home.node.place.root, "var/log/orchestrator/h100001/shop.access.log", line(100))
    usage.count(home)
    with log.open("a") as stream:
        stream.write(line(1))
    log.rename(home.logs / "shop.access.log.1")
    log.write_text(line(2))
    assert usage.count(home) == {"2026-11": 110 + 11 + 12}


def test_a_log_that_was_rotated_more_than_once_is_found_again_whatever_its_name(home: Home) -> None:
    log = home.logs / "shop.access.log"
    put(home.node.place.root, "var/log/orchestrator/h100001/shop.access.log", line(100))
    for number in (6, 5):
        with gzip.open(f"{log}.{number}.gz", "wt") as stream:
            stream.write(line(10_000 * number))
    first = usage.count(home)
    rest = line(100) + line(1)
    log.write_text("")
    for number, text in ((4, rest), (3, line(2))):
        with gzip.open(f"{log}.{number}.gz", "wt") as stream:
            stream.write(text)
    (home.logs / "shop.access.log.1").write_text(line(3))
    counted = {"2026-11": first["2026-11"] + 11 + 12 + 13}
    assert usage.count(home) == counted
    assert usage.count(home) == counted, "there is an empty log in front of what was read"
    log.write_text(line(4))
    assert usage.count(home) == {"2026-11": counted["2026-11"] + 14}


def test_a_log_that_was_cut_is_read_from_its_beginning(home: Home) -> None:
    log = home.logs / "shop.access.log"
    put(home.node.place.root, "var/log/orchestrator/h100001/shop.access.log", line(100) * 3)
    usage.count(home)
    (home.logs / "shop.access.log.1").write_text(line(100) * 3)
    log.write_text(line(1))
    assert usage.count(home) == {"2026-11": 330 + 11}


@pytest.mark.parametrize("text", ["", "a b c d", "x 1 2 2026", "x -1 2 2026-11-27", 'x "1" 2 2026-11', "\xff 1 2 20\xff6-11-1"])
def test_a_line_that_is_none_of_ours_counts_nothing(text: str) -> None:
    assert usage.traffic(text.encode("latin-1")) == ("", 0)


def test_counters_that_cannot_be_read_begin_anew(home: Home) -> None:
    put(home.node.place.root, "var/lib/orchestrator-agent/accounts/h100001/traffic.json", json.dumps([1]))
    assert usage.count(home) == {}
