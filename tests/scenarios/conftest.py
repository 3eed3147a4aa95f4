"""The story of a test. The module names its provider (``PROVIDER``); one of several providers parametrizes ``provider``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.story import Story


@pytest.fixture
def provider(request: pytest.FixtureRequest) -> str:
    named: str = request.module.PROVIDER
    return named


@pytest.fixture
def story(tmp_path: Path, provider: str) -> Iterator[Story]:
    made = Story(tmp_path / "state", provider)
    yield made
    made.close()
