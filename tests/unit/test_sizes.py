"""Bytes and rates as sentences have them."""

from __future__ import annotations

import pytest

from orchestrator.config.units import parse_rate, parse_size
from orchestrator.domain.sizes import compared, rate_words, size_words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (12_345, "12.1 KiB"),
        (204_800, "200 KiB"),
        (500_000, "500 kB"),
        (1536 << 20, "1536 MiB"),
        (60 * 2**30 + 20 * 10**9, "78.6 GiB"),
        (2 * 10**12, "2 TB"),
        (5 << 50, "5120 TiB"),
        (4096, "4 KiB"),
        (60_000_000_000, "60 GB"),
        (60 << 30, "60 GiB"),
        (1_000_000_001, "954 MiB"),
        (1 << 60, "1048576 TiB"),
        ((1 << 40) - 1, "1024 GiB"),
    ],
)
def test_a_size_is_exact_where_a_unit_makes_it_whole_and_else_rounded(number: int, words: str) -> None:
    assert size_words(number) == words


@pytest.mark.parametrize(
    ("found", "wanted", "words"),
    [
        (20 << 30, 10 << 30, ("20 GiB", "10 GiB")),
        (3_000_000_001, 10**9, ("3 GB", "1 GB")),
        (10**9 + 1, 10**9, ("1,000,000,001 bytes", "1,000,000,000 bytes")),
        (4096, 10**9, ("4 KiB", "1 GB")),
        (20_187_000_000, 20 * 10**9, ("20.2 GB", "20 GB")),
        (10 << 30, 20 * 10**9, ("10.7 GB", "20 GB")),
        (3 << 29, 4 << 30, ("1.5 GiB", "4 GiB")),
        (0, 4 << 30, ("0 B", "4 GiB")),
        (0, 5, ("0 B", "5 B")),
        (10**9, 10**9, ("1 GB", "1 GB")),
    ],
)
def test_two_that_are_compared_have_one_unit_and_never_read_alike_where_they_are_not(
    found: int, wanted: int, words: tuple[str, str]
) -> None:
    assert compared(found, wanted) == words


@pytest.mark.parametrize("rate", [1, 123, 1000, 125_000, 12_500_000, 12_345_679])
def test_a_rate_is_written_so_that_a_plan_can_say_it(rate: int) -> None:
    assert parse_rate(rate_words(rate)) == rate


def test_what_is_not_limited_says_so() -> None:
    assert rate_words(0) == "no limit"
    assert parse_size(size_words(20 * 10**9)) == 20 * 10**9
