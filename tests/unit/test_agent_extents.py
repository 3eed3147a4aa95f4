"""The arithmetic of wiping: extents, samples, pieces, patterns and the qcow2 header."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.node.extents import IMMOVABLE_REASONS, UNWRITTEN, Extent, choose_samples, clip, places, why_not_in_place
from agents.node.overwrite import CHUNK, pattern, pieces, zeros
from agents.node.qcow2 import NotEncrypted, key_material

BLOCK = 4096


@st.composite
def maps(draw: st.DrawFn) -> tuple[Extent, ...]:
    """A file's extents: in order, with holes, physically anywhere but never on each other."""
    found, logical, physical = [], 0, 1 << 30
    for hole, length, gap in draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 600), st.integers(0, 3)), max_size=12)):
        logical += hole * BLOCK
        physical += gap * BLOCK
        found.append(Extent(logical, physical, length * BLOCK))
        logical += length * BLOCK
        physical += length * BLOCK
    return tuple(found)


@given(maps())
def test_pieces_cover_every_byte_once_and_cross_no_chunk(extents: tuple[Extent, ...]) -> None:
    cut = list(pieces(extents))
    assert places(cut) == places(extents)
    assert sum(p.length for p in cut) == sum(e.length for e in extents)
    assert all(p.length > 0 and p.logical // CHUNK == (p.end - 1) // CHUNK for p in cut)


@given(maps(), st.integers(0, 8))
def test_a_wipe_that_goes_on_leaves_out_what_was_done_and_nothing_else(extents: tuple[Extent, ...], done: int) -> None:
    whole = list(pieces(extents))
    skip = sum(p.length for p in whole[:done])
    assert places(pieces(extents, skip=skip)) == places(whole[done:])


@given(maps(), st.integers(1, 20))
def test_samples_are_blocks_of_the_map_distinct_and_the_same_each_time(extents: tuple[Extent, ...], count: int) -> None:
    chosen = choose_samples(extents, samples=count, block=BLOCK)
    assert chosen == choose_samples(extents, samples=count, block=BLOCK)
    assert len({e.physical for e in chosen}) == len(chosen) == min(count, sum(e.length for e in extents) // BLOCK)
    for sample in chosen:
        assert clip(extents, [(sample.logical, sample.length)]) == (Extent(sample.logical, sample.physical, BLOCK),)


def test_samples_hold_the_first_and_the_last_block() -> None:
    extents = (Extent(0, 10 * BLOCK, 2 * BLOCK), Extent(8 * BLOCK, 90 * BLOCK, 3 * BLOCK))
    chosen = choose_samples(extents, samples=2, block=BLOCK)
    assert [e.physical for e in chosen] == [10 * BLOCK, 92 * BLOCK]


@given(maps())
def test_splitting_an_extent_does_not_change_where_the_blocks_are(extents: tuple[Extent, ...]) -> None:
    split = [
        part
        for e in extents
        for part in (
            Extent(e.logical, e.physical, BLOCK, UNWRITTEN),
            Extent(e.logical + BLOCK, e.physical + BLOCK, e.length - BLOCK),
        )
        if part.length
    ]
    assert places(split) == places(extents)


def test_a_block_that_moved_shows() -> None:
    before = (Extent(0, 40 * BLOCK, 2 * BLOCK),)
    after = (Extent(0, 40 * BLOCK, BLOCK), Extent(BLOCK, 77 * BLOCK, BLOCK))
    assert places(before) != places(after)


@pytest.mark.parametrize(("flag", "reason"), IMMOVABLE_REASONS)
def test_an_extent_that_cannot_be_overwritten_in_place_is_named(flag: int, reason: str) -> None:
    said = why_not_in_place([Extent(0, BLOCK, BLOCK), Extent(BLOCK, 9 * BLOCK, BLOCK, flag | 0x1)])
    assert said.startswith(f"the extent at byte {BLOCK} ")
    assert reason in said


@pytest.mark.parametrize("flags", [0, 0x1, UNWRITTEN, 0x1000, UNWRITTEN | 0x1])
def test_written_preallocated_and_merged_extents_can_be_overwritten(flags: int) -> None:
    assert why_not_in_place([Extent(0, BLOCK, BLOCK, flags)]) == ""


def test_the_pattern_can_be_made_again_in_any_order_and_differs_by_place_and_seed() -> None:
    fill = pattern(b"seed")
    first, second = fill(0, BLOCK), fill(CHUNK, BLOCK)
    assert first != second
    assert fill(0, BLOCK) == first
    assert pattern(b"seed")(CHUNK, BLOCK) == second
    assert pattern(b"other")(0, BLOCK) != first
    assert fill(BLOCK, BLOCK) == pattern(b"seed")(0, 2 * BLOCK)[BLOCK:]
    assert zeros(5, 3) == b"\0\0\0"


def image(
    *, version: int = 3, crypt: int = 2, cluster_bits: int = 16, luks: bytes = b"LUKS\xba\xbe", features: int = 0,
    offset: int = 0x40000, length: int = 0x1F9000, extension: int = 0x0537BE77, l1_size: int = 16,
) -> bytes:  # fmt: skip
    """A qcow2 header as QEMU writes it, with a LUKS header where it says."""
    head = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", version, 0, 0, cluster_bits, 1 << 30, crypt, l1_size, 0x30000, 0x10000, 1, 0, 0
    )
    if version == 3:
        head += struct.pack(">QQQII", features, 0, 0, 4, 104)
    head += struct.pack(">II", 0xE2792ACA, 5) + b"qcow2\0\0\0"  # another extension before ours, padded to eight bytes
    head += struct.pack(">IIQQ", extension, 16, offset, length) + struct.pack(">II", 0, 0)
    return head.ljust(0x40000, b"\0") + luks.ljust(0x1F9000, b"\0")


def material(data: bytes) -> object:
    return key_material(lambda offset, length: data[offset : offset + length])


@pytest.mark.parametrize("version", [2, 3])
def test_key_material_is_found_where_the_header_says(version: int) -> None:
    found = key_material(lambda offset, length: image(version=version)[offset : offset + length])
    assert found.luks == (0x40000, 0x1F9000)
    assert found.header == (0, 65536)
    assert found.l1_table == (0x30000, 128)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a qcow2 image"),
        (b"\0" * 4096, "not a qcow2 image"),
        (image()[:60], "not a qcow2 image"),
        (image()[:80], "cut off"),
        (image(version=4), "version 4"),
        (image(cluster_bits=40), "2^40"),
        (image(crypt=0), "no LUKS encryption"),
        (image(crypt=1), "no LUKS encryption"),
        (image(features=4), "in another file"),
        (image(extension=0x12345678), "does not say where"),
        (image(luks=b"\0\0\0\0\0\0"), "no LUKS header where"),
        (image(length=0), "no LUKS header where"),
        (image(length=1 << 40), "no LUKS header where"),
        (image(offset=1 << 50), "no LUKS header where"),
        (image(l1_size=1 << 30), "L1 table"),
    ],
)
def test_what_is_not_an_encrypted_image_is_named_and_never_guessed(data: bytes, reason: str) -> None:
    with pytest.raises(NotEncrypted) as caught:
        material(data)
    assert reason in str(caught.value)


@given(st.binary(max_size=300))
def test_no_header_makes_the_parser_fail_otherwise(tail: bytes) -> None:
    data = image()[:104] + tail
    with pytest.raises(NotEncrypted):
        material(data)
