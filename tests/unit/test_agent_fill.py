"""How full a thin pool is, as the kernel tells it."""

from __future__ import annotations

import pytest

from agents.node.fill import thin_pools

STATUS = """\
vg0-pool-tpool: 0 41943040 thin-pool 12 512/2048 30720/40960 - rw discard_passdown queue_if_no_space - 1024
vg1-pool-tpool: 0 41943040 thin-pool 3 1/2048 0/40960 - rw no_discard_passdown error_if_no_space - 1024
vg2-pool-tpool: 0 41943040 thin-pool Fail
vg3-root: 0 41943040 linear
"""


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["vg0-root", "vg0-pool-tpool"], {"vg0-pool-tpool": (75.0, 25.0)}),
        (["vg1-pool-tpool"], {"vg1-pool-tpool": (0.0, 0.05)}),
        (["vg3-root"], {}),
        ([], {}),
    ],
)
def test_data_and_metadata_of_the_pools_below(names: list[str], found: dict[str, tuple[float, float]]) -> None:
    assert thin_pools(STATUS, names) == found


def test_a_thin_pool_that_failed_is_full() -> None:
    assert thin_pools(STATUS, ["vg2-pool-tpool"]) == {"vg2-pool-tpool": (100.0, 100.0)}


def test_a_machine_without_a_device_mapper_has_none() -> None:
    assert thin_pools("", ["vg0-pool-tpool"]) == {}
