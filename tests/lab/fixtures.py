"""Fixtures of the lab, for every test below tests/."""

import pytest

from tests.lab import environment, templates
from tests.lab.environment import Lab
from tests.lab.templates import Installed


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab that this test runs in."""
    return environment.current()


@pytest.fixture(scope="session")
def tiny_template(lab: Lab) -> Installed:
    """The tiny guest's template, in the pool."""
    return templates.install(lab, "tiny")


@pytest.fixture(scope="session")
def debian_template(lab: Lab) -> Installed:
    """The Debian template, in the pool."""
    return templates.install(lab, "debian")
