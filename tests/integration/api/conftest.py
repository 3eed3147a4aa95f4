"""Live controllers, ended with their tests. One at a time: the engine's library allows one per process, so a module uses
either ``live`` or ``own``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import Live
from tests.served import Served


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One for all tests of a module, which use services of their own."""
    yield from running(tmp_path_factory.mktemp("live"))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Live]:
    """One that the test may break or fill."""
    yield from running(tmp_path)


def running(directory: Path) -> Iterator[Live]:
    controller = Live(directory)
    controller.start()
    try:
        yield controller
    finally:
        controller.stop()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One in a process of its own, for what needs a whole process, or a random generator that nobody else draws from."""
    controller = Served(tmp_path_factory.mktemp("served"))
    try:
        controller.enrol("n1")
        yield controller
    finally:
        controller.stop()
