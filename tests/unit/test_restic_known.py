"""What a node knows of a repository: as much as its files say, and nothing where any of them is new or the key another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.node.disk import segments as seg
from agents.node.restic.known import NAME, TIMES, Known, ids
from agents.node.restic.measure import Sample, _Reservoir
from agents.node.restic.repository import Repository

REPOSITORY = Repository(location="/srv/backup/s1.1", kind="local", path="/srv/backup/s1.1", password="the key")
FIRST, SECOND, OTHER = ("1" * 64, "2" * 64, "3" * 64)
HOME = (7, 42)
SAMPLES = [Sample("caf\udce9", 5, 1, 2), Sample("a/b", 0, 3, 4)]


def row(name: str, time: str = "2026-11-20T12:00:00Z") -> dict[str, Any]:
    return {"id": name, "time": time, "files": 3}


@pytest.fixture
def known(tmp_path: Path) -> Known:
    made = Known(tmp_path / "cache", REPOSITORY)
    made.keep([row(SECOND, "2026-11-20T13:00:00Z"), row(FIRST)])
    return made


def test_what_is_held_is_known_by_the_names_of_its_files_the_oldest_first(known: Known) -> None:
    assert known.rows([SECOND, FIRST]) == [row(FIRST), row(SECOND, "2026-11-20T13:00:00Z")]
    assert known.rows([FIRST, f"{OTHER}-tmp-1"]) == [row(FIRST)], "a file that is still being written is no snapshot"


@pytest.mark.parametrize("names", [[], [FIRST, OTHER], [OTHER]])
def test_where_there_is_none_or_one_more_nothing_is_known(known: Known, names: list[str]) -> None:
    assert known.rows(names) is None


def test_with_another_key_or_of_another_place_nothing_is_known(known: Known, tmp_path: Path) -> None:
    known.note_times(FIRST, [(1, 2)])
    for other in (replace(REPOSITORY, password="another"), replace(REPOSITORY, location="/srv/backup/s2.1")):
        stranger = Known(tmp_path / "cache", other)
        assert (stranger.rows([FIRST]), stranger.times(FIRST)) == (None, None)


def test_what_was_made_is_known_with_files_to_compare_it_by(known: Known) -> None:
    known.add(row(OTHER), SAMPLES, source=HOME)
    assert known.rows([FIRST, SECOND, OTHER]) is not None
    assert known.samples(OTHER, HOME) == SAMPLES
    assert known.samples(OTHER, (7, 43)) is None, "of another directory they say nothing"
    assert known.samples(FIRST, HOME) is None


def test_what_is_gone_is_forgotten(known: Known) -> None:
    known.add(row(OTHER), SAMPLES, source=HOME)
    known.keep([row(FIRST)])
    assert (known.rows([OTHER]), known.samples(OTHER, HOME)) == (None, None)


def test_the_times_of_a_disks_segments_are_those_of_the_last_snapshot_only(known: Known) -> None:
    known.note_times(FIRST, [(5, 3)])
    known.note_times(SECOND, [(5, 1), (9, 2)])
    assert (known.times(FIRST), known.times(SECOND)) == (None, [[5, 1], [9, 2]])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": 3}', "null"])
def test_what_cannot_be_read_is_nothing(known: Known, tmp_path: Path, content: str) -> None:
    for name in (NAME, TIMES):
        (tmp_path / "cache" / name).write_text(content)
    assert (known.rows([FIRST]), known.samples(FIRST, HOME), known.times(FIRST)) == (None, None, None)
    known.keep([row(FIRST)])
    assert known.rows([FIRST]) == [row(FIRST)]


def test_the_key_does_not_stand_in_it(known: Known, tmp_path: Path) -> None:
    known.note_times(FIRST, [(1, 2)])
    for name in (NAME, TIMES):
        path = tmp_path / "cache" / name
        assert "the key" not in path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600


def test_only_names_of_restics_own_files_count() -> None:
    assert ids([FIRST, "A" * 64, "config", f"{FIRST}0", f"{FIRST}-tmp-3"]) == [FIRST]


def test_the_times_of_segments_are_written_shortly_and_come_back() -> None:
    times = seg.times(10 * seg.SEGMENT_BYTES, known=dict.fromkeys(range(10), 7), dirty=[3, 4], now=9)
    assert seg.runs(times) == [(7, 3), (9, 2), (7, 5)]
    assert seg.of_runs(seg.runs(times)) == dict(enumerate(times))


def test_each_of_many_is_chosen_as_often_as_any_other() -> None:
    chosen = [0] * 20
    for _ in range(4000):
        places: dict[int, int] = {}
        reservoir = _Reservoir(4)
        for number in range(20):
            place = reservoir.place()
            if place is not None:
                places[place] = number
        assert len(places) == 4
        for number in places.values():
            chosen[number] += 1
    # Each is chosen 800 times, with a deviation of 25: six of them.
    assert all(650 < times < 950 for times in chosen), chosen
