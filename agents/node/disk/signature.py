"""What a disk begins with, by the marks that partition tables and file systems carry. Pure: it tells what it sees, no more.

The places are those of util-linux' libblkid: a GPT's header in the second sector (of 512 or 4096 bytes), an MBR's mark at the end
of the first, the magic numbers of ext2 to ext4, XFS, Btrfs, swap, LVM and LUKS.
"""

from __future__ import annotations

LOOKED_AT = 128 * 1024
"""So many of its first bytes are enough for all of them."""

_MARKS: tuple[tuple[str, int, bytes], ...] = (
    ("gpt", 512, b"EFI PART"),
    ("gpt", 4096, b"EFI PART"),
    ("luks", 0, b"LUKS\xba\xbe"),
    ("ext", 1080, b"\x53\xef"),
    ("xfs", 0, b"XFSB"),
    ("btrfs", 65600, b"_BHRfS_M"),
    ("lvm", 512, b"LABELONE"),
    ("swap", 4086, b"SWAPSPACE2"),
    ("mbr", 510, b"\x55\xaa"),
)


def signature(begin: bytes) -> str:
    """The first that fits, a partition table of today before all others and the old one last; '' = none that is known."""
    return next((name for name, offset, mark in _MARKS if begin[offset : offset + len(mark)] == mark), "")
