"""Amounts with units become base units exactly, and nothing is guessed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config.units import duration_words, parse_duration, parse_rate, parse_size, rate_words, size_words

SIZES = [
    ("10 GB", 10**10),
    ("10GB", 10**10),
    ("4 GiB", 2**32),
    ("1.5 GiB", 3 * 2**29),
    ("0.1 GB", 10**8),
    ("512 B", 512),
    ("1 kB", 1000),
    ("1 KiB", 1024),
    ("2 TB", 2 * 10**12),
    (0, 0),
    (4096, 4096),
]


@pytest.mark.parametrize(("text", "size"), SIZES)
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["10", "10 gb", "10 Gb", "GB", "-1 GB", -1, "1e3 GB", "1  GB", "0.3 B", True, None, 1.5, [], "9" * 40, 2**63]
)
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match=r"is no size|is not a whole number|out of range"):
        parse_size(text)


RATES = [
    ("100 Mbit/s", 12_500_000),
    ("50 MB/s", 50_000_000),
    ("1 Gbit/s", 125_000_000),
    ("8 bit/s", 1),
    ("1 MiB/s", 2**20),
    (0, 0),
]


@pytest.mark.parametrize(("text", "rate"), RATES)
def test_rates_are_bytes_per_second(text: object, rate: int) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["100 Mbit", "100 Mbps", "100", 100, "1 bit/s", "MB/s", False, None])
def test_what_is_no_rate(text: object) -> None:
    with pytest.raises(ValueError, match=r"is no rate|is not a whole number"):
        parse_rate(text)


DURATIONS = [
    ("24h", timedelta(hours=24)),
    ("1h30m", timedelta(minutes=90)),
    ("90s", timedelta(seconds=90)),
    ("7d", timedelta(days=7)),
    ("0s", timedelta(0)),
]


@pytest.mark.parametrize(("text", "duration"), DURATIONS)
def test_durations(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["24", 24, "h", "1 h", "-1h", "1w", "", "99999999d", None])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match=r"is no duration|longer than"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, 0), (1, "1 B"), (20 * 10**9, "20 GB"), (2**30, "1 GiB"), (1536 * 2**20, "1536 MiB"), (2**40 + 1, "1099511627777 B")],
)
def test_a_size_is_written_in_the_unit_it_is_whole_in(count: int, words: str | int) -> None:
    assert size_words(count) == words
    assert parse_size(words) == count


@pytest.mark.parametrize(("per_second", "words"), [(0, 0), (12_500_000, "100 Mbit/s"), (50_000_000, "50 MB/s"), (1, "1 B/s")])
def test_a_rate_is_written_in_bits_where_that_is_shorter(per_second: int, words: str | int) -> None:
    assert rate_words(per_second) == words


@given(st.integers(0, 10**15 - 1), st.integers(0, 3660 * 86400))
def test_what_is_written_is_read_as_the_same(count: int, seconds: int) -> None:
    assert parse_size(size_words(count)) == count
    assert parse_rate(rate_words(count)) == count
    assert parse_duration(duration_words(timedelta(seconds=seconds))) == timedelta(seconds=seconds)
