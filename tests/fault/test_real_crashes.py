"""The controller is killed at named points while it works on real guests, and started again: all ends as without the kill.

Many services are worked on at once, each by a job that stands at its own point when the process ends itself by SIGKILL. What is
compared is what libvirt, the pool and the store show, with a service whose job nobody disturbed. In ``make test`` a sample of
each playbook's points, in the whole matrix (``make fault``) all of them, for encrypted and for plain disks.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e import sight
from tests.e2e.stand import FINDS, LEAVES, PLAIN_COPY, RUNNING, SEALED, Stand
from tests.fault.crashing import KILL, Order

INTENTS = ("provision", "check", "stop", "start", "reboot", "suspend", "unsuspend", "terminate")
SAMPLE = 6
WAITING = "vps-provision/wait/before"


def chosen(points: list[str], *, whole: bool) -> list[str]:
    """All of them, or a few that lie evenly among them."""
    every = list(dict.fromkeys(points))
    step = 1 if whole else -(-len(every) // SAMPLE)
    return every[::step]


def submit(stand: Stand, intent: str, service: str, *, plan: str) -> str:
    return stand.order(service, plan=plan) if intent == "provision" else stand.command(intent, service)


def undisturbed(stand: Stand, intent: str, *, plan: str) -> tuple[list[str], dict[str, Any], int]:
    """The points that a job of the intent passes, what its service looks like afterwards, and how often its guest booted."""
    (service,) = stand.take(FINDS.get(intent, RUNNING), 1, plan=plan)
    stand.board.forget(service)
    before = sight.boots(service)
    stand.done([submit(stand, intent, service, plan=plan)])
    points, seen = stand.board.passed(service), sight.look(stand.site, service)
    stand.give_back([service], LEAVES.get(intent, RUNNING), plan=plan)
    return points, seen, sight.boots(service) - before


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every playbook with encrypted disks; with plain ones those that make or wipe them, or in the whole matrix all."""
    if "plan" in metafunc.fixturenames:
        whole = metafunc.config.getoption("--matrix") == "whole"
        also = INTENTS if whole else ("terminate",)
        metafunc.parametrize(("plan", "intent"), [*((SEALED, i) for i in INTENTS), *((PLAIN_COPY, i) for i in also)])


def test_killed_at_a_point_and_started_again_all_is_as_without_the_kill(
    stand: Stand, whole_matrix: bool, intent: str, plan: str
) -> None:
    points, wanted, boots = undisturbed(stand, intent, plan=plan)
    struck = chosen(points, whole=whole_matrix)
    services = stand.take(FINDS.get(intent, RUNNING), len(struck), plan=plan)
    before = {service: sight.boots(service) for service in services}
    for service, point in zip(services, struck, strict=True):
        stand.board.arm(service, Order(point, KILL))
    jobs = [submit(stand, intent, service, plan=plan) for service in services]
    stand.dies(services)
    stand.site.start()
    ended = stand.rest(jobs)
    found = {point: sight.look(stand.site, service) for service, point in zip(services, struck, strict=True)}
    assert {point: _different(wanted, seen) for point, seen in found.items() if seen != wanted} == {}
    assert {job["state"] for job in ended} == {"done"}
    if intent != "terminate":  # the console's log goes with the rest of the service
        assert {service: sight.boots(service) - before[service] for service in services} == dict.fromkeys(services, boots)
    else:
        assert [sight.files(stand.site, service) for service in services] == [[] for _ in services]
    stand.give_back(services, LEAVES.get(intent, RUNNING), plan=plan)


def _different(wanted: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    return {key: {"wanted": wanted[key], "found": seen[key]} for key in wanted if wanted[key] != seen[key]}
