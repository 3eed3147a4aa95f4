"""One live controller for the tests of a module, ended with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import Live


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    yield from running(tmp_path_factory.mktemp("live"))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Live]:
    """A controller that the test may break or fill."""
    yield from running(tmp_path)


def running(directory: Path) -> Iterator[Live]:
    controller = Live(directory / "c")
    controller.start()
    try:
        yield controller
    finally:
        controller.stop()
