"""The nodes that the contracts of hypervisor and volumes run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.nodes import FakeNode, LibvirtNode, NodeUnderTest


@pytest.fixture(scope="session", params=["fake", pytest.param("libvirt", marks=pytest.mark.lab)])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeUnderTest]:
    """One node for the whole session; tests use names of their own and leave nothing that disturbs the others."""
    if request.param == "fake":
        yield FakeNode(tmp_path_factory.mktemp("world"))
        return
    real = LibvirtNode(request.getfixturevalue("lab"), request.getfixturevalue("tiny_template"))
    yield real
    real.connection.close()
