"""A disk as files: how it is cut, and which of them get a new time."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.node.disk import segments as seg
from agents.node.disk.commands import FileTimes

SIZE = 10 * seg.SEGMENT_BYTES + 512


def test_the_segments_cover_the_disk_and_no_more() -> None:
    assert seg.count(SIZE) == 11
    assert sum(seg.length(index, SIZE) for index in range(seg.count(SIZE))) == SIZE
    assert seg.count(0) == 0


@given(st.integers(0, 10**8))
def test_a_path_leads_back_to_its_segment(index: int) -> None:
    assert seg.index_of(seg.path_of(index)) == index


@pytest.mark.parametrize("path", ["", "/", "000000", "000000/0", "000001/000000000", "000000/-00000001", "../x"])
def test_no_other_path_is_a_segment(path: str) -> None:
    with pytest.raises(ValueError, match="no segment"):
        seg.index_of(path)


def test_an_extent_touches_every_segment_that_it_lies_in() -> None:
    edge = 2 * seg.SEGMENT_BYTES
    assert list(seg.touched([(0, 1), (edge - 1, 2), (5 * seg.SEGMENT_BYTES, 0)])) == [0, 1, 2]


def test_only_what_changed_gets_a_new_time() -> None:
    known = dict.fromkeys(range(11), 100)
    assert list(seg.times(SIZE, known=known, dirty={3}, now=500)) == [100, 100, 100, 500, *[100] * 7]


def test_without_times_of_a_parent_everything_is_new() -> None:
    assert set(seg.times(SIZE, known={}, dirty=(), now=500)) == {500}


def test_a_disk_that_grew_has_new_segments_at_its_end() -> None:
    known = dict.fromkeys(range(3), 100)
    assert list(seg.times(4 * seg.SEGMENT_BYTES, known=known, dirty=(), now=500)) == [100, 100, 100, 500]


@given(st.dictionaries(st.integers(0, 10), st.integers(0, 2**62)), st.sets(st.integers(0, 10)), st.integers(0, 2**62))
def test_a_changed_segment_never_has_the_time_it_had(known: dict[int, int], dirty: set[int], now: int) -> None:
    """Also where the clock was set back, or stood still since the last run."""
    found = seg.times(SIZE, known=known, dirty=dirty, now=now)
    assert all(found[index] not in known.values() for index in dirty)
    assert all(found[index] == known[index] for index in known.keys() - dirty)


def test_an_extent_is_cut_to_the_segment() -> None:
    first = seg.SEGMENT_BYTES
    extents = [(0, first + 512), (first + 1024, 512), (9 * first, 10 * first)]
    assert seg.within(extents, 1, SIZE) == [(0, 512), (1024, 512)]
    assert seg.within(extents, 10, SIZE) == [(0, 512)]
    assert seg.within(extents, 5, SIZE) == []


def test_a_list_of_files_is_read_to_the_nanosecond() -> None:
    lines = FileTimes()
    row = {"type": "file", "path": f"/{seg.path_of(3)}", "mtime": "2026-11-27T11:00:00.123456789+07:00"}
    text = json.dumps({"message_type": "snapshot"}) + "\n" + json.dumps(row) + "\n"
    lines.take(text[:60].encode())
    lines.take(text[60:].encode())
    assert lines.found == [(seg.path_of(3), 1_795_752_000_123_456_789)]
