"""The command line through a proxy whose controller is away for a while."""

from __future__ import annotations

import json

import pytest

from orchestrator.api.problems import of_error
from orchestrator.domain.errors import OrchestratorError, PermanentDriverError, TransientDriverError
from tests.proxy import AWAY, PAGE, proxy
from tests.receiver import answer
from tests.served import Served, command


def test_who_follows_a_job_waits_until_the_controller_is_there_again(served: Served) -> None:
    job = served.order("proxied")
    with proxy(served.http, answer(502, PAGE), answer(503, AWAY), answer(504, PAGE)) as url:
        watched = command("--url", url, "job", "watch", job)
    assert (watched.returncode, watched.stdout.splitlines()[-1]) == (0, f"job {job}: done")
    assert watched.stderr.count("the controller went away; waiting for it to come back") == 1


@pytest.mark.parametrize(
    ("status", "said", "hint"),
    [
        (502, "reaches no controller (502)", "systemctl status orchestrator"),
        (504, "did not answer within the time of the proxy", "may be under way all the same: `orchestrator job list`"),
        (403, "answered 403, and not as a controller does", "check --url"),
    ],
)
def test_what_a_proxy_says_for_itself_is_told_as_such(served: Served, status: int, said: str, hint: str) -> None:
    with proxy(served.http, answer(status, PAGE)) as url:
        ended = command("--url", url, "service", "list")
    assert ended.returncode == 5
    assert said in ended.stderr
    assert hint in ended.stderr
    assert "html" not in ended.stderr


@pytest.mark.parametrize("error", [PermanentDriverError("the disk is broken"), TransientDriverError("the node is busy")])
def test_what_a_node_could_not_do_is_not_taken_for_a_controller_that_is_away(served: Served, error: OrchestratorError) -> None:
    said = of_error(error)
    with proxy(served.http, answer(said.status_code, bytes(said.body))) as url:
        ended = command("--url", url, "job", "watch", "j1")
    assert ended.returncode == 5
    assert error.message in ended.stderr
    assert "went away" not in ended.stderr


def test_a_store_that_is_away_is_told_in_the_controllers_words(served: Served) -> None:
    with proxy(served.http, answer(503, AWAY)) as url:
        ended = command("--url", url, "service", "list")
    assert ended.returncode == json.loads(AWAY)["exit_code"]
    assert "the store cannot be used" in ended.stderr
