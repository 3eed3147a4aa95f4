"""Fixtures of the tests on real parts, for tests/e2e and tests/fault."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import stand as stands
from tests.e2e.stand import Stand
from tests.lab.environment import Lab
from tests.lab.templates import Installed


@pytest.fixture(scope="session")
def _stand(
    lab: Lab, tiny_template: Installed, debian_template: Installed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stand]:
    directory = tmp_path_factory.mktemp("stand")
    with stands.standing(lab, directory, (tiny_template, debian_template), (*stands.PLANS, stands.DEBIAN)) as stand:
        yield stand


@pytest.fixture(scope="module")
def _swept(_stand: Stand) -> Iterator[Stand]:
    yield _stand
    _stand.sweep()


@pytest.fixture
def stand(_swept: Stand) -> Iterator[Stand]:
    """A controller with an enrolled node, shared by all; it serves when a test begins, and nobody waits at a point after it."""
    process = _swept.site.process
    if process is None or process.poll() is not None:
        _swept.site.start()
    yield _swept
    _swept.board.clear()
