"""Two real hypervisors: one that hangs keeps nobody from working on the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import pair as pairs
from tests.e2e.pair import OTHER, Pair
from tests.e2e.site import NODE
from tests.e2e.stand import SEALED
from tests.lab.environment import Lab
from tests.lab.neighbour import Neighbour
from tests.lab.templates import Installed

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def pair(
    lab: Lab, second_machine: Neighbour, tiny_template: Installed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    with pairs.standing(lab, second_machine, tmp_path_factory.mktemp("pair"), tiny_template) as pair:
        yield pair


def test_while_one_node_hangs_jobs_of_the_other_go_on_and_its_own_wait_and_go_on_after(pair: Pair) -> None:
    assert pair.machine is not None
    here, there = pair.placed(NODE, plan=SEALED), pair.placed(OTHER, plan=SEALED)
    assert (pair.node_of(here), pair.node_of(there)) == (NODE, OTHER)
    with pair.machine.hung():
        waits = [pair.command("check", there), pair.command("stop", there)]
        pair.done([pair.command("check", here), pair.command("stop", here), pair.command("start", here)])
        pair.answering([here])
        fresh = pair.placed(NODE, plan=SEALED)
        pair.until("the node is seen to be down", lambda: not pair.site.ask("node", "show", OTHER)["up"])
        pair.until("the reason is told", lambda: any("again at" in step["message"] for step in pair.job(waits[0])["steps"]))
        assert pair.job(waits[0])["state"] == "running", "it waits for its node"
    pair.done(waits)
    pair.done([pair.command("start", there)])
    pair.answering([there])
    pair.done([pair.command("terminate", service) for service in (here, there, fresh)])
