"""What the command line says of a machine's disks."""

from __future__ import annotations

from orchestrator.cli.remote.machine import _disks


def test_disks_are_told_by_their_serial_numbers_and_sizes_small_ones_too() -> None:
    found = [
        {"serial": "A", "name": "sda", "bytes": 480_103_981_056},
        {"serial": "B", "name": "sdb", "bytes": 2 * 10**12},
        {"serial": "", "name": "sdc", "bytes": 64 << 20},
    ]
    assert _disks({"inspection": {"disks": found}, "system_disk": "B"}).splitlines() == [
        "A: sda, 447 GiB",
        "B: sdb, 2 TB, takes the system",
        "no serial number: sdc, 64 MiB",
    ]
