"""As in test_real_crashes, on real guests, with the store on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import stand as stands
from tests.e2e.stand import PLAIN, PLANS, SEALED, Stand
from tests.fault.test_real_crashes import strike
from tests.lab.environment import Lab
from tests.lab.templates import Installed
from tests.postgres import PASSWORD, databases

pytestmark = [pytest.mark.rare, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def on_postgresql(lab: Lab, tiny_template: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    directory, server = tmp_path_factory.mktemp("stand-pg"), databases().server
    password = directory / "password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)
    name = server.create()
    where = {"database_url": server.url(name, password=False), "database_password_file": str(password)}
    with stands.standing(lab, directory, (tiny_template,), PLANS, **where) as stand:
        yield stand
    server.drop(name)


@pytest.mark.parametrize(("intent", "plan"), [("provision", PLAIN), ("terminate", SEALED)])
def test_killed_at_a_point_and_started_again_all_is_as_without_the_kill(
    on_postgresql: Stand, whole_matrix: bool, intent: str, plan: str
) -> None:
    strike(on_postgresql, intent, plan=plan, whole=whole_matrix)
