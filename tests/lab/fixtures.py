"""Fixtures of the lab, for every test below tests/."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab import environment, templates
from tests.lab.environment import Lab
from tests.lab.templates import Installed

if TYPE_CHECKING:
    from tests.lab.bmc import Emulator
    from tests.lab.metal import Metal
    from tests.lab.neighbour import Neighbour


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab that this test runs in."""
    return environment.current()


@pytest.fixture(scope="session")
def second_machine(lab: Lab) -> Iterator[Neighbour]:
    """Another machine on the lab's bridge, with a libvirtd and a sshd of its own."""
    from tests.lab import neighbour  # few need it

    with neighbour.running(lab) as machine:
        yield machine


@pytest.fixture(scope="session")
def tiny_template(lab: Lab) -> Installed:
    """The tiny guest's template, in the pool."""
    return templates.install(lab, "tiny")


@pytest.fixture(scope="session")
def debian_template(lab: Lab) -> Installed:
    """The Debian template, in the pool."""
    return templates.install(lab, "debian")


@pytest.fixture(scope="session")
def deploy_image(lab: Lab) -> Path:
    """The ISO that dedicated machines are installed and erased by."""
    from tests.lab import deploy

    return deploy.image(lab.images, lab.directory / "deploy.iso")


@pytest.fixture(scope="session")
def metal_image(lab: Lab) -> Metal:
    """What dedicated machines are installed with, in the cache."""
    from tests.lab import metal

    return metal.load(lab.images)


@pytest.fixture(scope="session")
def bmc_emulator(lab: Lab) -> Iterator[Emulator]:
    """One BMC for all machines of the lab."""
    from tests.lab import bmc  # every process of the tests reads this file, and few need what drives BMCs

    with bmc.emulator(lab) as running:
        yield running
