"""Controllers in network namespaces of their own, one of which is cut off from the database: its packets are lost silently."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from orchestrator.engine.lease import EXIT_LOST
from tests.fault.fleet import Ordering, fleet, services
from tests.fault.wire import Wire
from tests.lab.environment import Lab

pytestmark = [pytest.mark.timeout(1800), pytest.mark.rare]


def test_a_controller_whose_cable_is_pulled_ends_itself_and_the_other_does_its_work(lab: Lab, tmp_path: Path) -> None:
    assert lab.directory.exists()  # in whose namespace the cables are laid
    workers, pulled = 4, 3
    with fleet(tmp_path, size=2, workers=workers, seconds=0.1, way=Wire) as made:
        made.wait_for(2)
        coming = Ordering(made, services(150), pause=0.2)
        for number in range(pulled):
            time.sleep(2)
            made.cut_off(made.members[number % 2])
            made.wait_for(2)
        ordered = coming.ended()
        made.settled(len(ordered), seconds=120)
        made.check(ordered)
        assert len(made.world.again()) <= pulled * workers
        assert {code for member in made.members for code in member.ends} == {EXIT_LOST}
