"""As in test_crashes, with the store on PostgreSQL: what a process leaves is taken over by the next one.

Here one is struck that has all there is to a job; in the whole matrix (``make fault``) every playbook is.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.battery import Battery
from tests.fault.striking import failing_points, strike_anywhere, strike_failing
from tests.fault.test_crashes import BEYOND, BOOKS, INTENTS
from tests.store_files import POSTGRESQL

pytestmark = pytest.mark.timeout(1800)
SAMPLE = ("provision",)


@pytest.fixture(scope="session")
def battery(tmp_path_factory: pytest.TempPathFactory) -> Battery:
    return Battery(suite="product", home=tmp_path_factory.mktemp("battery"), kind=POSTGRESQL)


def of_each(intents: tuple[str, ...]) -> list[object]:
    return [pytest.param(intent, marks=() if intent in intents else pytest.mark.rare) for intent in INTENTS if intent in BOOKS_OF]


BOOKS_OF = {name.removeprefix("vps-") for name in BOOKS}


@pytest.mark.parametrize("intent", of_each(SAMPLE))
def test_killed_at_any_point_a_job_ends_as_if_nothing_had_happened(
    battery: Battery, tmp_path: Path, whole_matrix: bool, intent: str
) -> None:
    strike_anywhere(battery, tmp_path, intent, whole=whole_matrix)


@pytest.mark.parametrize("intent", of_each(SAMPLE))
def test_killed_at_any_point_of_a_failing_job_all_it_made_is_undone(
    battery: Battery, tmp_path: Path, whole_matrix: bool, intent: str
) -> None:
    fails = failing_points(BOOKS[f"vps-{intent}"], whole=whole_matrix)
    strike_failing(battery, tmp_path, intent, fails, beyond=BEYOND, whole=whole_matrix)
