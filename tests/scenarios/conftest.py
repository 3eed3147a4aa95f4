"""The story of a test: ``@pytest.mark.parametrize`` names no provider, the module does (``PROVIDER``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.story import Story


@pytest.fixture
def story(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Story]:
    made = Story(tmp_path / "state", request.module.PROVIDER)
    yield made
    made.close()
